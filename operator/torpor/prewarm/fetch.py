"""From settings to a published copy: examine, make room, move, publish; or find that the node has it."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from torpor import clock
from torpor.domain.fetching import FetchPlan, FetchReason, format_bytes, plan_fetch
from torpor.domain.pieces import choose_piece_bytes
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.journal import Journal, is_worth_keeping
from torpor.prewarm.layout import Layout, Manifest
from torpor.prewarm.locks import hold_lock
from torpor.prewarm.preflight import Listing, examine
from torpor.prewarm.progress import PERIOD_SECONDS, Progress
from torpor.prewarm.publish import publish
from torpor.prewarm.room import make_room
from torpor.prewarm.store import Store
from torpor.prewarm.telling import tell
from torpor.prewarm.transfer import Transfer
from torpor.prewarm.writing import probe
from torpor.settings.prewarm import PrewarmSettings

_USELESS = frozenset({FetchReason.CHANGED, FetchReason.CORRUPT, FetchReason.TOO_LARGE})

PLANS = 3
"""Plans made in one run when objects are replaced under way; an upload that never ends is not chased."""


class Brought(NamedTuple):
    """A copy on the node. All numbers are zero when it had been there."""

    manifest: Manifest
    hit: bool
    moved_bytes: int
    seconds: float
    resumed_bytes: int = 0
    """What an earlier run, killed or failed, had left."""
    writes: str = ""
    """How files were written: `direct`, `dontcache` or `buffered`."""


def list_weights(settings: PrewarmSettings) -> tuple[str, Listing]:
    """Examine the source; returns its name for messages, and the listing.

    Raises:
        FetchFailure: it cannot be used.
    """
    store = Store(settings)
    return store.address.source, examine(store, settings.budget_bytes)


def bring_weights(
    settings: PrewarmSettings, expected_hash: str | None, say: Callable[[dict[str, Any]], None]
) -> Brought:
    """Have a complete, verified copy on the node.

    With `expected_hash` only that content is accepted: the engine that waits was given that folder.

    Raises:
        FetchFailure: it cannot be brought; what the next run can go on with is left on the disk.
    """
    store = Store(settings)
    layout = Layout(settings.cache_dir)
    for attempt in range(1, PLANS + 1):
        try:
            listing = examine(store, settings.budget_bytes)
            _check_expected(store.address.source, listing.hash, expected_hash)
            return _bring(settings, store, layout, listing, say)
        except ObjectChanged:
            if attempt == PLANS:
                raise
        except OSError as error:
            raise FetchFailure(
                FetchReason.INTERNAL,
                f"the weights cache {settings.cache_dir} cannot be used: {error.strerror or error} "
                f"({error.filename or 'no path'})",
                retryable=True,
            ) from error
    raise AssertionError("the last attempt returns or raises")


def _check_expected(source: str, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise FetchFailure(
            FetchReason.CHANGED, f"{source} changed: it is {found} now, {expected} was asked for"
        )


def _bring(
    settings: PrewarmSettings,
    store: Store,
    layout: Layout,
    listing: Listing,
    say: Callable[[dict[str, Any]], None],
) -> Brought:
    name = listing.hash
    waited = _Waiting(name, say)
    with hold_lock(layout.lock(name), waited.tick) as lock_fd:
        manifest = layout.find_copy(name)
        plan = plan_fetch(listing.files, manifest.sizes if manifest else None, settings.part_bytes)
        if plan.hit and manifest is not None:
            return Brought(manifest, hit=True, moved_bytes=0, seconds=0.0)
        try:
            return _download(settings, store, layout, plan, say, lock_fd)
        except BaseException as error:
            _clean_up(layout, name, error)
            raise


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


def _download(
    settings: PrewarmSettings,
    store: Store,
    layout: Layout,
    plan: FetchPlan,
    say: Callable[[dict[str, Any]], None],
    lock_fd: int,
) -> Brought:
    begun, source = clock.monotonic(), store.address.source
    make_room(layout, plan.hash, source, plan.files, settings.budget_bytes)
    folder = layout.partial(plan.hash)
    progress = Progress(plan.hash, plan.total_bytes, say)
    rung = probe(os.path.dirname(folder))
    with (
        tell(settings.progress_port, progress.describe, say),
        closing(Journal(folder, plan.files, choose_piece_bytes(settings.part_bytes))) as journal,
    ):
        if journal.rebooted:
            say(
                {
                    "waiting": f"the node restarted: {format_bytes(journal.there_bytes)} are read again"
                }
            )
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
    moved = plan.total_bytes - transfer.resumed_bytes
    seconds = clock.monotonic() - begun
    return Brought(manifest, False, moved, seconds, transfer.resumed_bytes, rung)


class _Waiting:
    """Says now and then that another process fetches the same weights."""

    def __init__(self, name: str, say: Callable[[dict[str, Any]], None]) -> None:
        self._name = name
        self._say = say
        self._said_at: float | None = None

    def tick(self) -> None:
        now = clock.monotonic()
        if self._said_at is None or now - self._said_at >= PERIOD_SECONDS:
            self._said_at = now
            self._say({"waiting": f"another pod on this node fetches {self._name}"})
