"""Nodes that are paid for as a whole: who pays for the GPUs of one that nobody holds (`price.scope: node`).

A cloud's node is billed from its creation to its removal, all GPUs of it, whatever pods hold. What a pod holds its
endpoint pays for by phase, as everywhere. The rest, `free = GPUs of the node - GPUs held`, goes at each instant to

    the endpoints whose pods hold GPUs of it then, in proportion to what they hold;
    if none does: to the endpoint whose pod left last, for which it still stands;
    before the first: to the endpoint whose pod came first, if that was waiting when the node was made; else to nobody.

So the shares of all endpoints and what they hold are the whole life of a node that was made for one of them, exactly
but for a millisecond of rounding for each change of a price. Of a node that was there before any of them wanted it, it
is the time since the first came. Each endpoint's ledger keeps the pods that were on the node, those of others too,
since nobody else remembers them; what is told first about a pod's start and end counts.

Integrals in closed form, as in `domain.metering`: a pass that runs twice adds nothing. Instants are epoch ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from torpor.domain.ledger import Meter, NodeStay, Price, Row, Segment, Tenant, added
from torpor.domain.observation import earliest
from torpor.domain.pricing import Tariff, cut, rounded_up

SETTLE_MS = 10_000
"""How long after a node is gone the last words about its pods are waited for."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node as a pass sees it, with every pod of any endpoint that is known to be or to have been on it."""

    uid: str
    name: str
    gpus: int
    created_ms: int
    tariff: Tariff | None
    """Its prices; None if its class is not there any more: it stays at the price it has."""
    gone_ms: int | None = None
    tenants: tuple[Tenant, ...] = ()


def nodes_noted(meter: Meter, seen: Sequence[NodeSeen], now_ms: int) -> Meter:
    """Return *meter* with what is seen of nodes, and with none booked; those without a pod of its own are left out."""
    there = {node.uid: node for node in seen}
    stays = [_brought_up(stay, there.get(stay.uid), now_ms) for stay in meter.nodes]
    known = {stay.uid for stay in stays} | {uid for uid, _ in meter.closed}
    stays += [
        _brought_up(_opened(node, node.tariff), node, now_ms)
        for node in seen
        if node.tariff is not None
        and node.uid not in known
        and any(tenant.mine for tenant in node.tenants)
    ]
    unsure = sum(
        _estimated(stay, now_ms)
        for stay in meter.nodes
        if stay.uid not in there and not stay.removed_ms
    )
    return replace(meter, nodes=tuple(stays), estimated_ms=meter.estimated_ms + unsure)


def nodes_booked(meter: Meter, now_ms: int) -> Meter:
    """Return *meter* with those nodes in its rows that are gone, and about whose pods all is told."""
    rows, still, closed = meter.rows, list[NodeStay](), list(meter.closed)
    for stay in meter.nodes:
        if stay.removed_ms is None or now_ms < stay.removed_ms + SETTLE_MS:
            still.append(stay)
            continue
        for price, free in free_ms(stay, stay.removed_ms):
            rows = added(rows, price, node=free)
        if _payer_of(stay, stay.removed_ms) == 1:
            extra = rounded_up(stay.removed_ms - stay.created_ms, stay.price) * stay.gpus
            rows = added(rows, stay.price, rounding=extra)
        closed.append((stay.uid, now_ms))
    return replace(meter, rows=rows, nodes=tuple(still), closed=tuple(closed))


def with_nodes(rows: tuple[Row, ...], stays: Iterable[NodeStay], at_ms: int) -> tuple[Row, ...]:
    """Return *rows* with what nodes that are not booked come to as of an instant."""
    for stay in stays:
        for price, free in free_ms(stay, at_ms):
            rows = added(rows, price, node=free)
    return rows


def free_ms(stay: NodeStay, at_ms: int) -> list[tuple[Price, int]]:
    """Return the GPU-ms that nobody held and the endpoint pays for, from the node's creation to *at_ms*, by price."""
    end = max(stay.created_ms, at_ms if stay.removed_ms is None else min(at_ms, stay.removed_ms))
    edges = [min(segment.from_ms, end) for segment in stay.segments]
    bounds = [stay.created_ms, *edges[1:], end]
    totals = [int(_integral(stay, stay.created_ms, edge)) for edge in bounds]
    parts = (until - since for since, until in pairwise(totals))
    return [
        (segment.price, part) for segment, part in zip(stay.segments, parts, strict=True) if part
    ]


def share_now(stay: NodeStay) -> Fraction:
    """Return how many GPUs that nobody holds the endpoint pays for now; those that have not ended hold on."""
    if stay.removed_ms is not None:
        return Fraction(0)
    latest = max((edge for edge in _edges(stay)), default=stay.created_ms)
    return _share(stay, latest)


def _integral(stay: NodeStay, low: int, high: int) -> Fraction:
    """GPU-ms of the share between two instants: constant between the edges at which a pod comes or goes."""
    inside = sorted({edge for edge in _edges(stay) if low < edge < high})
    return sum(
        (_share(stay, since) * (until - since) for since, until in pairwise((low, *inside, high))),
        start=Fraction(0),
    )


def _edges(stay: NodeStay) -> Iterator[int]:
    for tenant in stay.tenants:
        yield tenant.start_ms
        if tenant.end_ms is not None:
            yield tenant.end_ms


def _share(stay: NodeStay, at_ms: int) -> Fraction:
    there = [tenant for tenant in stay.tenants if _holds(tenant, at_ms)]
    free = max(0, stay.gpus - sum(tenant.gpus for tenant in there))
    return free * _payer_of(stay, at_ms)


def _payer_of(stay: NodeStay, at_ms: int) -> Fraction:
    """Which part of what nobody holds the endpoint pays for at an instant."""
    there = [tenant for tenant in stay.tenants if _holds(tenant, at_ms)]
    if held := sum(tenant.gpus for tenant in there):
        return Fraction(sum(tenant.gpus for tenant in there if tenant.mine), held)
    left = [
        tenant for tenant in stay.tenants if tenant.end_ms is not None and tenant.end_ms <= at_ms
    ]
    if left:
        return Fraction(max(left, key=lambda one: (one.end_ms or 0, one.uid)).mine)
    if not stay.tenants:
        return Fraction(0)
    first = min(stay.tenants, key=lambda one: (one.start_ms, one.uid))
    return Fraction(first.mine and first.awaited)


def _holds(tenant: Tenant, at_ms: int) -> bool:
    return tenant.start_ms <= at_ms and (tenant.end_ms is None or at_ms < tenant.end_ms)


def _opened(node: NodeSeen, tariff: Tariff) -> NodeStay:
    segments = (Segment(tariff.at(node.created_ms), node.created_ms),)
    return NodeStay(node.uid, node.name, node.gpus, node.created_ms, segments)


def _brought_up(stay: NodeStay, node: NodeSeen | None, now_ms: int) -> NodeStay:
    """Add what is newly told. A node that is not there any more, and nobody saw go, went just now at the latest."""
    removed = stay.removed_ms
    if removed is None:
        removed = now_ms if node is None else node.gone_ms
    told = {tenant.uid: tenant for tenant in node.tenants} if node is not None else {}
    tenants = [_merged(tenant, told.pop(tenant.uid, None), now_ms, node) for tenant in stay.tenants]
    tenants += told.values()
    if removed is not None:
        tenants = [_ended(tenant, removed) for tenant in tenants]
    segments = stay.segments
    if node is not None and node.tariff is not None:
        segments = cut(segments, node.tariff, now_ms, removed, not_before=stay.created_ms)
    ordered = sorted(tenants, key=lambda one: (one.start_ms, one.uid))
    return replace(stay, removed_ms=removed, tenants=tuple(ordered), segments=segments)


def _merged(tenant: Tenant, told: Tenant | None, now_ms: int, node: NodeSeen | None) -> Tenant:
    if told is not None:
        end = tenant.end_ms if tenant.end_ms is not None else told.end_ms
        return replace(tenant, start_ms=min(tenant.start_ms, told.start_ms), end_ms=end)
    vanished = node is not None and tenant.end_ms is None
    return replace(tenant, end_ms=max(now_ms, tenant.start_ms)) if vanished else tenant


def _ended(tenant: Tenant, at_ms: int) -> Tenant:
    end = earliest(tenant.end_ms, at_ms)
    return replace(tenant, end_ms=max(tenant.start_ms, end if end is not None else at_ms))


def _estimated(stay: NodeStay, now_ms: int) -> int:
    """GPU-ms for which nobody knows whether the node was still there."""
    known = max(_edges(stay), default=stay.created_ms)
    return int(_integral(stay, min(known, now_ms), now_ms))
