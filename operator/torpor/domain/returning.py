"""When an endpoint's users come back: its idle gaps, read off what the gateways tell of requests.

Gateways tell the intervals in which a pod has requests in flight, and every wake: from the request that found nothing
awake to its first byte. Their union is the time in which the endpoint was asked for something; between are the gaps.
A gap is counted once, when the request that ends it has come: the cursor is the end of the last activity that is known,
so that a pass which runs twice learns nothing twice, and a controller that was away for less than the ten minutes for
which gateways remember misses nothing. Instants are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torpor.domain.observation import Demand, GatewayReport


class Gap(NamedTuple):
    """A time in which nobody asked: from the last byte of the last answer to the next request."""

    start_ms: int
    end_ms: int

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end_ms - self.start_ms) / 1000


def gaps_since(demand: Demand, idle_since_ms: int | None) -> tuple[list[Gap], int | None]:
    """Return the gaps that have ended since, oldest first, and the end of the last activity now known.

    While a gateway does not answer nothing is learned: what looks like a gap may be full of requests of its own.

    Args:
        demand: What all gateways say of the endpoint.
        idle_since_ms: The end of the last activity that was known before; None if none ever was.
    """
    known_through = demand.as_of_ms
    if not demand.known or known_through is None:
        return [], idle_since_ms
    gaps, end = list[Gap](), idle_since_ms
    for start, until in sorted(_activity(demand, known_through)):
        if start >= known_through or (end is not None and until <= end):
            continue
        if end is not None and start > end:
            gaps.append(Gap(end, start))
        end = min(until, known_through)
    return gaps, end


def _activity(demand: Demand, now_ms: int) -> Iterator[tuple[int, int]]:
    """Return when somebody waited or was answered, in no order; what goes on ends later than anything known."""
    for report in demand.reports:
        for intervals in report.busy.values():
            for start, end in intervals:
                yield start, now_ms if end is None else end
        yield from _held(report, now_ms)
    for engine in demand.engines:
        for start, end in engine.busy:
            yield start, now_ms if end is None else end


def _held(report: GatewayReport, now_ms: int) -> Iterator[tuple[int, int]]:
    """Return from when to when each request that woke the endpoint was held."""
    for wake in report.wakes:
        told = (wake.first_byte_ms, now_ms if report.waiting else None, wake.healthy_ms)
        yield wake.at_ms, next((at for at in told if at is not None), wake.at_ms)
