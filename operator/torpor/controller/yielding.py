"""Whether an endpoint's idle replicas are the ones to leave, because another endpoint waits for the GPUs they hold.

Only on GPUs that cost the same whether or not they are used. Every endpoint's pass asks this for itself, and all of
them see the same: the pods that wait, the room on the nodes, and who could leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.habits import floor_now, gpu_class_of, yields_after_ms
from torpor.controller.picture import Picture
from torpor.controller.pods import pod_seen
from torpor.controller.seen import Key, Seen
from torpor.domain.keepalive import cold_start
from torpor.domain.keeping import UNSEEN_START_S
from torpor.domain.observation import Demand, PodSeen, Workload
from torpor.domain.placement import GPUClassView, NodeView, nodes_for
from torpor.domain.remembering import epoch_ms, memory_of
from torpor.domain.scalingview import ScalingView, asked, idle_since, serving
from torpor.domain.yielding import Holder, Room, Waiting, givers, returns_per_hour
from torpor.manifests import names

Json = dict[str, Any]
_HOUR_MS = 3_600_000


def contested(
    seen: Seen,
    demand: Callable[[Key], Demand],
    key: Key,
    endpoint: InferenceEndpoint,
    picture: Picture,
) -> Picture:
    """Return the picture with whoever waits for the GPUs that the endpoint holds; as it is where idling costs money."""
    view = gpu_class_of(picture)
    if view is None or not view.costs_nothing_more or not picture.workload.replicas:
        return picture
    if yields_after_ms(endpoint) is None:
        return picture
    contest = Contest(seen, demand, picture.classes, picture.nodes, picture.now_ms)
    needed_by, waits = contest.needed_by(key, view.resource)
    return replace(picture, needed_by=needed_by, contested=waits)


class Contest:
    """The GPUs of one resource at one instant: who waits for them and who holds them."""

    def __init__(
        self,
        seen: Seen,
        demand: Callable[[Key], Demand],
        classes: Iterable[GPUClassView],
        nodes: Iterable[NodeView],
        now_ms: int,
    ) -> None:
        """Look at what is *seen*; *demand* tells what the gateways say of an endpoint."""
        self._seen = seen
        self._demand = demand
        self._classes = {view.name: view for view in classes}
        self._nodes = tuple(nodes)
        self._now_ms = now_ms

    def needed_by(self, key: Key, resource: str) -> tuple[str, bool]:
        """Return for whom the endpoint has to leave ("" for nobody), and whether anybody waits for such GPUs."""
        waiting = list(self._waiting(resource))
        if not waiting:
            return "", False
        pods = dict(self._held(resource))
        rooms = self._rooms(resource, pods)
        holders = [found for one, held in pods.items() if (found := self._holder(one, held))]
        return givers(waiting, rooms, holders, self._now_ms).get("/".join(key), ""), True

    def _waiting(self, resource: str) -> Iterator[Waiting]:
        for key in list(self._seen.endpoints):
            for obj in self._seen.pods_of(key, names.COMPONENT_ENGINE):
                pod = pod_seen(obj)
                view = self._classes.get(pod.gpu_class)
                said = f"Insufficient {resource}"
                if (
                    view is None
                    or view.resource != resource
                    or said not in (pod.unschedulable or "")
                ):
                    continue
                fitting = frozenset(nodes_for(view, pod.gpus, self._nodes))
                yield Waiting("/".join(key), pod.gpus, fitting, pod.created_ms)

    def _held(self, resource: str) -> Iterator[tuple[Key, list[PodSeen]]]:
        for key in list(self._seen.endpoints):
            pods = [
                pod
                for pod in self._seen.engine_pods(key, self._now_ms)
                if pod.node and pod.gone_ms is None and self._is_of(pod, resource)
            ]
            if pods:
                yield key, pods

    def _is_of(self, pod: PodSeen, resource: str) -> bool:
        view = self._classes.get(pod.gpu_class)
        return view is not None and view.resource == resource

    def _rooms(self, resource: str, held: Mapping[Key, list[PodSeen]]) -> dict[str, Room]:
        rooms = {node.name: Room(dict(node.allocatable).get(resource, 0)) for node in self._nodes}
        for key, pods in held.items():
            going = not self._replicas(key)
            for pod in pods:
                room = rooms.get(pod.node or "")
                if room is None:
                    continue
                if going or pod.deleted_ms is not None:
                    room.leaving = True
                else:
                    room.free -= pod.gpus
        for room in rooms.values():
            room.free = max(0, room.free)
        return rooms

    def _replicas(self, key: Key) -> int:
        deployment = self._seen.deployments.get(key) or {}
        return int((deployment.get("spec") or {}).get("replicas") or 0)

    def _holder(self, key: Key, pods: list[PodSeen]) -> Holder | None:
        """Return an endpoint as one that could leave now; None if it could not."""
        view = self._classes[pods[0].gpu_class]
        if not view.costs_nothing_more or not self._replicas(key):
            return None
        try:
            endpoint = InferenceEndpoint.model_validate(self._seen.endpoints[key])
        except ValidationError:
            return None
        least_ms, since_ms = yields_after_ms(endpoint), self._idle_since(key, endpoint, pods)
        idle_ms = 0 if since_ms is None else self._now_ms - since_ms
        if since_ms is None or least_ms is None or idle_ms < least_ms:
            return None
        spare = self._replicas(key) - floor_now(endpoint, self._now_ms).replicas
        learned = memory_of(endpoint.status.keep_alive).learned
        habits = learned.habits
        return Holder(
            "/".join(key),
            returns_per_hour(sum(habits.events), sum(habits.idle_h), idle_ms / _HOUR_MS),
            cold_start(learned, UNSEEN_START_S),
            _freed(pods, spare),
        )

    def _idle_since(
        self, key: Key, endpoint: InferenceEndpoint, pods: Iterable[PodSeen]
    ) -> int | None:
        """Return since when nobody has asked; None while somebody does, nobody knows, or a replica is not Ready."""
        activity = epoch_ms(endpoint.status.keep_alive.last_activity)
        view = ScalingView(Workload(), tuple(pods), self._demand(key), None, activity)
        if not view.demand.known or asked(view) or not all(pod.ready for pod in serving(view)):
            return None
        return idle_since(view)


def _freed(pods: Iterable[PodSeen], spare: int) -> dict[str, int]:
    """Return the GPUs by node that so many replicas free; which of them go is the replica set's choice."""
    freed: dict[str, int] = {}
    for pod in sorted(pods, key=lambda pod: pod.uid):
        if pod.deleted_ms is None and spare > 0:
            freed[pod.node or ""] = freed.get(pod.node or "", 0) + pod.gpus
            spare -= 1
    return freed
