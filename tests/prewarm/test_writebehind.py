"""A hand reads on while its pieces are written; nothing is told before it is there, and no error is lost."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from torpor.domain.fetching import Part
from torpor.prewarm.buffers import take_buffer
from torpor.prewarm.proof import Sums, sum_piece
from torpor.prewarm.writebehind import WRITES_AT_ONCE, WriteBehind, Writers
from torpor.prewarm.writing import Rung, Target

PIECE = 4096
WAIT_SECONDS = 30.0


class Ledger:
    """Remembers what it hears, and in which thread."""

    def __init__(self, refuses: int = -1) -> None:
        self.heard: list[tuple[int, Sums]] = []
        self.threads: set[int] = set()
        self.refuses = refuses

    def wrote(self, piece: Part, sums: Sums) -> None:
        if piece.offset == self.refuses:
            raise RuntimeError(f"the piece at {piece.offset} breaks the file")
        self.heard.append((piece.offset, sums))
        self.threads.add(threading.get_ident())

    @property
    def offsets(self) -> list[int]:
        return sorted(offset for offset, _ in self.heard)


class Disk:
    """`os.pwritev` that waits until it may, and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.under_way = 0
        self.most = 0
        self.fails_at = -1
        self._lock = threading.Lock()
        self._real = os.pwritev
        monkeypatch.setattr(os, "pwritev", self._write)

    def _write(self, fd: int, views: list[memoryview], offset: int, flags: int) -> int:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        assert self.may.wait(WAIT_SECONDS)
        with self._lock:
            self.under_way -= 1
        if offset == self.fails_at:
            raise OSError(errno.EIO, "the disk is broken")
        return self._real(fd, views, offset, flags)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.may.set()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    path = tmp_path / "file"
    path.touch()
    with Target(str(path), Rung.BUFFERED) as opened:
        yield opened


def fill(buffer: memoryview, number: int) -> tuple[Part, Sums]:
    """Fill a buffer as piece `number`."""
    buffer[:] = bytes([number]) * PIECE
    return Part("file", number * PIECE, PIECE), sum_piece("crc64nvme", buffer)


def wait_until(true: Callable[[], Any], between: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        between()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_hand_reads_on_while_its_pieces_are_written(
    tmp_path: Path, target: Target, disk: Disk
) -> None:
    writers, ledger, spare = Writers(PIECE, 2), Ledger(), 2
    buffer = take_buffer(PIECE)
    with WriteBehind(writers, target, ledger) as behind:
        for number in range(spare):
            piece, sums = fill(buffer, number)
            other = behind.write(buffer, piece, sums)
            assert other.obj is not buffer.obj
            buffer = other
        behind.look()
        assert not ledger.heard, "nothing is there yet"
        disk.may.set()
        wait_until(lambda: len(ledger.heard) == spare, behind.look)
        behind.write(buffer, *fill(buffer, spare))
    assert ledger.offsets == [number * PIECE for number in range(spare + 1)]
    assert ledger.threads == {threading.get_ident()}
    written = (tmp_path / "file").read_bytes()
    assert written == b"".join(bytes([number]) * PIECE for number in range(spare + 1))
    assert dict(ledger.heard)[PIECE] == sum_piece(
        "crc64nvme", memoryview(written)[PIECE : 2 * PIECE]
    )
    writers.close()


def test_without_a_spare_buffer_a_hand_waits_for_its_own_write(target: Target, disk: Disk) -> None:
    writers, ledger, buffer = Writers(PIECE, 0), Ledger(), take_buffer(PIECE)
    threading.Timer(0.05, disk.may.set).start()
    with WriteBehind(writers, target, ledger) as behind:
        again = behind.write(buffer, *fill(buffer, 0))
        assert disk.may.is_set()
        assert again.obj is buffer.obj
    assert ledger.offsets == [0]
    writers.close()


def test_what_is_claimed_is_written_and_told_however_the_reading_ends(
    target: Target, disk: Disk
) -> None:
    writers, ledger, buffer = Writers(PIECE, 1), Ledger(), take_buffer(PIECE)
    threading.Timer(0.05, disk.may.set).start()

    def bring() -> None:
        with WriteBehind(writers, target, ledger) as behind:
            behind.write(buffer, *fill(buffer, 0))
            raise ConnectionError("cut")

    with pytest.raises(ConnectionError, match="cut"):
        bring()
    assert ledger.offsets == [0]
    writers.close()


def test_an_error_of_the_disk_is_raised_as_itself_and_the_other_pieces_are_told(
    target: Target, disk: Disk
) -> None:
    writers, ledger = Writers(PIECE, 3), Ledger()
    disk.fails_at = PIECE

    def bring(first: int, last: int) -> None:
        buffer = take_buffer(PIECE)
        with WriteBehind(writers, target, ledger) as behind:
            for number in range(first, last):
                buffer = behind.write(buffer, *fill(buffer, number))
            disk.may.set()
            wait_until(lambda: len(ledger.heard) >= last - first - 1, behind.look)

    with pytest.raises(OSError, match="the disk is broken") as raised:
        bring(0, 3)
    assert raised.value.errno == errno.EIO
    assert ledger.offsets == [0, 2 * PIECE]

    disk.fails_at = -1
    bring(3, 12)  # which needs every buffer back
    assert ledger.offsets == [0, *(number * PIECE for number in range(2, 12))]
    writers.close()


def test_after_an_error_nothing_more_is_written(target: Target, disk: Disk) -> None:
    writers, buffer, ledger = Writers(PIECE, 3), take_buffer(PIECE), Ledger(refuses=0)
    disk.may.set()
    steps: list[str] = []

    def bring() -> None:
        with WriteBehind(writers, target, ledger) as behind:
            other = behind.write(buffer, *fill(buffer, 0))
            wait_until(lambda: behind._error, behind.look)
            steps.append("read on")  # the reader would take an error for the network's
            behind.write(other, *fill(other, 1))
            steps.append("taken")

    with pytest.raises(RuntimeError, match="breaks the file"):
        bring()
    assert steps == ["read on"]
    assert not ledger.heard
    writers.close()


def test_no_more_pieces_are_at_the_disk_than_keep_it_busy(
    tmp_path: Path, target: Target, disk: Disk
) -> None:
    hands, each = 3 * WRITES_AT_ONCE, 4
    writers, ledger = Writers(PIECE, hands), Ledger()

    def bring(hand: int) -> None:
        buffer = take_buffer(PIECE)
        with WriteBehind(writers, target, ledger) as behind:
            for number in range(hand * each, hand * each + each):
                buffer = behind.write(buffer, *fill(buffer, number))

    with ThreadPoolExecutor(hands) as pool:
        brought = [pool.submit(bring, hand) for hand in range(hands)]
        wait_until(lambda: disk.under_way == WRITES_AT_ONCE)
        time.sleep(0.05)  # others that may come in do
        disk.may.set()
        for one in brought:
            one.result(WAIT_SECONDS)
    assert disk.most == WRITES_AT_ONCE
    whole = b"".join(bytes([number]) * PIECE for number in range(hands * each))
    assert (tmp_path / "file").read_bytes() == whole
    writers.close()


def test_closed_writers_leave_no_thread(target: Target) -> None:
    before = set(threading.enumerate())
    writers, buffer = Writers(PIECE, 1), take_buffer(PIECE)
    mine = set(threading.enumerate()) - before
    assert len(mine) == WRITES_AT_ONCE
    with WriteBehind(writers, target, Ledger()) as behind:
        behind.write(buffer, *fill(buffer, 0))
    writers.close()
    for thread in mine:
        thread.join(WAIT_SECONDS)
    assert not any(thread.is_alive() for thread in mine)
