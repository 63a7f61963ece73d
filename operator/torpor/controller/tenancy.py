"""Nodes that are paid for as a whole, each with every pod that is known to be or to have been on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.cluster.podtimes import epoch_ms
from torpor.controller.observe import node_view
from torpor.controller.seen import Key, Seen
from torpor.domain.catalogue import Catalogue, tariff_of
from torpor.domain.ledger import Tenant
from torpor.domain.nodestays import NodeSeen
from torpor.domain.observation import PodSeen
from torpor.domain.placement import GPUClassView, NodeView

Json = dict[str, Any]


def tenancies(
    seen: Seen,
    key: Key,
    endpoint: InferenceEndpoint,
    classes: Sequence[GPUClassView],
    nodes: Sequence[NodeView],
    now_ms: int,
) -> tuple[NodeSeen, ...]:
    """Return the nodes that the endpoint pays for as a whole, or does not yet have in its ledger although it should."""
    stays = {node.uid: node for node in endpoint.status.cost.nodes}
    by_name = {view.name: view for view in classes}
    whole = {name: view for name, view in by_name.items() if view.whole_node}
    if not stays and not whole:
        return ()
    own = [pod for pod in seen.engine_pods(key, now_ms) if pod.node and pod.gpu_class in whole]
    used = {pod.node: whole[pod.gpu_class] for pod in own}
    prices = {row.price_id: row.gpu_class for row in endpoint.status.cost.rows}
    look = _Look(seen, key, by_name, Catalogue(classes, nodes), now_ms)
    found = list[NodeSeen]()
    for obj, gone_ms in _nodes(seen, now_ms):
        stay, view = stays.get(obj["metadata"]["uid"]), used.get(obj["metadata"]["name"])
        if stay is not None:
            view = by_name.get(prices.get(stay.prices[-1].price_id, ""))
        if stay is not None or view is not None:
            found.append(look.at(obj, gone_ms, view, stay.gpus if stay else 0))
    return tuple(found)


def _nodes(seen: Seen, now_ms: int) -> Iterator[tuple[Json, int | None]]:
    for obj in seen.nodes.values():
        yield obj, None
    yield from seen.nodes_gone(now_ms)


@dataclass(frozen=True, slots=True)
class _Look:
    """One pass's look at nodes, for one endpoint."""

    seen: Seen
    key: Key
    classes: Mapping[str, GPUClassView]
    catalogue: Catalogue
    now_ms: int

    def at(self, obj: Json, gone_ms: int | None, view: GPUClassView | None, gpus: int) -> NodeSeen:
        """Return a node as its ledger needs it; of a class that was deleted (None) it had so many *gpus*."""
        metadata = obj["metadata"]
        uid, name = metadata["uid"], metadata["name"]
        created, tariff = epoch_ms(metadata["creationTimestamp"]) or 0, None
        if view is not None:
            gpus = dict(node_view(obj, 0).allocatable).get(view.resource, view.gpus_per_node)
            if view.whole_node:
                stands_for = PodSeen(uid, name, gpus, view.name, node=name)
                tariff = self.catalogue.tariff(stands_for, None) or tariff_of(view)
            elif gone_ms is None:
                gone_ms = self.now_ms  # since an edit, only what pods hold is paid for
        tenants = {one.uid: one for one in _remembered(self.seen, self.key, uid)}
        tenants |= {one.uid: one for one in self._held(name, created, gone_ms, view)}
        return NodeSeen(uid, name, gpus, created, tariff, gone_ms, tuple(tenants.values()))

    def _held(
        self, node: str, created_ms: int, gone_ms: int | None, view: GPUClassView | None
    ) -> Iterator[Tenant]:
        """Every pod that the watches show on a node; from before it was made they were on another of its name."""
        for other in list(self.seen.endpoints):
            for pod in self.seen.engine_pods(other, self.now_ms):
                start = pod.scheduled_ms
                if pod.node != node or start is None or start < created_ms:
                    continue
                if (gone_ms is not None and start > gone_ms) or not self._is_of(pod, view):
                    continue
                end = pod.finished_ms if pod.finished_ms is not None else pod.gone_ms
                mine, awaited = other == self.key, pod.created_ms <= created_ms
                yield Tenant(pod.uid, pod.gpus, start, end, mine, awaited)

    def _is_of(self, pod: PodSeen, view: GPUClassView | None) -> bool:
        """Whether a pod holds what is counted: a node may offer whole GPUs and parts of others."""
        own = self.classes.get(pod.gpu_class)
        return view is None or own is None or own.resource == view.resource


def _remembered(seen: Seen, key: Key, node_uid: str) -> Iterable[Tenant]:
    """What other endpoints' ledgers have of a node: pods that left it before anybody of this endpoint came."""
    for other, obj in list(seen.endpoints.items()):
        cost = (obj.get("status") or {}).get("cost") or {}
        for node in cost.get("nodes") or () if other != key else ():
            if node.get("uid") == node_uid:
                for one in node.get("tenants") or ():
                    yield Tenant(
                        str(one["uid"]),
                        int(one.get("gpus", 1)),
                        int(one["startMs"]),
                        one.get("endMs"),
                        awaited=bool(one.get("awaited")),
                    )
