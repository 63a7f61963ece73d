"""Bytes on their way to the node's disk, around the page cache where the file system lets us.

The page cache is charged to the container that fills it, so a buffered download stalls on its own memory limit;
O_DIRECT also costs a third of the CPU time. It wants buffer, offset and length in whole blocks: buffers are
mappings, pieces are multiples of a block, and the last block is cut off again by truncating.
"""

import contextlib
import errno
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Self

from torpor.prewarm.buffers import take_buffer
from torpor.prewarm.disk import full_disk

BLOCK_BYTES = 4096
READ_BYTES = 2 * 1024 * 1024

_DONTCACHE = 0x80  # RWF_DONTCACHE, Linux 6.14; Python 3.11 has no name for it
_REFUSALS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Rung(StrEnum):
    """How files are written, from the best to what always works."""

    DIRECT = "direct"
    """O_DIRECT: past the page cache."""
    DONTCACHE = "dontcache"
    """Through it, but each page is dropped as soon as it is on the disk."""
    BUFFERED = "buffered"
    """Through it; written back at once and dropped at the next opportunity."""


def probe(folder: str) -> Rung:
    """The best rung that the file system below takes: write one block and read it back."""
    for rung in (Rung.DIRECT, Rung.DONTCACHE):
        if _takes(folder, rung):
            return rung
    return Rung.BUFFERED


def _takes(folder: str, rung: Rung) -> bool:
    path = os.path.join(folder, f".probe-{os.getpid()}-{threading.get_ident()}")
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as block:
            block[:] = b"torpor.." * (BLOCK_BYTES // 8)
            written = bytes(block)
            fd = os.open(path, os.O_CREAT | os.O_RDWR | _open_flags(rung), 0o600)
            try:
                if os.pwritev(fd, [block], 0, _write_flags(rung)) != BLOCK_BYTES:
                    return False
                block[:] = bytes(BLOCK_BYTES)
                return os.preadv(fd, [block], 0) == BLOCK_BYTES and bytes(block) == written
            finally:
                os.close(fd)
    except OSError as error:
        if error.errno in _REFUSALS:
            return False
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _open_flags(rung: Rung) -> int:
    return os.O_DIRECT if rung is Rung.DIRECT else 0


def _write_flags(rung: Rung) -> int:
    return _DONTCACHE if rung is Rung.DONTCACHE else 0


class Target:
    """A reserved file, opened for writing pieces; each thread has its own."""

    def __init__(self, path: str, rung: Rung) -> None:
        self._path = path
        self._rung = rung
        self._fd = os.open(path, os.O_WRONLY | _open_flags(rung))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def write(self, buffer: memoryview, offset: int, length: int) -> None:
        """Write `length` bytes of the buffer; bytes after them, up to a whole block, may be written too.

        Raises:
            FetchFailure: the disk is full.
        """
        end = _round_up(length) if self._rung is Rung.DIRECT else length
        written, flags = 0, _write_flags(self._rung)
        while written < end:
            try:
                written += os.pwritev(self._fd, [buffer[written:end]], offset + written, flags)
            except OSError as error:
                raise full_disk(error, self._path) or error from error
        if self._rung is Rung.BUFFERED:  # starts write-back, and drops what is written back by now
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)


def seal(path: str, size: int) -> None:
    """Cut a file to size and force it to disk."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def read_back(
    path: str, size: int, rung: Rung, offsets: Iterable[int] | None = None, step: int = READ_BYTES
) -> Iterator[tuple[int, memoryview]]:
    """Read a file in steps, from the disk where possible; a view holds until the next.

    Args:
        path: the file.
        size: its true size; it may be longer by less than a block.
        rung: as it was written.
        offsets: where to read a step each; None for the whole file from the start.
        step: most bytes of a view, a multiple of a block.

    Raises:
        OSError: the file is shorter, or cannot be read.
    """
    buffer = take_buffer(step)
    fd = os.open(path, os.O_RDONLY | _open_flags(rung))
    try:
        for offset in range(0, size, step) if offsets is None else offsets:
            wanted = min(step, size - offset)
            if os.preadv(fd, [buffer], offset) < wanted:
                raise OSError(errno.EIO, "the file ends before its size", path)
            yield offset, buffer[:wanted]
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _round_up(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES
