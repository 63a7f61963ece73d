"""`hf://` sources: copied once into a bucket, checked, marked; from then on they are fetched as any `s3://` source."""

import contextlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from torpor import clock
from torpor.domain.artifacts import ArtifactKind, refuse_adapter
from torpor.domain.fetching import FetchReason, RemoteFile, refuse_listing, refuse_size
from torpor.domain.hub import (
    MARKER,
    HubFile,
    HubPlan,
    HubSource,
    marker_agrees,
    mirror_source,
    needed_files,
    plan_copy,
)
from torpor.prewarm.copying import Copying
from torpor.prewarm.failure import FetchFailure, raise_refusal
from torpor.prewarm.hub import Hub
from torpor.prewarm.multipart import MIB, UploadGone, abort, find_uploads
from torpor.prewarm.preflight import open_session
from torpor.prewarm.progress import Progress
from torpor.prewarm.store import Session, Store
from torpor.prewarm.telling import tell
from torpor.prewarm.upload import put_bytes
from torpor.settings.prewarm import PrewarmSettings

ROUNDS = 6
"""Times that is looked what is left to do: to send, to check, to mark, and again when another pod copies too."""

FORGOTTEN = timedelta(days=1)
"""An upload for another commit that is older than this belongs to nobody."""

MOST_MARKER_BYTES = 16 * MIB

Say = Callable[[dict[str, Any]], None]


def copy_to_mirror(
    settings: PrewarmSettings, source: HubSource, kind: ArtifactKind, say: Say
) -> str:
    """Have a whole copy in the bucket; returns its commit.

    1. A commit needs no resolving; with its marker there, the hub is not asked at all. 2. What lies there with
    the right size and a record of its check is kept. 3. The rest is sent, or read back and checked. 4. The
    marker comes last.

    Raises:
        FetchFailure: the hub or the bucket refuses, or it cannot be a checkpoint, or is larger than the budget.
    """
    if not settings.hub_mirror.startswith("s3://"):
        raise FetchFailure(
            FetchReason.INTERNAL,
            f"hf://{source.repo} is copied into a bucket first, and spec.model.hub.mirror does not say into "
            "which: it must be s3://bucket/prefix/",
        )
    hub = Hub(settings)
    commit = source.revision if source.pinned else hub.resolve(source)
    place = mirror_source(settings.hub_mirror, source.repo, commit)
    mirror = _Mirror(
        Store(settings._replace(source=place)),
        hub,
        source,
        commit,
        kind,
        say,
        settings.progress_port,
    )
    with open_session(mirror.store) as session:
        if mirror.bring(session, settings.budget_bytes):
            _sweep(settings, source, commit, session)
    return commit


class _Mirror:
    """One commit's copy under way."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        source: HubSource,
        commit: str,
        kind: ArtifactKind,
        say: Say,
        progress_port: int,
    ) -> None:
        self.store = store
        self._progress_port = progress_port
        self._hub = hub
        self._source = source
        self._commit = commit
        self._kind = kind
        self._say = say

    def bring(self, session: Session, budget_bytes: int) -> bool:
        """Make it whole; False if it was already."""
        listing = session.list_files()
        marker = session.read_object(MARKER, MOST_MARKER_BYTES) if _has(listing, MARKER) else None
        if marker is not None and marker_agrees(marker, self._commit, listing):
            return False
        files = needed_files(self._hub.list_files(self._source, self._commit))
        self._refuse(files, budget_bytes)
        self._hub.ask_access(self._source, self._commit, max(files, key=lambda file: file.size))
        for _ in range(ROUNDS):
            plan = plan_copy(files, listing)
            if not plan.send and not plan.check:
                self._mark(session, files, listing)
                return True
            with contextlib.suppress(UploadGone):
                self._copy(session, plan)
            listing = session.list_files()
        raise FetchFailure(
            FetchReason.CHANGED,
            f"{self.store.address.source} is changed by somebody else while {self._source} is copied there",
            retryable=True,
        )

    def _refuse(self, files: tuple[HubFile, ...], budget_bytes: int) -> None:
        """Judge the names and the size before anything is moved."""
        listed = [RemoteFile(file.key, file.size, file.identity) for file in files]
        adapter = self._kind == ArtifactKind.ADAPTER
        name, total = str(self._source), sum(file.size for file in files)
        raise_refusal(refuse_listing(f"{name}/", listed, refuse_adapter if adapter else None))
        raise_refusal(refuse_size(name, total, budget_bytes, used_bytes=0, free_bytes=None))

    def _copy(self, session: Session, plan: HubPlan) -> None:
        total = sum(file.size for file in (*plan.send, *plan.check))
        progress = Progress(self._commit, total, self._tell)
        begun = {upload.key: upload for upload in find_uploads(session)}
        copying = Copying(self.store, self._hub, self._source, self._commit, plan, begun, progress)
        with tell(self._progress_port, progress.describe, self._say):
            copying.run()

    def _tell(self, document: dict[str, Any]) -> None:
        self._say({"progress": {"stage": "hub", **document["progress"]}})

    def _mark(
        self, session: Session, files: tuple[HubFile, ...], listing: list[RemoteFile]
    ) -> None:
        etags = {entry.key: entry.etag for entry in listing}
        marker = {
            "repo": self._source.repo,
            "commit": self._commit,
            "when": clock.now().isoformat(timespec="seconds"),
            "files": {
                file.key: {
                    "size": file.size,
                    "etag": etags[file.key],
                    "identity": file.identity,
                }
                for file in files
            },
        }
        put_bytes(session, MARKER, json.dumps(marker, indent=1).encode())


def _has(listing: list[RemoteFile], key: str) -> bool:
    return any(entry.key == key for entry in listing)


def _sweep(settings: PrewarmSettings, source: HubSource, commit: str, session: Session) -> None:
    """Abort what others left: uploads for this commit, which is whole, and old ones for other commits."""
    for upload in find_uploads(session):
        abort(session, upload)
    above = mirror_source(settings.hub_mirror, source.repo, commit).removesuffix(f"{commit}/")
    with open_session(Store(settings._replace(source=above))) as wider:
        for upload in find_uploads(wider):
            if _is_forgotten(upload.initiated):
                abort(wider, upload)


def _is_forgotten(initiated: str) -> bool:
    try:
        return clock.now() - datetime.fromisoformat(initiated) > FORGOTTEN
    except (ValueError, TypeError):
        return False
