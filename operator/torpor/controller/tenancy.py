"""Nodes that are paid for as a whole, each with every pod that is known to be or to have been on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    on_ledger = {node.uid: node.prices[-1].price_id for node in endpoint.status.cost.nodes}
    whole = {view.name: view for view in classes if view.whole_node}
    if not on_ledger and not whole:
        return ()
    own = [pod for pod in seen.engine_pods(key, now_ms) if pod.node and pod.gpu_class in whole]
    names = {pod.node: whole[pod.gpu_class] for pod in own}
    prices = {row.price_id: row.gpu_class for row in endpoint.status.cost.rows}
    by_name = {view.name: view for view in classes}
    catalogue, found = Catalogue(classes, nodes), list[NodeSeen]()
    for obj, gone_ms in _nodes(seen, now_ms):
        uid = obj["metadata"]["uid"]
        view = names.get(obj["metadata"]["name"])
        if uid in on_ledger:
            view = by_name.get(prices.get(on_ledger[uid], ""), view)
        if view is not None:
            found.append(_seen(seen, key, obj, gone_ms, view, catalogue, now_ms))
    return tuple(found)


def _nodes(seen: Seen, now_ms: int) -> Iterator[tuple[Json, int | None]]:
    for obj in seen.nodes.values():
        yield obj, None
    yield from seen.nodes_gone(now_ms)


def _seen(
    seen: Seen,
    key: Key,
    obj: Json,
    gone_ms: int | None,
    view: GPUClassView,
    catalogue: Catalogue,
    now_ms: int,
) -> NodeSeen:
    metadata = obj["metadata"]
    uid, name = metadata["uid"], metadata["name"]
    created = epoch_ms(metadata["creationTimestamp"]) or 0
    gpus = dict(node_view(obj).allocatable).get(view.resource, view.gpus_per_node)
    stands_for = PodSeen(uid, name, gpus, view.name, node=name)
    tariff = catalogue.tariff(stands_for, None) or tariff_of(view)
    tenants = {tenant.uid: tenant for tenant in _remembered(seen, key, uid)} | {
        tenant.uid: tenant for tenant in _held(seen, key, name, created, gone_ms, now_ms)
    }
    return NodeSeen(uid, name, gpus, created, tariff, gone_ms, tuple(tenants.values()))


def _held(
    seen: Seen, key: Key, node: str, created_ms: int, gone_ms: int | None, now_ms: int
) -> Iterator[Tenant]:
    """Every pod that the watches show on a node; those from before it was made were on an earlier one of its name."""
    for other in list(seen.endpoints):
        for pod in seen.engine_pods(other, now_ms):
            start = pod.scheduled_ms
            if pod.node != node or start is None or start < created_ms:
                continue
            if gone_ms is not None and start > gone_ms:
                continue
            end = pod.finished_ms if pod.finished_ms is not None else pod.gone_ms
            yield Tenant(pod.uid, pod.gpus, start, end, mine=other == key)


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
                    )
