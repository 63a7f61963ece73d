"""What the cache holds and what the disk has left, measured in allocated blocks."""

import os
from typing import NamedTuple

from torpor.domain.eviction import Entry
from torpor.prewarm.layout import COMPILE, MODELS, PARTIAL, TRASH, Layout, is_hash
from torpor.prewarm.usage import last_used, published_at

_STAT_BLOCK_BYTES = 512


class CacheState(NamedTuple):
    """What a result says about the cache beside the model."""

    evicted: tuple[str, ...]
    """Hashes of the copies that went for this one."""
    used_bytes: int
    """What counts against the budget."""
    free_bytes: int | None
    """What the disk has left; None where the file system does not say."""

    def describe(self) -> dict[str, object]:
        """As fields of the result document."""
        return {
            "evicted": list(self.evicted),
            "cacheUsedBytes": self.used_bytes,
            "cacheFreeBytes": self.free_bytes,
        }


def list_entries(layout: Layout) -> list[Entry]:
    """Every copy, every download under way and every remainder of one; a stranger's folders are not listed."""
    return [
        _read_entry(layout, kind, name)
        for kind in (MODELS, PARTIAL)
        for name in layout.names(kind)
        if is_hash(name)
    ]


def _read_entry(layout: Layout, kind: str, name: str) -> Entry:
    size, written = measure(os.path.join(layout.root, kind, name))
    published = published_at(layout, name) if kind == MODELS else None
    used = written if published is None else last_used(layout, name)
    return Entry(name, kind, size, used, published)


def survey(layout: Layout, evicted: tuple[str, ...] = ()) -> CacheState:
    """Measure the whole cache."""
    used = sum(
        measure(os.path.join(layout.root, kind))[0] for kind in (MODELS, PARTIAL, COMPILE, TRASH)
    )
    return CacheState(evicted, used, free_bytes(layout))


def free_bytes(layout: Layout) -> int | None:
    """What the disk has left; None for memory without a limit and some network file systems."""
    disk = os.statvfs(layout.root)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else None


def measure(folder: str) -> tuple[int, int]:
    """Bytes that a folder's files take on disk, and the last write to one; files that vanish meanwhile take none."""
    total = written = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                file = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            total += file.st_blocks * _STAT_BLOCK_BYTES
            written = max(written, int(file.st_mtime))
    return total, written
