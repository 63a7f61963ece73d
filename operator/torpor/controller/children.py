"""Bring an endpoint's children to what they should be: create once, apply on drift, delete what is not wanted.

Nothing is written when nothing differs: an object is compared with what is wanted before it is applied, and an apply
that the server normalises (a user's `cpu: 0.5` becomes `500m`) is not repeated until the object or the wish changes.
Replicas are nobody's business here: a wake brings no apply with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torpor.api.conditions import Reason
from torpor.cluster.objects import Objects
from torpor.controller.seen import Key, Seen
from torpor.errors import Stalled, Waiting
from torpor.manifests import names

Json = dict[str, Any]

_ENDS = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})
_FALSE_IS_ABSENT = frozenset({"paused"})
"""Fields of which the API server stores no `false`; of others absence may mean something else than it."""
_COLLECTED = timedelta(seconds=1)
"""How soon to look again for what Kubernetes' garbage collector is about to remove."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The children of one endpoint. `template` None = no Deployment yet (weights or placement unknown)."""

    account: Json
    jobs: tuple[Json, ...] = ()
    first_deployment: Json | None = None
    deployment: Json | None = None
    kept_jobs: tuple[str, ...] = ()
    """Names of Jobs that are over, and that a status has to count before they may go."""

    @property
    def job_names(self) -> frozenset[str]:
        """The Jobs that stay."""
        return frozenset({job["metadata"]["name"] for job in self.jobs} | {*self.kept_jobs})


class Children:
    """Writes children; remembers what it applied so that it need not do so again."""

    def __init__(self, seen: Seen, objects: Objects) -> None:
        """Compare with *seen*, write with *objects*."""
        self._seen = seen
        self._objects = objects
        self._applied: dict[tuple[str, Key], tuple[str, str]] = {}

    async def settle(self, key: Key, wanted: Wanted, hold_deployment: bool) -> None:
        """Write what differs.

        Args:
            key: The endpoint.
            wanted: Its children as they should be.
            hold_deployment: Leave a running Deployment's spec alone (scaling.rollout: whenIdle).
        """
        account = self._ours(wanted.account, self._seen.accounts.get(key))
        account = account or await self._owned(wanted.account)
        await self._apply(key, wanted.account, account)
        await self._make_jobs(key, wanted)
        if wanted.deployment is None or wanted.first_deployment is None:
            return
        before = self._seen.deployments.get(key)
        current = self._ours(wanted.first_deployment, before)
        if current is None:
            current = await self._owned(wanted.first_deployment)
            self._take_in(key, before, current)
        if not hold_deployment:
            before = self._seen.deployments.get(key)
            applied = await self._apply(key, wanted.deployment, current)
            if applied is not None:
                self._take_in(key, before, applied)

    async def keep(self, key: Key, wanted: Json, seen: Callable[[], Json | None]) -> Json:
        """Make or correct one object, and return it as it is now; *seen* gives it as it was last heard of."""
        before = seen()
        there = self._ours(wanted, before) or await self._owned(wanted)
        applied = await self._apply(key, wanted, there) or there
        if applied is not before and seen() is before:
            self._seen.take_child(wanted["kind"], applied, deleted=False)
        return applied

    async def remove(self, version: str, kind: str, obj: Json) -> None:
        """Delete one object that is not wanted any more."""
        await self._objects.delete(obj | {"apiVersion": version, "kind": kind})
        self._seen.take_child(kind, obj, deleted=True)

    async def read_deployment(self, key: Key) -> None:
        """Ask the API server for the Deployment as it is now: a write was refused because it is not what was heard."""
        before = self._seen.deployments.get(key)
        if before is not None:
            named = before | {"apiVersion": "apps/v1", "kind": "Deployment"}  # lists leave both out
            self._take_in(key, before, await self._objects.read(named))

    def _take_in(self, key: Key, before: Json | None, answered: Json) -> None:
        """Take in what the API server answered, unless a watch has told of the Deployment meanwhile.

        What it told may be newer than the answer, and nobody would tell it again.
        """
        if self._seen.deployments.get(key) is before:
            self._seen.deployments[key] = answered

    def _ours(self, wanted: Json, current: Json | None) -> Json | None:
        """Return *current* if it belongs to the same endpoint; what a namesake left behind is not there for us.

        An orphan with torpor's labels is ours too: somebody took its owner away, and applying puts it back.
        """
        uid = wanted["metadata"]["ownerReferences"][0]["uid"]
        owners = (current or {}).get("metadata", {}).get("ownerReferences") or ()
        return current if not owners or any(ref.get("uid") == uid for ref in owners) else None

    async def _owned(self, first: Json) -> Json:
        """Create the object, or return the one that is there if it is the same endpoint's.

        Raises:
            Stalled: An object of that name belongs to somebody else; it is never touched.
            Waiting: It belonged to a deleted endpoint of the same name and is about to be collected.
        """
        created = await self._objects.create(first)
        if created is not None:
            return created
        found = await self._objects.read(first)
        metadata, kind, there = first["metadata"], first["kind"], found["metadata"]
        owner, owners = metadata["ownerReferences"][0], there.get("ownerReferences") or ()
        if any(ref.get("uid") == owner["uid"] for ref in owners):
            return found
        said = f"a {kind} {metadata['name']} exists in {metadata['namespace']} and is not this endpoint's"
        namesake = any(
            (r.get("kind"), r.get("name")) == (owner["kind"], owner["name"]) for r in owners
        )
        if there.get("deletionTimestamp") or namesake:
            raise Waiting(Reason.NAME_CONFLICT, f"{said}; it is on its way out", after=_COLLECTED)
        raise Stalled(Reason.NAME_CONFLICT, f"{said}; rename one of them")

    async def _apply(self, key: Key, wanted: Json, current: Json | None) -> Json | None:
        """Apply *wanted* if *current* differs from it; return the object as written, None if nothing was.

        Only to that very object: applied to a name that is free by now it would be made anew, and a Deployment without
        `replicas` at 1, a GPU started by nobody.

        Raises:
            Conflict: It was deleted meanwhile; the pass that hears of that makes a new one.
        """
        if current is not None and covers(wanted, current):
            return None
        mark, place = _mark(wanted), (f"{wanted['kind']}/{wanted['metadata']['name']}", key)
        known = self._applied.get(place)
        if known is not None and current is not None and known == (mark, _state(current)):
            return None
        applied = await self._objects.apply(_exactly(wanted, current))
        if "spec" in applied:
            self._applied[place] = (mark, _state(applied))
        return applied

    async def clear_jobs(self, key: Key, kept: frozenset[str]) -> None:
        """Delete the Jobs that are over and not *kept*, by name.

        Only once the status that is stored says what they have found out: it may be said nowhere else.
        """
        await self._delete_jobs(key, kept, over=True)

    async def _delete_jobs(self, key: Key, kept: frozenset[str], *, over: bool) -> None:
        for job in self._seen.jobs(key):
            metadata = job["metadata"]
            unwanted = metadata["name"] not in kept and not metadata.get("deletionTimestamp")
            if unwanted and is_over(job) == over:
                await self._objects.delete(job)

    async def _make_jobs(self, key: Key, wanted: Wanted) -> None:
        """Create the Jobs that are missing, delete those not wanted that have nothing to tell yet; change none."""
        await self._delete_jobs(key, wanted.job_names, over=False)
        there = {job["metadata"]["name"] for job in self._seen.jobs(key)}
        for job in wanted.jobs:
            if job["metadata"]["name"] not in there:
                created = await self._objects.create(job, names.FIELD_MANAGER)
                if created is not None and not self._knows(key, created):
                    self._seen.take_child("Job", created, deleted=False)

    def _knows(self, key: Key, created: Json) -> bool:
        """Whether a watch has told of a Job before the answer to its creation was here."""
        uid = created["metadata"]["uid"]
        return any(job["metadata"]["uid"] == uid for job in self._seen.jobs(key))


def _exactly(wanted: Json, current: Json | None) -> Json:
    """Return *wanted* with the uid of the object that it is meant for, which the API server then insists on."""
    if current is None:
        return wanted
    return wanted | {"metadata": wanted["metadata"] | {"uid": current["metadata"]["uid"]}}


def _mark(of: Any) -> str:
    return names.digest(json.dumps(of, sort_keys=True), length=16)


def _state(obj: Json) -> str:
    """Tell what somebody has changed, but for the replicas; what only controllers of Kubernetes change is not in it."""
    spec = {field: value for field, value in obj["spec"].items() if field != "replicas"}
    metadata = obj["metadata"]
    return _mark([spec, metadata.get("labels"), metadata.get("ownerReferences")])


def is_over(job: Json) -> bool:
    """Say whether a Job has ended, or is about to by what its pods have done."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in _ENDS and c["status"] == "True" for c in conditions)


def _may_lack(field: str, value: Any) -> bool:
    return value in ({}, [], None) or (value is False and field in _FALSE_IS_ABSENT)


def covers(wanted: Any, current: Any) -> bool:
    """Whether everything in *wanted* stands in *current*; what the server or others added does not matter."""
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(
            covers(value, current.get(key)) or (_may_lack(key, value) and not current.get(key))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(current, list)
            and len(wanted) == len(current)
            and all(covers(w, c) for w, c in zip(wanted, current, strict=True))
        )
    return bool(wanted == current)
