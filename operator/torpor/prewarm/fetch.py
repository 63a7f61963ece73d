"""From settings to a published copy: examine, make room, move, publish; or find that the node has it."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from torpor import clock
from torpor.domain.artifacts import ArtifactKind
from torpor.domain.fetching import FetchPlan, FetchReason, format_bytes, plan_fetch
from torpor.domain.pieces import LEAST_RANGE_BYTES, choose_piece_bytes
from torpor.prewarm.failure import FetchFailure, ObjectChanged, explain_cache_error
from torpor.prewarm.inventory import CacheState, survey
from torpor.prewarm.journal import Journal, is_worth_keeping, resumable
from torpor.prewarm.layout import Layout, Manifest
from torpor.prewarm.locks import hold_lock
from torpor.prewarm.pace import count_cores
from torpor.prewarm.preflight import Listing, examine
from torpor.prewarm.progress import Progress
from torpor.prewarm.publish import publish
from torpor.prewarm.room import make_room, read_terms
from torpor.prewarm.scrub import heal, note_boot
from torpor.prewarm.store import Store
from torpor.prewarm.telling import tell
from torpor.prewarm.transfer import Transfer
from torpor.prewarm.usage import mark_used
from torpor.prewarm.waiting import OtherFetch, pause, wait_for_room
from torpor.prewarm.writing import probe
from torpor.settings.prewarm import PrewarmSettings

_USELESS = frozenset(
    {FetchReason.CHANGED, FetchReason.CORRUPT, FetchReason.TOO_LARGE, FetchReason.CACHE_FULL}
)

PLANS = 3
"""Plans made in one run when objects are replaced under way; an upload that never ends is not chased."""


class Brought(NamedTuple):
    """A copy on the node. `seconds` and `moved_bytes` are zero when it had been there."""

    manifest: Manifest
    hit: bool
    moved_bytes: int
    seconds: float
    cache: CacheState
    resumed_bytes: int = 0
    """What an earlier run, killed or failed, had left."""
    writes: str = ""
    """How files were written: `direct`, `dontcache` or `buffered`."""


class Asker(NamedTuple):
    """In whose name a copy is brought."""

    settings: PrewarmSettings
    say: Callable[[dict[str, Any]], None]
    engine: bool
    """An engine starts with it as soon as it is there; else it is a Job that has time, and a list of what runs."""
    wait: Callable[[float], None] = pause
    kind: ArtifactKind = ArtifactKind.MODEL
    """What is looked for under the prefix."""

    @property
    def used_at(self) -> int:
        """The use that is noted at the copy: now, or the last one that the Job was told of."""
        now = clock.now_ms() // 1000
        return now if self.engine else self.settings.last_use or now


def list_weights(
    settings: PrewarmSettings, kind: ArtifactKind = ArtifactKind.MODEL
) -> tuple[str, Listing]:
    """Examine one `s3://` source; returns its name for messages, and the listing.

    Raises:
        FetchFailure: it cannot be used.
    """
    store = Store(settings)
    return store.address.source, examine(store, settings.budget_bytes, kind)


def bring_weights(asker: Asker, expected_hash: str | None) -> Brought:
    """Have a complete, verified copy of one `s3://` source on the node.

    With `expected_hash` only that content is accepted: the engine that waits was given that folder.

    Raises:
        FetchFailure: it cannot be brought; what the next run can go on with is left on the disk.
    """
    layout = Layout(asker.settings.cache_dir)
    for attempt in range(1, PLANS + 1):
        try:
            found = find_copy(asker, expected_hash) if expected_hash else None
            return found or _list_and_bring(asker, layout, expected_hash)
        except ObjectChanged:
            if attempt == PLANS:
                raise
        except OSError as error:
            raise explain_cache_error(asker.settings.cache_dir, error) from error
    raise AssertionError("the last attempt returns or raises")


def _list_and_bring(asker: Asker, layout: Layout, expected_hash: str | None) -> Brought:
    store = Store(asker.settings)
    listing = examine(store, asker.settings.budget_bytes, asker.kind)
    _check_expected(store.address.source, listing.hash, expected_hash)

    def bring() -> Brought:
        _heal(asker, layout, listing.hash)
        return _bring(asker, store, layout, listing)

    if asker.engine and not asker.settings.keep_as_of:
        return wait_for_room(bring, asker.say, asker.wait)
    return bring()


def _check_expected(source: str, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise FetchFailure(
            FetchReason.CHANGED, f"{source} changed: it is {found} now, {expected} was asked for"
        )


def _heal(asker: Asker, layout: Layout, name: str) -> None:
    """A Job reads a suspect copy back before it calls it a hit; an engine that waits does not."""
    fault = None if asker.engine else heal(layout, name)
    if fault is not None:
        asker.say({"damaged": f"{fault}; removed, it is fetched again"})


def find_copy(asker: Asker, name: str) -> Brought | None:
    """Look for the copy without asking the store."""
    layout = Layout(asker.settings.cache_dir)
    if layout.find_copy(name) is None:
        return None
    _heal(asker, layout, name)
    waited = OtherFetch(name, asker.say)
    with hold_lock(layout.lock(name), waited.tick):
        manifest = layout.find_copy(name)
        if manifest is None:
            return None
        mark_used(layout, name, asker.used_at)
    return Brought(manifest, True, 0, 0.0, survey(layout))


def _bring(asker: Asker, store: Store, layout: Layout, listing: Listing) -> Brought:
    name = listing.hash
    waited = OtherFetch(name, asker.say)
    with hold_lock(layout.lock(name), waited.tick) as lock_fd:
        manifest = layout.find_copy(name)
        on_node = manifest.sizes if manifest else None
        part_bytes = asker.settings.part_bytes or LEAST_RANGE_BYTES
        plan = plan_fetch(listing.files, on_node, part_bytes, store.address.store)
        if plan.hit and manifest is not None:
            mark_used(layout, name, asker.used_at)
            return Brought(manifest, True, 0, 0.0, survey(layout))
        try:
            brought = _download(asker, store, layout, plan, lock_fd)
        except BaseException as error:
            _clean_up(layout, name, error)
            raise
        note_boot(layout, name)
        mark_used(layout, name, asker.used_at)
    return brought._replace(cache=survey(layout, brought.cache.evicted))


def _clean_up(layout: Layout, name: str, error: BaseException) -> None:
    """Keep what the next run can go on with, and nothing else.

    Kept after a store that failed or refused, and after SIGTERM, if the journal has anything. Removed when
    the content is void (replaced in the bucket, or wrong), when room is what lacks, and after a failure of
    the disk or of our own, which the same files could bring about again.
    """
    keep = not isinstance(error, Exception) or (
        isinstance(error, FetchFailure) and error.reason not in _USELESS
    )
    partial = layout.partial(name)
    if not (keep and is_worth_keeping(partial)):
        shutil.rmtree(partial, ignore_errors=True)
    if not keep and layout.find_copy(name) is None:
        shutil.rmtree(layout.model(name), ignore_errors=True)


def _download(asker: Asker, store: Store, layout: Layout, plan: FetchPlan, lock_fd: int) -> Brought:
    """Make room, move what is missing, and publish."""
    begun, settings, source = clock.monotonic(), asker.settings, store.address.source
    kept = resumable(layout, plan.hash)
    terms = read_terms(settings)
    evicted = make_room(layout, plan.hash, source, plan.files, terms, resumable=kept)
    folder = layout.partial(plan.hash)
    progress = Progress(plan.hash, plan.total_bytes, asker.say)
    rung = probe(os.path.dirname(folder))
    with (
        tell(settings.progress_port, progress.describe, asker.say),
        closing(
            Journal(
                folder,
                plan.hash,
                plan.files,
                choose_piece_bytes(settings.part_bytes, count_cores()),
            )
        ) as journal,
    ):
        if journal.rebooted:
            there = format_bytes(journal.there_bytes)
            asker.say({"waiting": f"the node restarted: {there} are read again"})
            journal.scrub(rung)
        transfer = Transfer(
            store,
            folder,
            plan,
            journal,
            progress,
            settings=settings,
            rung=rung,
            lock_fd=lock_fd,
        )
        manifest = publish(layout, plan.hash, source, transfer.run())
    moved, seconds = plan.total_bytes - transfer.resumed_bytes, clock.monotonic() - begun
    cache = CacheState(evicted, 0, None)
    return Brought(manifest, False, moved, seconds, cache, transfer.resumed_bytes, rung)
