"""From settings to a published copy: examine, make room, move, publish; or find that the node has it."""

import os
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

from torpor import clock
from torpor.domain.artifacts import ArtifactKind
from torpor.domain.fetching import FetchPlan, FetchReason, plan_fetch
from torpor.prewarm.disk import probe_direct
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.layout import Layout, Manifest
from torpor.prewarm.locks import hold_lock
from torpor.prewarm.preflight import Listing, examine
from torpor.prewarm.progress import PERIOD_SECONDS, Progress
from torpor.prewarm.publish import publish
from torpor.prewarm.room import make_room
from torpor.prewarm.store import Store
from torpor.prewarm.transfer import Transfer
from torpor.settings.prewarm import PrewarmSettings

PLANS = 3
"""Plans made in one run when objects are replaced under way; an upload that never ends is not chased."""


class Brought(NamedTuple):
    """A copy on the node. `seconds` and `moved_bytes` are zero when it had been there."""

    manifest: Manifest
    hit: bool
    moved_bytes: int
    seconds: float


def list_weights(
    settings: PrewarmSettings, kind: ArtifactKind = ArtifactKind.MODEL
) -> tuple[str, Listing]:
    """Examine one `s3://` source; returns its name for messages, and the listing.

    Raises:
        FetchFailure: it cannot be used.
    """
    store = Store(settings)
    return store.address.source, examine(store, settings.budget_bytes, kind)


def bring_weights(
    settings: PrewarmSettings,
    expected_hash: str | None,
    say: Callable[[dict[str, Any]], None],
    kind: ArtifactKind = ArtifactKind.MODEL,
) -> Brought:
    """Have a complete, verified copy of one `s3://` source on the node.

    With `expected_hash` only that content is accepted: the engine that waits was given that folder.

    Raises:
        FetchFailure: it cannot be brought; nothing of it is left on the disk.
    """
    store = Store(settings)
    layout = Layout(settings.cache_dir)
    for attempt in range(1, PLANS + 1):
        try:
            listing = examine(store, settings.budget_bytes, kind)
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
    with hold_lock(layout.lock(name), waited.tick):
        manifest = layout.find_copy(name)
        plan = plan_fetch(listing.files, manifest.sizes if manifest else None, settings.part_bytes)
        if plan.hit and manifest is not None:
            return Brought(manifest, hit=True, moved_bytes=0, seconds=0.0)
        begun = clock.monotonic()
        try:
            manifest = _download(settings, store, layout, plan, say)
        except BaseException:
            shutil.rmtree(layout.partial(name), ignore_errors=True)
            if layout.find_copy(name) is None:
                shutil.rmtree(layout.model(name), ignore_errors=True)
            raise
        return Brought(manifest, False, plan.total_bytes, clock.monotonic() - begun)


def _download(
    settings: PrewarmSettings,
    store: Store,
    layout: Layout,
    plan: FetchPlan,
    say: Callable[[dict[str, Any]], None],
) -> Manifest:
    source = store.address.source
    make_room(layout, plan.hash, source, plan.files, settings.budget_bytes)
    folder = layout.partial(plan.hash)
    transfer = Transfer(
        store,
        folder,
        plan,
        Progress(plan.total_bytes, say),
        settings=settings,
        direct=probe_direct(os.path.dirname(folder)),
    )
    return publish(layout, plan.hash, source, transfer.run())


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
