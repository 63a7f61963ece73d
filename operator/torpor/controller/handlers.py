"""kopf's decorators and nothing else: events put objects into `Seen` and touch the endpoint they concern.

Only `on.event` handlers and indices: no kopf annotation is written to any object, and no finalizer. kopf calls indexing
functions for every object of every kind before it calls the first handler; so they fill `Seen`, and no pass decides on
half a view. Handlers then touch, and take out what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import kopf

from torpor import clock
from torpor.cluster.connect import Api
from torpor.controller.audit import Shelf
from torpor.controller.observe import class_views
from torpor.controller.pods import is_pending
from torpor.controller.seen import Key, Seen
from torpor.controller.workers import Workers
from torpor.domain.observation import PodSeen
from torpor.manifests import names

Json = dict[str, Any]

LOGIN_LIFETIME = timedelta(minutes=30)
"""How long kopf uses one token: half of the hour for which a service account's token is sure to be good."""

Take = Callable[[Json, bool], Iterable[Key]]
"""Takes in an object (True: it is gone) and returns the endpoints it concerns."""

Departed = Callable[[Json, Sequence[PodSeen]], None]
"""Hears of an endpoint that was deleted, as it was last, with what is known of its pods."""

OURS = f"{names.PART_OF}={names.PART_OF_TORPOR}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is watched, and how its objects are taken in; *selector* narrows it on the server's side."""

    group: str
    version: str
    plural: str
    take: Take
    selector: str = ""

    @property
    def path(self) -> str:
        """Return where all objects of the kind are listed."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/{self.plural}"


class Ears:
    """Carries what kopf hears to `Seen` and the workers."""

    def __init__(
        self, seen: Seen, workers: Workers, api: Api, departed: Departed = lambda _obj, _pods: None
    ) -> None:
        """Fill *seen*, touch *workers*, tell *departed*, and log in with the credentials of *api*."""
        self._api = api
        self._departed = departed
        self._seen = seen
        self._workers = workers
        self._pending: set[Key] = set()
        self._kinds = (
            Kind(names.GROUP, names.VERSION, names.GPU_CLASSES, self._take_class),
            Kind("", "v1", "nodes", self._take_node),
            Kind("", "v1", "pods", self._take_pod, OURS),
            Kind("apps", "v1", "deployments", self._taker("Deployment"), OURS),
            Kind("batch", "v1", "jobs", self._taker("Job"), OURS),
            Kind("", "v1", "serviceaccounts", self._taker("ServiceAccount"), OURS),
            Kind("", "v1", "services", self._taker("Service"), OURS),
            Kind("discovery.k8s.io", "v1", "endpointslices", self._taker("EndpointSlice"), OURS),
            Kind(names.GROUP, names.VERSION, names.ENDPOINTS, self._take_endpoint),
        )
        self.listed = asyncio.Event()
        """Set once every kind has been listed to its end."""
        self.left = asyncio.Event()
        """An endpoint was deleted; whoever cleans up after it clears this."""

    def registry(self) -> kopf.OperatorRegistry:
        """Return the handlers for `kopf.operator`."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self.log_in)
        for kind in self._kinds:
            listed, heard = self._handlers(kind.take)
            where = (kind.group, kind.version, kind.plural)
            kopf.index(*where, id=f"listed-{kind.plural}", registry=registry)(listed)
            kopf.on.event(*where, id=f"hear-{kind.plural}", registry=registry)(heard)
        return registry

    def kinds(self) -> list[tuple[str, str, str]]:
        """Return group, version and plural of what is listened to."""
        return [(kind.group, kind.version, kind.plural) for kind in self._kinds]

    def shelves(self) -> list[Shelf]:
        """Return what the audit compares with the cluster."""
        return [
            Shelf(
                kind.path, kind.selector, partial(self._seen.known, kind.plural), self._losing(kind)
            )
            for kind in self._kinds
        ]

    def _losing(self, kind: Kind) -> Callable[[Json], None]:
        def gone(obj: Json) -> None:
            for key in set(kind.take(obj, True)) & self._seen.endpoints.keys():
                self._workers.touch(key)

        return gone

    def _handlers(self, take: Take) -> tuple[Any, Any]:
        async def listed(body: kopf.Body, **_: Any) -> None:
            self._pending.update(take(dict(body), False))

        async def heard(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
            concerned = {*take(dict(body), type == "DELETED"), *self._pending}
            self._pending.clear()
            self.listed.set()
            for key in concerned & self._seen.endpoints.keys():
                self._workers.touch(key)

        return listed, heard

    async def log_in(self, **_: Any) -> kopf.ConnectionInfo:
        """Reach the API server as the rest of the controller does: by address, without asking any DNS."""
        access = await self._api.access()
        return kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_path,
            scheme="Bearer" if access.token else None,
            token=access.token,
            certificate_path=access.certificate_path,
            private_key_path=access.private_key_path,
            expiration=clock.now() + LOGIN_LIFETIME,
        )

    def _take_endpoint(self, obj: Json, gone: bool) -> Iterable[Key]:
        key: Key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        if gone:
            known, pods = key in self._seen.endpoints, self._seen.engine_pods(key, clock.now_ms())
            self._seen.forget(key)
            self._workers.drop(key)
            self.left.set()
            if known:
                self._departed(obj, pods)
            return ()
        if self._seen.is_echo(key, obj):
            return ()
        self._seen.endpoints[key] = obj
        return (key,)

    def _take_class(self, obj: Json, gone: bool) -> Iterable[Key]:
        """Every endpoint may be placed elsewhere now."""
        _put(self._seen.classes, obj, gone)
        return self._seen.endpoints.keys()

    def _take_node(self, obj: Json, gone: bool) -> Iterable[Key]:
        """A node's heartbeats concern nobody; what it offers concerns every endpoint, its weights those they are of."""
        before = self._seen.nodes.get(obj["metadata"]["name"])
        _put(self._seen.nodes, obj, gone)
        if gone:
            self._seen.node_left(obj, clock.now_ms())
        if gone or before is None or _offer(before) != _offer(obj):
            return self._seen.endpoints.keys()
        changed = dict(_weights(before).items() ^ _weights(obj).items())
        return [key for key in self._seen.endpoints if self._seen.weights_label(key) in changed]

    def _take_pod(self, obj: Json, gone: bool) -> Iterable[Key]:
        """A pod that finds no GPU also concerns those who hold one; a gateway those whose Service may lead to it."""
        key = self._seen.take_pod(obj, gone, clock.now_ms())
        if key is None:
            return self._seen.direct()
        if gone or not is_pending(obj):
            return (key,)
        views, _ = class_views(self._seen.classes.values(), clock.now_ms())
        kept = {view.name for view in views if view.costs_nothing_more}
        return (key, *self._seen.awake_on(kept))

    def _taker(self, kind: str) -> Take:
        def take(obj: Json, gone: bool) -> Iterable[Key]:
            key = self._seen.take_child(kind, obj, gone)
            return () if key is None else (key,)

        return take


def settings(operator: kopf.OperatorSettings) -> None:
    """Narrow what kopf watches on the server's side and keep it from writing anything."""
    for plural in ("pods", "jobs", "serviceaccounts", "deployments", "services", "endpointslices"):
        operator.watching.label_selectors[plural] = OURS
    operator.watching.server_timeout = 60
    operator.watching.client_timeout = 75
    operator.scanning.disabled = True
    operator.posting.enabled = False
    operator.peering.standalone = True
    operator.persistence.diffbase_storage = _NothingToCompare()


class _NothingToCompare(kopf.DiffBaseStorage):
    """What kopf compares between two events for handlers of changes, which torpor has none of.

    It would copy each object in depth for that, which was a fifth of the controller's time when a hundred endpoints
    woke at once.
    """

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return cast(kopf.BodyEssence, {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing: no annotation is written to any object."""


def _put(shelf: dict[str, Json], obj: Json, gone: bool) -> None:
    if gone:
        shelf.pop(obj["metadata"]["name"], None)
    else:
        shelf[obj["metadata"]["name"]] = obj


def _labels(node: Json) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _is_weights(label: str) -> bool:
    return label.startswith(names.WEIGHTS_NODE_PREFIX)


def _weights(node: Json) -> dict[str, str]:
    return {k: v for k, v in _labels(node).items() if _is_weights(k)}


def _offer(node: Json) -> Json:
    status = node.get("status") or {}
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    return {
        "labels": {k: v for k, v in _labels(node).items() if not _is_weights(k)},
        "allocatable": status.get("allocatable"),
        "cordoned": (node.get("spec") or {}).get("unschedulable"),
        "ready": ready,
    }
