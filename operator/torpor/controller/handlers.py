"""kopf's decorators and nothing else: events put objects into `Seen` and touch the endpoint they concern.

Only `on.event` handlers and indices: no kopf annotation is written to any object, and no finalizer. The indices hold
nothing; they make kopf list every kind to its end before the first handler runs: no pass decides on half a view.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import kopf

from torpor import clock
from torpor.cluster.connect import Api
from torpor.controller.seen import Key, Seen
from torpor.controller.workers import Workers
from torpor.manifests import names

Json = dict[str, Any]

LOGIN_LIFETIME = timedelta(minutes=30)
"""How long kopf uses one token: half of the hour for which a service account's token is sure to be good."""

_CHILDREN = (
    ("apps", "v1", "deployments", "Deployment"),
    ("batch", "v1", "jobs", "Job"),
    ("", "v1", "serviceaccounts", "ServiceAccount"),
)


class Ears:
    """Carries what kopf hears to `Seen` and the workers."""

    def __init__(self, seen: Seen, workers: Workers, api: Api) -> None:
        """Fill *seen*, touch *workers*, and log in with the credentials of *api*."""
        self._api = api
        self._seen = seen
        self._workers = workers

    def registry(self) -> kopf.OperatorRegistry:
        """Return the handlers for `kopf.operator`."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self.log_in)
        watched: list[tuple[str, str, str, Any]] = [
            (names.GROUP, names.VERSION, names.GPU_CLASSES, self.hear_class),
            ("", "v1", "nodes", self.hear_node),
            ("", "v1", "pods", self.hear_pod),
            *(
                (group, version, plural, self._child(kind))
                for group, version, plural, kind in _CHILDREN
            ),
            (names.GROUP, names.VERSION, names.ENDPOINTS, self.hear_endpoint),
        ]
        for group, version, plural, handler in watched:
            kopf.index(group, version, plural, id=f"listed-{plural}", registry=registry)(_listed)
            kopf.on.event(group, version, plural, id=f"hear-{plural}", registry=registry)(handler)
        return registry

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

    async def hear_endpoint(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """Take in an endpoint; one that is gone takes its worker along."""
        obj = dict(body)
        key: Key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        if type == "DELETED":
            self._seen.forget(key)
            self._workers.drop(key)
        else:
            self._seen.endpoints[key] = obj
            self._workers.touch(key)

    async def hear_class(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """Take in a GPU class; every endpoint may be placed elsewhere now."""
        _put(self._seen.classes, dict(body), type)
        self._touch_all()

    async def hear_node(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """Take in a node; its heartbeats concern nobody, what it offers concerns every endpoint."""
        obj = dict(body)
        before = self._seen.nodes.get(obj["metadata"]["name"])
        _put(self._seen.nodes, obj, type)
        if type == "DELETED" or before is None or _offer(before) != _offer(obj):
            self._touch_all()

    async def hear_pod(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """Take in a pod of torpor's: an engine, a prewarm pod, a gateway."""
        self._touch(self._seen.take_pod(dict(body), type == "DELETED", clock.now_ms()))

    def _child(self, kind: str) -> Any:
        async def hear(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
            self._touch(self._seen.take_child(kind, dict(body), type == "DELETED"))

        return hear

    def _touch(self, key: Key | None) -> None:
        if key is not None and key in self._seen.endpoints:
            self._workers.touch(key)

    def _touch_all(self) -> None:
        for key in self._seen.endpoints:
            self._workers.touch(key)


def settings(operator: kopf.OperatorSettings) -> None:
    """Narrow what kopf watches on the server's side and keep it from writing anything."""
    ours = f"{names.PART_OF}={names.PART_OF_TORPOR}"
    for plural in ("pods", "jobs", "serviceaccounts", "deployments"):
        operator.watching.label_selectors[plural] = ours
    operator.watching.server_timeout = 60
    operator.watching.client_timeout = 75
    operator.scanning.disabled = True
    operator.posting.enabled = False
    operator.peering.standalone = True


async def _listed(**_: Any) -> None:
    """Hold nothing: see the module's docstring."""


def _put(shelf: dict[str, Json], obj: Json, event: str | None) -> None:
    if event == "DELETED":
        shelf.pop(obj["metadata"]["name"], None)
    else:
        shelf[obj["metadata"]["name"]] = obj


def _offer(node: Json) -> Json:
    status = node.get("status") or {}
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    return {
        "labels": node["metadata"].get("labels"),
        "allocatable": status.get("allocatable"),
        "cordoned": (node.get("spec") or {}).get("unschedulable"),
        "ready": ready,
    }
