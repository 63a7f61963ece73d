"""Make things go: lock, look again, rename away, unlink. What a crash leaves is either there or in `trash/`."""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from torpor.domain.eviction import Entry, Need, Terms, plan_eviction
from torpor.domain.fetching import Refusal
from torpor.prewarm.disk import sync_folder
from torpor.prewarm.layout import MODELS, TRASH, Layout
from torpor.prewarm.locks import try_lock
from torpor.prewarm.usage import last_used, published_at


def evict(
    layout: Layout, need: Need, terms: Terms, entries: Sequence[Entry]
) -> tuple[Entry, ...] | Refusal:
    """Evict what the decision says, or nothing at all; the caller holds the lock of the space.

    All victims are locked and looked at again before the first one goes. What turns out to be busy, or used
    meanwhile, changes the decision, so it is made again; each round knows of one more that stays.
    """
    known = list(entries)
    while True:
        victims = plan_eviction(need, terms, known)
        if isinstance(victims, Refusal) or not victims:
            return victims
        with ExitStack() as locks:
            fresh = lock_entries(layout, victims, locks)
            if fresh == victims:
                discard(layout, victims)
                return victims
        by_place = {(entry.kind, entry.hash): entry for entry in fresh}
        known = [by_place.get((entry.kind, entry.hash), entry) for entry in known]


def lock_entries(layout: Layout, entries: Sequence[Entry], locks: ExitStack) -> tuple[Entry, ...]:
    """Lock what can be locked without waiting; returns the entries as they are now."""
    held: dict[str, bool] = {}
    for entry in entries:
        if entry.hash not in held:
            fd = try_lock(layout.lock(entry.hash))
            held[entry.hash] = fd is not None
            if fd is not None:
                locks.callback(os.close, fd)
    return tuple(
        _look_again(layout, entry) if held[entry.hash] else replace(entry, busy=True)
        for entry in entries
    )


def _look_again(layout: Layout, entry: Entry) -> Entry:
    """Only a copy changes while nobody holds its lock: a hit marks it."""
    if entry.kind != MODELS:
        return entry
    published = published_at(layout, entry.hash)
    used = entry.last_used if published is None else last_used(layout, entry.hash)
    return replace(entry, published=published, last_used=used)


def discard(layout: Layout, entries: Iterable[Entry]) -> None:
    """Take folders out of sight with one rename each, then unlink them; the caller holds their locks.

    Raises:
        OSError: the cache cannot be written.
    """
    discard_folders(
        layout, [os.path.join(layout.root, entry.kind, entry.hash) for entry in entries]
    )


def discard_folders(layout: Layout, folders: Sequence[str]) -> None:
    """As `discard`, by path; a folder that is not there is gone already."""
    trash = os.path.join(layout.root, TRASH)
    os.makedirs(trash, exist_ok=True)
    moved: list[str] = []
    for folder in folders:
        target = os.path.join(trash, f"{os.path.basename(folder)}-{os.urandom(8).hex()}")
        try:
            os.rename(folder, target)
        except FileNotFoundError:
            continue
        moved.append(target)
    for parent in {os.path.dirname(folder) for folder in folders}:
        if os.path.isdir(parent):
            sync_folder(parent)
    for target in moved:
        shutil.rmtree(target, ignore_errors=True)


def empty_trash(layout: Layout) -> None:
    """Finish what a killed process began; the caller holds the lock of the space."""
    for name in layout.names(TRASH):
        shutil.rmtree(os.path.join(layout.root, TRASH, name), ignore_errors=True)
