"""The cluster as kopf's watches have shown it: objects by endpoint, and what pods can no longer say themselves.

Handlers put objects in; passes take them out. A pod's first Ready is remembered (its own field is rewritten by every
flap), and a pod that is gone is remembered for ten minutes, so that its bill can be closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

from torpor.cluster.podtimes import PodTimes, epoch_ms, read_times
from torpor.controller.pods import merged, pod_seen
from torpor.domain.observation import PodSeen
from torpor.manifests import names

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of an endpoint."""

REMEMBER_GONE_MS = 600_000
LOST_MS = 60_000


class Seen:
    """What is known of the cluster. Not thread-safe: it belongs to the event loop."""

    def __init__(self, namespace: str) -> None:
        """Start knowing nothing; gateways are only those of torpor's own *namespace*."""
        self._namespace = namespace
        self.endpoints: dict[Key, Json] = {}
        self.classes: dict[str, Json] = {}
        self.nodes: dict[str, Json] = {}
        self.deployments: dict[Key, Json] = {}
        self.accounts: dict[Key, Json] = {}
        self.services: dict[Key, Json] = {}
        """The Services of direct endpoints."""
        self.gateways: dict[str, Json] = {}
        """Gateway pods by uid."""
        self._slices: dict[tuple[Key, str], Json] = {}
        self._jobs: dict[Key, dict[str, Json]] = defaultdict(dict)
        self._pods: dict[Key, dict[str, Json]] = defaultdict(dict)
        self._times: dict[str, PodTimes] = {}
        self._gone: dict[Key, dict[str, PodSeen]] = defaultdict(dict)
        self._nodes_gone: dict[str, tuple[Json, int]] = {}
        """Nodes by uid as they were last, with the epoch ms at which they were seen to go."""
        self._quiet: dict[Key, str] = {}
        """The resourceVersion of each endpoint's last write that moved figures only."""

    def version_of(self, key: Key) -> str | None:
        """Return the resourceVersion of an endpoint as it was last heard of."""
        obj = self.endpoints.get(key)
        return None if obj is None else str(obj["metadata"]["resourceVersion"])

    def wrote(self, key: Key, before: Json, written: Json, *, quiet: bool) -> None:
        """Take in what a write of ours made of an endpoint, unless something newer was heard meanwhile.

        *quiet*: it moved figures only, so that its echo in the watch concerns nobody.
        """
        if self.version_of(key) != before["metadata"]["resourceVersion"]:
            return
        self.endpoints[key] = written
        if quiet:
            self._quiet[key] = str(written["metadata"]["resourceVersion"])

    def is_echo(self, key: Key, obj: Json) -> bool:
        """Say whether an endpoint is heard of only because we have written figures that had moved by themselves."""
        quiet = self._quiet.get(key)
        return quiet is not None and quiet == obj["metadata"]["resourceVersion"] == self.version_of(
            key
        )

    def weights_label(self, key: Key) -> str:
        """Return the node label that stands for the endpoint's weights, as its status names them."""
        weights = (self.endpoints.get(key, {}).get("status") or {}).get("weights") or {}
        return f"{names.WEIGHTS_NODE_PREFIX}{weights.get('hash')}"

    def jobs(self, key: Key) -> list[Json]:
        """Return the endpoint's prewarm Jobs."""
        return list(self._jobs.get(key, {}).values())

    def slice(self, key: Key, side: str) -> Json | None:
        """Return one side of what a direct endpoint's Service leads to: `engines` or `gateways`."""
        return self._slices.get((key, names.slice_name(key[1], side)))

    def direct(self) -> list[Key]:
        """Return the endpoints that have a Service of their own."""
        return [key for key in self.services if key in self.endpoints]

    def at_work(self) -> Iterator[Json]:
        """Return the Jobs and the engines' pods that have not ended, of endpoints that exist.

        What a deleted endpoint leaves behind for a moment needs nothing any more: it is on its way out itself.
        """
        for key in list(self.endpoints):
            yield from self.jobs(key)
            for pod in self.pods_of(key, names.COMPONENT_ENGINE):
                if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                    yield pod

    def node_left(self, node: Json, now_ms: int) -> None:
        """Remember a node that is gone, so that its bill can be closed."""
        self._nodes_gone.setdefault(node["metadata"]["uid"], (node, now_ms))

    def nodes_gone(self, now_ms: int) -> list[tuple[Json, int]]:
        """Return the nodes gone within ten minutes, each with when it was seen to go."""
        for uid in [u for u, (_, at) in self._nodes_gone.items() if now_ms - at > REMEMBER_GONE_MS]:
            del self._nodes_gone[uid]
        return list(self._nodes_gone.values())

    def awake_on(self, classes: Collection[str]) -> Iterator[Key]:
        """Return the endpoints whose engines are on a GPU of these classes."""
        for key in list(self.endpoints) if classes else ():
            pods = self.pods_of(key, names.COMPONENT_ENGINE)
            if any(pod["metadata"]["labels"].get(names.GPU_CLASS_LABEL) in classes for pod in pods):
                yield key

    def pods_of(self, key: Key, component: str) -> list[Json]:
        """Return the endpoint's living pods of one component, as objects."""
        uid = self.endpoints.get(key, {}).get("metadata", {}).get("uid")
        labelled = ((pod, pod["metadata"]["labels"]) for pod in self._pods.get(key, {}).values())
        return [
            pod
            for pod, labels in labelled
            if labels.get(names.COMPONENT_LABEL) == component
            and labels.get(names.ENDPOINT_UID_LABEL, uid) == uid
        ]

    def engine_pods(self, key: Key, now_ms: int) -> list[PodSeen]:
        """Return the endpoint's engine pods: those that live, and those gone within ten minutes."""
        gone = self._gone.get(key, {})
        for uid in [
            uid for uid, pod in gone.items() if now_ms - (pod.gone_ms or 0) > REMEMBER_GONE_MS
        ]:
            del gone[uid]
            self._times.pop(uid, None)
        living = (
            pod_seen(pod, self._times.get(pod["metadata"]["uid"]))
            for pod in self.pods_of(key, names.COMPONENT_ENGINE)
        )
        return [*living, *gone.values()]

    def take_pod(self, pod: Json, deleted: bool, now_ms: int) -> Key | None:
        """Take in a pod of ours and return the endpoint it concerns; gateways concern none."""
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        if names.ENDPOINT_LABEL not in labels:
            self._take_gateway(pod, deleted)
            return None
        key = (metadata["namespace"], labels[names.ENDPOINT_LABEL])
        self._remember(pod)
        if not deleted:
            self._pods[key][metadata["uid"]] = pod
            return key
        self._pods[key].pop(metadata["uid"], None)
        ours = labels.get(names.COMPONENT_LABEL) == names.COMPONENT_ENGINE
        if (
            not ours or key not in self.endpoints
        ):  # nobody would ever ask for it, or forget it again
            self._times.pop(metadata["uid"], None)
        else:
            before = self._times.get(metadata["uid"])
            self._gone[key][metadata["uid"]] = pod_seen(pod, before, gone_ms=now_ms)
        return key

    def take_child(self, kind: str, child: Json, deleted: bool) -> Key | None:
        """Take in a child of whatever kind and return the endpoint it concerns."""
        metadata = child["metadata"]
        name = (metadata.get("labels") or {}).get(names.ENDPOINT_LABEL)
        if not name or metadata["name"] not in _names_of(kind, name, metadata["name"]):
            return None  # none of ours, or a copy of one: labels are easily copied, names are taken once
        key = (metadata["namespace"], name)
        place: Any = (key, metadata["name"]) if kind == "EndpointSlice" else key
        place = metadata["uid"] if kind == "Job" else place
        shelves: dict[str, dict[Any, Json]] = {
            "Deployment": self.deployments,
            "ServiceAccount": self.accounts,
            "Service": self.services,
            "EndpointSlice": self._slices,
        }
        shelf = self._jobs[key] if kind == "Job" else shelves[kind]
        if deleted:
            shelf.pop(place, None)
        else:
            shelf[place] = child
        return key

    def forget(self, key: Key) -> None:
        """Drop an endpoint that is gone; its children leave by their own events."""
        self.endpoints.pop(key, None)
        self._quiet.pop(key, None)
        for uid in self._gone.pop(key, {}):
            self._times.pop(uid, None)

    def gateway_pods(self, now_ms: int) -> Iterator[Json]:
        """Return the gateway pods that may hold requests: with an address, not ended, not on a node that died.

        A pod whose node is gone stays Running until somebody deletes the node. A minute after its grace period has run
        out, on a node that is not Ready, it holds no request that anybody could still be answered.
        """
        for pod in self.gateways.values():
            status = pod.get("status") or {}
            if not status.get("podIP") or status.get("phase") != "Running":
                continue
            due = epoch_ms(pod["metadata"].get("deletionTimestamp"))
            lost = due is not None and now_ms > due + LOST_MS
            if not (lost and not self.is_ready(pod["spec"].get("nodeName"))):
                yield pod

    def known(self, plural: str) -> dict[str, Json]:
        """Return the objects of one kind that are taken for existing, by uid."""
        flat: dict[str, Iterable[Json]] = {
            names.ENDPOINTS: self.endpoints.values(),
            names.GPU_CLASSES: self.classes.values(),
            "nodes": self.nodes.values(),
            "deployments": self.deployments.values(),
            "serviceaccounts": self.accounts.values(),
            "services": self.services.values(),
            "endpointslices": self._slices.values(),
            "jobs": (job for shelf in self._jobs.values() for job in shelf.values()),
            "pods": chain(
                self.gateways.values(), *(shelf.values() for shelf in self._pods.values())
            ),
        }
        return {obj["metadata"]["uid"]: obj for obj in flat[plural]}

    def is_ready(self, name: str | None) -> bool:
        """Say whether a node is ready."""
        status = self.nodes.get(name or "", {}).get("status") or {}
        return any(
            c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
        )

    def _take_gateway(self, pod: Json, deleted: bool) -> None:
        uid = pod["metadata"]["uid"]
        if pod["metadata"]["namespace"] != self._namespace:
            return  # anybody may label a pod; one elsewhere must not keep endpoints awake by its silence
        if deleted:
            self.gateways.pop(uid, None)
        elif (pod["metadata"].get("labels") or {}).get("app.kubernetes.io/component") == "gateway":
            self.gateways[uid] = pod

    def _remember(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        self._times[uid] = merged(self._times.get(uid), read_times(pod))


def _names_of(kind: str, endpoint: str, otherwise: str) -> tuple[str, ...]:
    """Return the names that an endpoint's children of a kind may have."""
    match kind:
        case "Deployment":
            return (endpoint,)
        case "ServiceAccount":
            return (names.account_name(endpoint),)
        case "Service":
            return (names.direct_name(endpoint),)
        case "EndpointSlice":
            sides = (names.ENGINES_SIDE, names.GATEWAYS_SIDE)
            return tuple(names.slice_name(endpoint, side) for side in sides)
        case _:
            return (otherwise,)
