"""Remove what belongs to no endpoint any more: copies, downloads, compile caches, trash, lock files."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from torpor.domain.eviction import Entry, may_collect
from torpor.domain.fetching import format_bytes
from torpor.prewarm.eviction import discard, discard_folders, empty_trash, lock_entries
from torpor.prewarm.failure import explain_cache_error
from torpor.prewarm.inventory import list_entries, measure, survey
from torpor.prewarm.layout import COMPILE, LOCKS, MODELS, SPACE_LOCK, TRASH, Layout, is_hash
from torpor.prewarm.locks import hold_lock, try_lock
from torpor.prewarm.scrub import heal
from torpor.prewarm.waiting import pause

TRIES, PAUSE_SECONDS = 15, 2.0

MOST_NAMES = 25
"""Hashes in one list of the result: the termination log holds 4096 bytes."""


class Collected(NamedTuple):
    """What went, and what could not."""

    removed: tuple[str, ...]
    """Hashes of which something was removed."""
    left: tuple[str, ...]
    """Hashes that no endpoint has, but that are in use, or were used since the list was made."""
    damaged: tuple[str, ...]
    """Hashes of kept copies that were removed because their bytes are not those that were verified."""
    bytes: int
    busy: bool = False
    """Whether something is left because another process works on it."""

    def describe(self, layout: Layout) -> dict[str, Any]:
        """As the result document."""
        message = f"removed {format_bytes(self.bytes)} of {len(self.removed)} models"
        if self.left:
            message += f"; {len(self.left)} that no endpoint has are in use"
        if self.damaged:
            message += f"; {len(self.damaged)} were damaged since the node started anew"
        state = survey(layout).describe()
        del state["evicted"]
        return {
            "reason": "Collected",
            "removed": list(self.removed[:MOST_NAMES]),
            "left": list(self.left[:MOST_NAMES]),
            "damaged": list(self.damaged[:MOST_NAMES]),
            "bytes": self.bytes,
            **state,
            "message": message,
        }


def collect(layout: Layout, keep: frozenset[str], keep_as_of: int) -> Collected:
    """Remove everything whose hash is not in `keep`, then read suspect copies back.

    What another process has locked is left alone, and so is a copy that was published or used since `keep` was
    made (`keep_as_of`, seconds since the epoch; 0: just now). May be killed at any instant and run again.

    Raises:
        FetchFailure: the cache cannot be written.
    """
    try:
        with hold_lock(layout.lock(SPACE_LOCK)):
            freed = measure(os.path.join(layout.root, TRASH))[0]
            empty_trash(layout)
            strange = [entry for entry in list_entries(layout) if entry.hash not in keep]
            with ExitStack() as locks:
                looked = lock_entries(layout, strange, locks)
                gone = [entry for entry in looked if may_collect(entry, keep, keep_as_of)]
                discard(layout, gone)
            freed += sum(entry.bytes for entry in gone)
            left = _hashes([entry for entry in looked if entry not in gone])
            freed += _collect_compiled(layout, keep | set(left))
            _collect_locks(layout, keep | set(left))
        damaged = _heal_all(layout)
    except OSError as error:
        raise explain_cache_error(layout.root, error) from error
    busy = any(entry.busy for entry in looked if entry not in gone)
    return Collected(_hashes(gone), left, damaged, freed, busy)


def collect_patiently(
    layout: Layout,
    keep: frozenset[str],
    keep_as_of: int,
    wait: Callable[[float], None] = pause,
) -> Collected:
    """Collect again for half a minute while somebody works on what should go: a download that ends needs its grace.

    Raises:
        FetchFailure: the cache cannot be written.
    """
    done = collect(layout, keep, keep_as_of)
    for _ in range(TRIES):
        if not done.busy:
            break
        wait(PAUSE_SECONDS)
        more = collect(layout, keep, keep_as_of)
        removed = tuple(sorted({*done.removed, *more.removed}))
        damaged = tuple(sorted({*done.damaged, *more.damaged}))
        done = Collected(removed, more.left, damaged, done.bytes + more.bytes, more.busy)
    return done


def _hashes(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(sorted({entry.hash for entry in entries}))


def _heal_all(layout: Layout) -> tuple[str, ...]:
    names = [name for name in layout.names(MODELS) if is_hash(name)]
    return tuple(name for name in names if heal(layout, name) is not None)


def _collect_compiled(layout: Layout, keep: frozenset[str]) -> int:
    """Remove the compile caches of other weights; one that does not say whose it is stays."""
    folders: list[str] = []
    for folder in _compiled_folders(layout):
        try:
            with open(os.path.join(folder, "hash"), encoding="ascii") as file:
                name = file.read().strip()
        except (OSError, ValueError):
            continue
        if is_hash(name) and name not in keep:
            folders.append(folder)
    freed = sum(measure(folder)[0] for folder in folders)
    if folders:
        discard_folders(layout, folders)
    return freed


def _compiled_folders(layout: Layout) -> Iterator[str]:
    for namespace in layout.names(COMPILE):
        own = Layout(os.path.join(layout.root, COMPILE, namespace))
        yield from (os.path.join(own.root, COMPILE, key) for key in own.names(COMPILE))


def _collect_locks(layout: Layout, keep: frozenset[str]) -> None:
    """Remove the lock files of hashes that have nothing left; each while holding it."""
    for name in layout.names(LOCKS):
        if not is_hash(name) or name in keep:
            continue
        fd = try_lock(layout.lock(name))
        if fd is not None:
            try:
                os.unlink(layout.lock(name))
            finally:
                os.close(fd)
