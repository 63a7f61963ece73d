"""What engines' own counters tell of requests that no gateway sees: those of a direct endpoint.

Counters are read once a second. Between two readings an engine was busy if it runs or queues anything at either, or
has finished a request or made a token meanwhile: so a short request counts as up to two seconds of busy time, and none
is missed.

A controller that has just started knows of an engine only what the status says of its tokens: if they are the same,
nobody has asked since; if not, somebody may have asked just now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from torpor.domain.observation import Demand, EngineReport, Tokens

REMEMBERED_MS = 600_000
"""Busy intervals that ended longer ago are booked, and forgotten: as long as gateways remember theirs."""


@dataclass(frozen=True, slots=True)
class Count:
    """One reading of an engine's counters."""

    requests: int = 0
    """Requests that it runs or queues."""
    finished: int = 0
    """Requests that have ended, however."""
    tokens: Tokens = field(default_factory=Tokens)


def first_read(engine: EngineReport, count: Count, told: Tokens | None, at_ms: int) -> EngineReport:
    """Return what is known of an engine after the first reading of its counters.

    Args:
        engine: Whose counters they are, with what an earlier engine of that pod was busy.
        count: The reading.
        told: Its tokens as the status has them, None if it says nothing of this engine.
        at_ms: When it was read.
    """
    asked = count.finished > 0 or count.tokens != Tokens()
    active = count.requests > 0 or (asked if told is None else told != count.tokens)
    return replace(
        engine,
        as_of_ms=at_ms,
        requests=count.requests,
        finished=count.finished,
        tokens=count.tokens,
        last_active_ms=at_ms if active else None,
        busy=(*engine.busy, (at_ms, None)) if count.requests else engine.busy,
    )


def read_again(before: EngineReport, count: Count, at_ms: int) -> EngineReport:
    """Return what is known of an engine after one more reading."""
    moved = (
        before.requests > 0
        or count.requests > 0
        or (count.finished, count.tokens) != (before.finished, before.tokens)
    )
    busy = before.busy
    if moved:
        busy = _busy_until(busy, before.as_of_ms, None if count.requests else at_ms)
    return replace(
        before,
        as_of_ms=at_ms,
        requests=count.requests,
        finished=count.finished,
        tokens=count.tokens,
        last_active_ms=at_ms if moved else before.last_active_ms,
        busy=tuple(
            (start, end) for start, end in busy if end is None or end > at_ms - REMEMBERED_MS
        ),
    )


def ended(engine: EngineReport) -> EngineReport:
    """Return what stays known of an engine whose pod takes no requests any more: its last word."""
    busy = tuple((start, engine.as_of_ms if end is None else end) for start, end in engine.busy)
    return replace(engine, requests=0, busy=busy, over=True)


def _busy_until(
    busy: tuple[tuple[int, int | None], ...], start: int, end: int | None
) -> tuple[tuple[int, int | None], ...]:
    if busy and (busy[-1][1] is None or busy[-1][1] >= start):
        return (*busy[:-1], (busy[-1][0], end))
    return (*busy, (start, end))


def with_engines(demand: Demand, engines: Iterable[EngineReport], silent: Iterable[str]) -> Demand:
    """Return what the gateways say of a direct endpoint, completed by its engines' own word.

    Args:
        demand: What the gateways say.
        engines: What is known of its engines, those included that are gone and not booked yet.
        silent: Names of ready pods whose engine does not answer, or was not asked yet: nobody knows what they do.
    """
    return replace(demand, direct=True, engines=tuple(engines), silent=tuple(silent))
