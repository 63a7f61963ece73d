"""Egress out of the status and back into it, and as figures for people."""

from __future__ import annotations

from decimal import Decimal

from torpor.api.status import CostStatus, CountedDownload, EgressExpected, EgressRow, EgressStatus
from torpor.domain import money
from torpor.domain.costing import moved_cost
from torpor.domain.egress import NO_EGRESS, Egress, Expected, Route, say


def egress_of(words: EgressStatus | None) -> Egress:
    """Return the egress that a status holds."""
    if words is None:
        return NO_EGRESS
    return Egress(
        tuple(_route(row) for row in words.routes),
        tuple((job.uid, job.at_ms) for job in words.counted),
    )


def egress_words(egress: Egress, ahead: Expected | None = None) -> EgressStatus | None:
    """Return it as the status says it, with what lies *ahead*; None where nothing ever crosses regions."""
    if egress == NO_EGRESS and ahead is None:
        return None
    return EgressStatus(
        cost=money.amount(moved_cost(egress.routes)),
        bytes=sum(route.bytes for route in egress.routes),
        predicted=None if ahead is None else _ahead(ahead),
        routes=tuple(_row(route) for route in egress.routes),
        counted=tuple(CountedDownload(uid=uid, at_ms=at) for uid, at in egress.counted),
    )


def said_ahead(cost: CostStatus) -> str:
    """Return what all downloads together are about to move, and what that will cost, in words; empty if nothing."""
    ahead = cost.egress.predicted if cost.egress else None
    if ahead is None:
        return ""
    route = (ahead.from_region, ahead.to_region)
    return say(ahead.nodes, ahead.bytes, route, ahead.cost, cost.currency or "USD")


def _ahead(ahead: Expected) -> EgressExpected:
    route = ahead.route
    return EgressExpected(
        from_region=route.source,
        to_region=route.target,
        nodes=ahead.nodes,
        bytes=route.bytes,
        cost=money.amount(route.cost),
    )


def _route(row: EgressRow) -> Route:
    price = money.micro(row.per_gi_b)
    return Route(row.from_region, row.to_region, row.currency, price, row.bytes)


def _row(route: Route) -> EgressRow:
    price = route.micro_per_gib
    return EgressRow(
        id=route.id,
        from_region=route.source,
        to_region=route.target,
        currency=route.currency,
        per_gi_b=None if price is None else Decimal(price) / money.MICRO,
        bytes=route.bytes,
    )
