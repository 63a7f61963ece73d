"""Waking before the next request: the best time to start again and how long to wait for it, and what a gap then costs.

Costs are in GPU-seconds, of one gap: what is billed, plus the wait of the request at its price. Formulas: cost-policy
§4.5; here in closed form. With A(b) the mean part of the gaps up to edge b, S(b) the share that lasts longer and B what
a wake on demand costs, staying from a start at `a` until `b` costs G(b) - A(r) - a*S(r) beyond what came before, where
G(b) = A(b) + S(b)*(b + B) and r is when the replica is ready. So the best `b` does not depend on `a`, and all pairs are
compared in one walk over the edges.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from torpor.domain.gaps import BINS, EDGES, MIDS, Curve

BETTER = 0.98
"""A prewake is a candidate only if it makes a gap cost less than this much of what it costs without."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a wake costs."""

    cold_s: float
    """From the start of a replica to its first answer, in seconds; all of it is billed."""
    weight: float
    """What a second of waiting is worth, in GPU-seconds."""

    @property
    def wake(self) -> float:
        """A wake on demand, in GPU-seconds: B = C + w*C."""
        return self.cold_s + self.weight * self.cold_s


@dataclass(frozen=True, slots=True)
class Prewake:
    """One start ahead of demand; seconds since the gap began."""

    start_s: float
    until_s: float
    """When the replica is put back to sleep if nobody came."""


def gap_cost(gap_s: float, keep_s: float, prewake: Prewake | None, price: Price) -> float:
    """Return what a gap costs, in GPU-seconds, with the wait of the request that ends it.

    1 it ends while the replica is kept: the idle time
    2 before the prewake starts, or without one: the time kept and a wake on demand
    3 while the prewake starts: the time kept, the whole start, and the rest of it as a wait
    4 while the prewake is kept: the time kept, and the time since the prewake started
    5 later: the time kept, all of the prewake for nothing, and a wake on demand
    """
    if gap_s <= keep_s:
        return gap_s
    if prewake is None or gap_s <= prewake.start_s:
        return keep_s + price.wake
    since = gap_s - prewake.start_s
    if since <= price.cold_s:
        return keep_s + price.cold_s + price.weight * (price.cold_s - since)
    if gap_s <= prewake.until_s:
        return keep_s + since
    return keep_s + (prewake.until_s - prewake.start_s) + price.wake


def candidate(curve: Curve, keep_s: float, price: Price) -> Prewake | None:
    """Return the start ahead of demand that makes a gap cheapest, given that the replica sleeps after `keep_s`.

    None unless it is expected to save more than 2 %. Starts are looked for so that the replica is ready at an edge.
    """
    wake, cold, weight = price.wake, price.cold_s, price.weight
    awake = bisect_right(MIDS, keep_s)  # so many bins end while the replica is kept
    if awake == BINS or EDGES[-2] - cold <= keep_s:
        return None
    chance, left, spent, stay = curve.chance, curve.left, curve.spent, curve.costs(wake)
    asleep = left[awake - 1] if awake else 1.0
    kept = asleep * keep_s + (spent[awake - 1] if awake else 0.0)
    best, found, until = BETTER * (kept + asleep * wake), None, BINS - 1
    for ready in range(BINS - 2, -1, -1):
        if stay[ready + 1] < stay[until]:
            until = ready + 1
        edge = EDGES[ready]
        start = edge - cold
        if start <= keep_s:
            break
        cost = kept + stay[until] - spent[ready] - start * left[ready]
        k = ready
        while k >= 0 and MIDS[k] > start:
            cost += chance[k] * (cold + weight * (edge - MIDS[k]))
            k -= 1
        cost += (asleep - (left[k] if k >= 0 else 1.0)) * wake
        if cost < best:
            best, found = cost, Prewake(start, EDGES[until])
    return found
