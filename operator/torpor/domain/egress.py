"""Egress: what moving weights from one region to another costs, counted once per download.

A region's price per GiB is what leaving it costs. Weights that arrive on a node of another region than their bucket's
cost their bytes × the price of the bucket's region. Quantities are bytes by route and price, and money is exact
(`domain.money`), so this part of the ledger is read like the rest: its own line, outside the phases of GPUs.

A download is known by its Job, which says once and for all from where to where it went, when it was complete, and how
many bytes arrived. Its uid is stored together with its bytes, in one write; it is not deleted before that write is
there (`WeightsPlan.arrived`). So a controller that dies at any moment neither loses nor doubles one. What an engine's
pod has fetched by itself is known by that pod in the same way, for as long as the pod is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from torpor.domain.money import BYTES_PER_GIB, MS_PER_HOUR, Exact, lowest

REMEMBER_MS = 1_200_000
"""How long at least a uid is remembered after it was counted (20 min): longer than two controllers disagree."""
PriceOf = Callable[[str], int | None]
"""Says what a GiB out of a region costs, in micro-units; None is unknown."""


@dataclass(frozen=True, slots=True)
class Route:
    """Bytes that went from one region to another at one price, in micro-units per GiB; None is unknown."""

    source: str
    target: str
    currency: str
    micro_per_gib: int | None
    bytes: int = 0

    @property
    def id(self) -> str:
        """Name the route and its price: another price is another row."""
        rate = "unknown" if self.micro_per_gib is None else str(self.micro_per_gib)
        return f"{self.source}>{self.target}@{rate}{self.currency}"

    @property
    def cost(self) -> Exact | None:
        """Give what they cost, in the unit of the meter (micro-units × ms per hour)."""
        if self.micro_per_gib is None:
            return None
        return lowest(Fraction(self.bytes * self.micro_per_gib * int(MS_PER_HOUR), BYTES_PER_GIB))


@dataclass(frozen=True, slots=True)
class Download:
    """Weights that have arrived, by the uid of the Job or the engine's pod that brought them."""

    uid: str
    at_ms: int
    source: str
    target: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Egress:
    """All egress of one endpoint since its creation."""

    routes: tuple[Route, ...] = ()
    counted: tuple[tuple[str, int], ...] = ()
    """(uid, counted at ms) of the Jobs and pods whose bytes are in `routes`."""
    pending: tuple[tuple[int, Route], ...] = ()
    """What is seen and not yet in `routes`: (arrived at ms, bytes). Within a pass only; never stored."""

    def until(self, at_ms: int) -> tuple[Route, ...]:
        """Return the routes as they stood at an instant of this pass."""
        routes = self.routes
        for arrived_ms, route in self.pending:
            if arrived_ms <= at_ms:
                routes = _with(routes, route)
        return routes


NO_EGRESS = Egress()


@dataclass(frozen=True, slots=True)
class Expected:
    """What is still to be moved: all bytes of all nodes that lack the weights."""

    route: Route
    nodes: int


def noted(
    egress: Egress, downloads: Iterable[Download], price_of: PriceOf, currency: str, now_ms: int
) -> Egress:
    """Return *egress* with downloads that were not counted yet, and with prices that have become known since.

    Bytes whose price nobody had said wait without a cost for the first price that is said; one that was known stays.
    """
    known = {uid for uid, _ in egress.counted}
    routes: tuple[Route, ...] = ()
    for route in egress.routes:
        if route.micro_per_gib is None:
            route = replace(route, micro_per_gib=price_of(route.source), currency=currency)
        routes = _with(routes, route)
    fresh = {one.uid: one for one in downloads if one.uid not in known}
    pending = tuple(
        (one.at_ms, Route(one.source, one.target, currency, price_of(one.source), one.bytes))
        for one in fresh.values()
    )
    counted = (*egress.counted, *((uid, now_ms) for uid in fresh))
    return Egress(routes, counted, pending)


def booked(egress: Egress, seen: Iterable[str], now_ms: int) -> Egress:
    """Return a `noted` egress with everything in its routes.

    A uid is forgotten once its Job or pod is gone: *seen* are those that are there.
    """
    there = set(seen)
    counted = tuple(
        (uid, at) for uid, at in egress.counted if uid in there or now_ms - at < REMEMBER_MS
    )
    last = max((at for at, _ in egress.pending), default=0)
    return Egress(egress.until(last), counted)


def expected(route: Route, bytes_each: int, nodes: int) -> Expected | None:
    """Return what fetching to so many nodes will move; None if that is nothing."""
    if not nodes or not bytes_each:
        return None
    return Expected(replace(route, bytes=bytes_each * nodes), nodes)


def unpriced(routes: Iterable[Route]) -> tuple[str, ...]:
    """Return the regions that bytes have left at a price that nobody has said."""
    return tuple(sorted({route.source for route in routes if route.micro_per_gib is None}))


def say(
    nodes: int, total_bytes: int, route: tuple[str, str], cost: str | None, currency: str
) -> str:
    """Return what is about to be moved and what it will cost, for a message."""
    source, target = route
    who = "1 node fetches" if nodes == 1 else f"{nodes} nodes fetch"
    moved = f"{who} {total_bytes / 1e9:.2f} GB from region {source} to {target}"
    if cost is None:
        return f"{moved}; {lacking(source, currency)}"
    return f"{moved}, {cost} {currency} of egress"


def lacking(region: str, currency: str) -> str:
    """Say which price is missing."""
    return (
        f"what that costs is unknown: no GPUClass in {region} has price.egressPerGiB in {currency}"
    )


def _with(routes: tuple[Route, ...], more: Route) -> tuple[Route, ...]:
    for index, route in enumerate(routes):
        if route.id == more.id:
            grown = replace(route, bytes=route.bytes + more.bytes)
            return (*routes[:index], grown, *routes[index + 1 :])
    return (*routes, more)
