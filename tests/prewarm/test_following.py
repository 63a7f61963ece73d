"""The MD5 of a file that arrives in any order is that of the file, whoever computes it."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.fetching import Part, RemoteFile
from torpor.prewarm.arrival import Arrival, queue_errands
from torpor.prewarm.contents import Proof
from torpor.prewarm.following import MOST_BYTES, Following
from torpor.prewarm.proof import Sums
from torpor.prewarm.writing import Rung

PIECE = 64 * 1024
MD5 = Proof({}, etag_is_md5=True)


def arrival(key: str, size: int, proof: Proof = MD5) -> Arrival:
    return Arrival(RemoteFile(key, size, "etag"), proof, PIECE, {})


def test_several_threads_follow_what_arrives_out_of_order(tmp_path: Path) -> None:
    size, path = 50 * PIECE + 777, tmp_path / "file"
    whole = os.urandom(size)
    path.write_bytes(bytes(size))
    file, following = arrival("file", size), Following(str(path), size, Rung.BUFFERED)
    fd = os.open(path, os.O_WRONLY)

    def bring(offset: int) -> None:
        length = min(PIECE, size - offset)
        os.pwrite(fd, whole[offset : offset + length], offset)
        file.add(Part("file", offset, length), Sums(0, "", 0))
        following.advance(file.front)

    offsets = list(range(0, size, PIECE))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, offsets[1::2] + offsets[::2]))
    os.close(fd)
    assert file.complete
    assert file.front() == size
    assert following.digest() == hashlib.md5(whole).hexdigest()


def test_one_call_goes_on_by_so_much_at_most(tmp_path: Path) -> None:
    path, size = tmp_path / "file", 3 * MOST_BYTES
    with path.open("wb") as file:
        file.truncate(size)
    asked: list[int] = []

    def front() -> int:
        asked.append(len(asked))
        return size

    following = Following(str(path), size, Rung.BUFFERED)
    following.advance(front)
    assert following._done == MOST_BYTES
    assert following.digest() == hashlib.md5(bytes(size)).hexdigest()


@given(st.permutations(range(8)))
def test_the_front_is_where_the_first_gap_is(order: list[int]) -> None:
    file = arrival("file", 8 * PIECE - 5)
    there: set[int] = set()
    for number in order:
        length = PIECE - 5 if number == 7 else PIECE
        file.add(Part("file", number * PIECE, length), Sums(0, "", 0))
        there.add(number)
        gap = next(number for number in range(9) if number not in there)
        assert file.front() == min(gap * PIECE, file.file.size)
    file.restart()
    assert file.front() == 0


def test_files_that_must_be_read_in_order_take_turns_after_all_others() -> None:
    crc = Proof({"crc64nvme": "x"}, etag_is_md5=True)
    files = [arrival("a", 2 * PIECE), arrival("b", 3 * PIECE), arrival("c", 2 * PIECE, crc)]
    queue = [(e.arrival.file.key, e.part.offset // PIECE) for e in queue_errands(files, PIECE)]
    assert queue == [
        ("c", 0), ("c", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2),
    ]  # fmt: skip
