"""Room in the cache: what is used, what nobody will finish, and a place reserved for what comes."""

import os
import shutil

from torpor.domain.fetching import Refusal, RemoteFile, refuse_size
from torpor.prewarm.disk import reserve
from torpor.prewarm.failure import raise_refusal
from torpor.prewarm.journal import resumable
from torpor.prewarm.layout import SPACE_LOCK, Layout
from torpor.prewarm.locks import hold_lock, try_lock

_STAT_BLOCK_BYTES = 512


def make_room(
    layout: Layout, name: str, source: str, files: tuple[RemoteFile, ...], budget_bytes: int
) -> None:
    """Create `partial/<name>` with every file at its full size; the caller holds the lock of `name`.

    One process at a time measures and reserves, and reserved files count as used, so that two downloads
    cannot both take the last gigabyte. A download of these very files that can be gone on with is left as it is.
    Downloads whose process died are removed when their room is needed.

    Raises:
        FetchFailure: it does not fit the budget or the disk.
        OSError: the cache cannot be written.
    """
    need = sum(file.size for file in files)
    kept = resumable(layout, name)
    for leftover in (layout.partial(name), layout.model(name)):
        if os.path.isdir(leftover) and not (kept and leftover == layout.partial(name)):
            shutil.rmtree(leftover)
    if kept:  # its room is reserved already, and counted
        raise_refusal(refuse_size(source, need, budget_bytes, used_bytes=0, free_bytes=None))
        return
    with hold_lock(layout.lock(SPACE_LOCK)):
        if _refuse(layout, source, need, budget_bytes) is not None:
            _sweep(layout)
        raise_refusal(_refuse(layout, source, need, budget_bytes))
        os.makedirs(layout.partial(name))
        reserve(layout.partial(name), files)


def _refuse(layout: Layout, source: str, need: int, budget_bytes: int) -> Refusal | None:
    disk = os.statvfs(layout.root)
    free = (
        disk.f_bavail * disk.f_frsize if disk.f_blocks else None
    )  # memory and some network file systems
    used = sum(_measure(os.path.join(layout.root, kind)) for kind in ("models", "partial"))
    return refuse_size(source, need, budget_bytes, used, free)


def _measure(folder: str) -> int:
    """Bytes that a folder's files take on disk; files that vanish meanwhile take none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * _STAT_BLOCK_BYTES
            except FileNotFoundError:
                continue
    return total


def _sweep(layout: Layout) -> None:
    """Remove downloads that no process works on any more."""
    try:
        names = os.listdir(os.path.join(layout.root, "partial"))
    except FileNotFoundError:
        return
    for name in names:
        fd = try_lock(layout.lock(name))
        if fd is not None:
            try:
                shutil.rmtree(layout.partial(name), ignore_errors=True)
            finally:
                os.close(fd)
