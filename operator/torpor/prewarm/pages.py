"""Weights read ahead into the page cache, while the engine still imports its libraries. Standard library only.

The page cache is charged to whoever touches a page first, so this runs where no memory limit is. It reads in the order
in which an engine loads, skips what is cached, and stops as soon as memory runs short.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torpor.domain.loading import Tier, should_warm, still_room

BLOCK_BYTES = 16 * 1024 * 1024
READERS = 8
"""Reads under way; a network disk needs several to be busy, and together they queue 128 MiB."""
SCRATCH_BYTES = 1024 * 1024
"""All bytes land in the same small buffer: nobody looks at them, and it stays in the processor's cache."""
BLOCKS_PER_LOOK = 16
"""Blocks between two looks at the memory that is left."""

_NETWORK = ("nfs", "cifs", "smb", "ceph", "lustre", "9p", "gpfs", "beegfs", "gluster", "fuse")
_LOADED_FIRST = (".safetensors", ".bin", ".gguf")


class Memory(NamedTuple):
    """Bytes that can be had without swapping, and all there are."""

    available: int
    total: int


class Warmed(NamedTuple):
    """What was done, in bytes, and why no more."""

    read: int
    cached: int
    message: str


def read_memory(proc: str = "/proc", cgroup: str = "/sys/fs/cgroup") -> Memory:
    """Return the node's memory, cut to what the container's own limit leaves.

    Raises:
        OSError: There is no /proc/meminfo.
    """
    with open(os.path.join(proc, "meminfo"), encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit = _read_number(os.path.join(cgroup, "memory.max"))
    if limit is not None:
        used = _read_number(os.path.join(cgroup, "memory.current")) or 0
        available = min(available, max(0, limit - used))
    return Memory(available, total)


def find_tier(folder: str, proc: str = "/proc") -> Tier:
    """Tell from the mount what holds a folder; what is not known is a disk."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open(os.path.join(proc, "self", "mountinfo"), encoding="utf-8") as file:
        for line in file:
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == number:
                name = kind.split()[0]
                if name in ("tmpfs", "ramfs", "hugetlbfs"):
                    return Tier.MEMORY
                return Tier.NETWORK if name.startswith(_NETWORK) else Tier.DISK
    return Tier.DISK


def find_shards(folders: Iterable[str]) -> list[tuple[str, int]]:
    """Return the files with weights below the folders and their sizes, in the order in which engines load them."""
    found: list[tuple[str, int]] = []
    for folder in folders:
        here: list[tuple[str, int]] = []
        for parent, _, names in os.walk(folder):
            paths = (os.path.join(parent, name) for name in names if name.endswith(_LOADED_FIRST))
            here += [(path, os.stat(path).st_size) for path in paths]
        found += sorted(here, key=lambda shard: _natural(shard[0]))
    return found


def warm_pages(
    shards: list[tuple[str, int]], tier: Tier, stop: threading.Event, memory: Memory
) -> Warmed:
    """Read the files ahead if that helps, until all are cached, memory is short or `stop` is set.

    Raises:
        OSError: A file cannot be read.
    """
    decision = should_warm(sum(size for _, size in shards), memory.available, memory.total, tier)
    if not decision.warm:
        return Warmed(0, 0, decision.why)
    reading = _Reading(shards, stop)
    readers = [threading.Thread(target=reading.run, daemon=True) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if reading.error is not None:
        raise reading.error
    return Warmed(reading.read, reading.cached, reading.message or decision.why)


class _Reading:
    """What the readers share."""

    def __init__(self, shards: list[tuple[str, int]], stop: threading.Event) -> None:
        self._blocks = _blocks(shards)
        self._stop = stop
        self._lock = threading.Lock()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._taken = 0
        self.read = 0
        self.cached = 0
        self.message = ""
        self.error: OSError | None = None

    def run(self) -> None:
        """Read block after block."""
        path, fd = "", -1
        try:
            while (block := self._next()) is not None:
                if block[0] != path:
                    if fd >= 0:
                        os.close(fd)
                    path, fd = block[0], -1
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
                self._take_in(fd, *block[1:])
        except OSError as error:
            self.error = error
        finally:
            if fd >= 0:
                os.close(fd)

    def _next(self) -> tuple[str, int, int] | None:
        with self._lock:
            if self.error is not None or self.message:
                return None
            if self._stop.is_set():
                self.message = "stopped: the engine is ready or the pod ends"
                return None
            if self._taken % BLOCKS_PER_LOOK == 0 and not still_room(read_memory().available):
                self.message = "stopped: memory became short"
                return None
            self._taken += 1
            return next(self._blocks, None)

    def _take_in(self, fd: int, offset: int, length: int) -> None:
        if is_cached(fd, offset, length):
            with self._lock:
                self.cached += length
            return
        done = 0
        while done < length:
            count = os.preadv(fd, self._buffers(length - done), offset + done)
            if count == 0:
                break  # cut short since it was listed
            done += count
        with self._lock:
            self.read += done

    def _buffers(self, length: int) -> list[memoryview]:
        whole, rest = divmod(length, SCRATCH_BYTES)
        return [self._scratch] * whole + ([self._scratch[:rest]] if rest else [])


def is_cached(fd: int, offset: int, length: int) -> bool:
    """Whether first, middle and last page of a range can be read without waiting for the disk.

    A file system that cannot tell counts as not cached: reading then costs a copy, no more.
    """
    page = bytearray(1)
    try:
        for place in (offset, offset + length // 2, offset + length - 1):
            if os.preadv(fd, [page], place, os.RWF_NOWAIT) != 1:
                return False
    except OSError:
        return False
    return True


def _blocks(shards: list[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    for path, size in shards:
        for offset in range(0, size, BLOCK_BYTES):
            yield path, offset, min(BLOCK_BYTES, size - offset)


def _natural(path: str) -> list[tuple[int, str]]:
    """Order in which 2 comes before 10, as loaders have it; the format that they prefer comes first."""
    rank = next(i for i, end in enumerate(_LOADED_FIRST) if path.endswith(end))
    pieces = [piece for piece in re.split(r"(\d+)", path) if piece]
    return [(rank, "")] + [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]


def _read_number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
