"""What a ledger costs: quantities × prices, exactly; the figures read off it are rounded where they are shown."""

from __future__ import annotations

from collections.abc import Iterable

from torpor.domain.egress import Route
from torpor.domain.ledger import Cost, Meter, Row, Settled, cost_at
from torpor.domain.money import Exact, lowest
from torpor.domain.nodestays import share_now
from torpor.domain.phases import Phases

NOTHING = Settled()


def rate_micro_per_hour(meter: Meter) -> Exact | None:
    """Return what the pods on the meter cost per hour now, in micro-units; None if a price is unknown.

    0 at zero replicas, unless a node stands empty that is paid for as a whole.
    """
    total: Exact = 0
    for entry in meter.live:
        if entry.finished_ms is not None:
            continue
        price = entry.price.micro_per_unit
        if price is None:
            return None
        total += price * entry.gpus
    for stay in meter.nodes:
        share = share_now(stay)
        if not share:
            continue
        price = stay.price.micro_per_unit
        if price is None:
            return None
        total += price * share
    return lowest(total)


def unpriced(meter: Meter) -> tuple[str, ...]:
    """Return the ids of the prices that are not known and that a pod runs at."""
    used = (pod.price for pod in meter.live if pod.finished_ms is None)
    return tuple(sorted({price.id for price in used if price.micro_per_hour is None}))


def cost_of(
    rows: Iterable[Row], settled: Settled = NOTHING, moved: Iterable[Route] = ()
) -> Cost | None:
    """Return what was spent: Σ GPU-ms × price, and what was *moved* between regions.

    None if a price is unknown, or if there are two currencies: none is converted.
    """
    cost, currency = settled.cost, settled.currency
    for row in rows:
        if not row.phases.accrued + row.rounding + row.node:
            continue
        price = row.price.micro_per_unit
        if price is None or currency not in ("", row.price.currency):
            return None
        currency = row.price.currency
        cost += cost_at(row, price)
    for route in moved:
        if not route.bytes:
            continue
        if route.cost is None or currency not in ("", route.currency):
            return None
        currency = route.currency
        cost += Cost(egress=route.cost)
    return cost


def moved_cost(moved: Iterable[Route]) -> Exact | None:
    """Return what moving weights between regions cost; None as there."""
    cost = cost_of((), moved=moved)
    return None if cost is None else cost.egress


def always_on_micro_ms(rows: Iterable[Row], settled: Settled = NOTHING) -> Exact | None:
    """Return what an endpoint that never sleeps would have cost, in the unit of `Cost`; None as there."""
    as_if = [Row(row.price, Phases(idle=row.always_on)) for row in rows]
    cost = cost_of(
        as_if, Settled(currency=settled.currency, cost=Cost(idle=settled.always_on_cost))
    )
    return None if cost is None else cost.spent
