"""Each way of writing gives back the bytes that were written, to the last one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from torpor.prewarm import writing
from torpor.prewarm.buffers import take_buffer
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.writing import BLOCK_BYTES, Rung, Target, probe, read_back, seal

PIECE = 4 * BLOCK_BYTES
SIZE = 3 * PIECE + 777
MEMORY = Path("/dev/shm")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a tmpfs."""
    folder = Path(tempfile.mkdtemp(prefix="torpor-tests-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def take(folder: Path, rung: Rung) -> None:
    if not writing._takes(str(folder), rung):
        pytest.skip(f"the file system or the kernel does not take {rung}")


@pytest.mark.parametrize("rung", Rung)
@pytest.mark.parametrize("size", [SIZE, PIECE, 1], ids=["last block", "whole", "one byte"])
def test_what_is_written_in_pieces_and_out_of_order_is_read_back(
    rung: Rung, size: int, tmp_path: Path
) -> None:
    take(tmp_path, rung)
    whole, path = os.urandom(size), tmp_path / "file"
    path.touch()
    os.truncate(path, size)
    buffer = take_buffer(PIECE)
    with Target(str(path), rung) as target:
        for offset in reversed(range(0, size, PIECE)):
            length = min(PIECE, size - offset)
            buffer[:length] = whole[offset : offset + length]
            buffer[length:] = b"\xff" * (PIECE - length)
            target.write(buffer, offset, length)
    assert size <= path.stat().st_size < size + BLOCK_BYTES
    assert _join(path, size, rung) == whole
    seal(str(path), size)
    assert path.read_bytes() == whole
    assert _join(path, size, rung) == whole


def _join(path: Path, size: int, rung: Rung) -> bytes:
    return b"".join(bytes(view) for _, view in read_back(str(path), size, rung, step=PIECE))


@pytest.mark.parametrize("rung", [Rung.DIRECT, Rung.BUFFERED])
def test_chosen_pieces_are_read_and_no_others(rung: Rung, tmp_path: Path) -> None:
    take(tmp_path, rung)
    whole, path = os.urandom(SIZE), tmp_path / "file"
    path.write_bytes(whole)
    found = [
        (offset, bytes(view))
        for offset, view in read_back(str(path), SIZE, rung, [PIECE, 3 * PIECE], PIECE)
    ]
    assert found == [(PIECE, whole[PIECE : 2 * PIECE]), (3 * PIECE, whole[3 * PIECE :])]


def test_a_file_that_is_too_short_is_not_read_as_if_it_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(PIECE))
    with pytest.raises(OSError, match="ends before its size"):
        list(read_back(str(path), SIZE, Rung.BUFFERED, step=PIECE))


def test_what_the_probe_chooses_is_what_the_file_system_takes(tmp_path: Path) -> None:
    rung = probe(str(tmp_path))
    assert rung is Rung.BUFFERED or writing._takes(str(tmp_path), rung)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not MEMORY.is_dir(), reason="no tmpfs here")
def test_memory_is_written_as_it_can_be(memory: Path) -> None:
    rung = probe(str(memory))
    whole, path = os.urandom(SIZE), memory / "file"
    path.touch()
    buffer = take_buffer(PIECE)
    with Target(str(path), rung) as target:
        for offset in range(0, SIZE, PIECE):
            length = min(PIECE, SIZE - offset)
            buffer[:length] = whole[offset : offset + length]
            target.write(buffer, offset, length)
    seal(str(path), SIZE)
    assert path.read_bytes() == whole
    assert list(memory.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to("/dev/full")
    with Target(str(path), Rung.BUFFERED) as target, pytest.raises(FetchFailure) as failure:
        target.write(memoryview(bytes(PIECE)), 0, PIECE)
    assert failure.value.reason == "WeightsTooLarge"
