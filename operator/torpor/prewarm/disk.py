"""Files and folders on the node's disk: reserved before the first byte, and made to last."""

import errno
import os

from torpor.domain.fetching import FetchReason, RemoteFile
from torpor.prewarm.failure import FetchFailure

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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
