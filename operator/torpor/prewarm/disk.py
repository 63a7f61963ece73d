"""Files on the node's disk, written around the page cache where the file system can.

The page cache is charged to the container that fills it, so a buffered download stalls on its own memory limit;
O_DIRECT also costs a third of the CPU time. It wants buffer, offset and length in whole blocks: buffers are
mappings, parts are multiples of a block, and the last block is cut off again by truncating.
"""

import contextlib
import errno
import mmap
import os
import threading
from collections.abc import Iterator

from torpor.domain.fetching import FetchReason, RemoteFile
from torpor.prewarm.failure import FetchFailure

BLOCK_BYTES = 4096
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def probe_direct(folder: str) -> bool:
    """Whether the file system below takes O_DIRECT: write one block and read it back."""
    path = os.path.join(folder, f".probe-{os.getpid()}-{threading.get_ident()}")
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
        try:
            with mmap.mmap(-1, BLOCK_BYTES) as block:
                block[:] = b"torpor.." * (BLOCK_BYTES // 8)
                if os.pwrite(fd, block, 0) != BLOCK_BYTES:
                    return False
                written = bytes(block)
                block[:] = bytes(BLOCK_BYTES)
                return os.preadv(fd, [block], 0) == BLOCK_BYTES and bytes(block) == written
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return False
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def reserve(folder: str, files: tuple[RemoteFile, ...]) -> None:
    """Create every file at its full size, so that a disk that is too small says so before the first byte.

    Raises:
        FetchFailure: the disk is full.
    """
    for file in files:
        path = os.path.join(folder, file.key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            if file.size:
                os.posix_fallocate(fd, 0, file.size)
        except OSError as error:
            raise full_disk(error, path) or error from error
        finally:
            os.close(fd)


def full_disk(error: OSError, path: str) -> FetchFailure | None:
    """The failure to report when `error` says that the disk, a quota or the largest file size is reached."""
    if error.errno not in _FULL:
        return None
    return FetchFailure(
        FetchReason.TOO_LARGE,
        f"the node's cache disk is full while making room for {os.path.basename(path)} ({error.strerror})",
        retryable=True,
    )


class Target:
    """One reserved file, written in parts by several threads."""

    def __init__(self, path: str, size: int, *, direct: bool) -> None:
        self._size = size
        self._direct = direct
        self._path = path
        self._fd = os.open(path, os.O_RDWR | (os.O_DIRECT if direct else 0))

    def write(self, buffer: memoryview, offset: int, length: int) -> None:
        """Write `length` bytes of the buffer; bytes after them, up to a whole block, may be written too."""
        end = _round_up(length) if self._direct else length
        written = 0
        while written < end:
            try:
                written += os.pwrite(self._fd, buffer[written:end], offset + written)
            except OSError as error:
                raise full_disk(error, self._path) or error from error

    def read_back(self, buffer: memoryview) -> Iterator[memoryview]:
        """Read the file from the start, as far as it was written, through the buffer."""
        offset = 0
        while offset < self._size:
            count = os.preadv(self._fd, [buffer], offset)
            if count <= 0:
                raise OSError(errno.EIO, "the file ends before its size", self._path)
            count = min(count, self._size - offset)
            yield buffer[:count]
            offset += count

    def seal(self) -> None:
        """Cut to size and force to disk."""
        os.ftruncate(self._fd, self._size)
        os.fsync(self._fd)
        if not self._direct:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Give the descriptor back; harmless twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sync_folders(root: str) -> None:
    """Force every folder's entries to disk, deepest first."""
    for folder, _, _ in os.walk(root, topdown=False):
        sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Force one folder's entries to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: str, content: bytes) -> None:
    """Write a small file so that it is there whole or not at all, even after a power cut."""
    fresh = f"{path}.new"
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    sync_folder(os.path.dirname(path))


def _round_up(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES
