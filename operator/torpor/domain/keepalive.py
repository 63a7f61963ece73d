"""How long to keep an idle replica: as long as that is expected to cost less than waking it again.

What is learned of an endpoint is its `Habits` (gaps.py), how long its cold start takes, and whether starting ahead of
demand would have paid (prewake.py). `keep` weighs every time-out at an edge of the bins: with B = C + w*C what a wake
costs when a second of waiting is worth w GPU-seconds,

    K* = argmin over {0, edges} of  mean length of the gaps that end before K  +  share that lasts longer * (K + B)

and never less than `bounds.least_s` nor more than `bounds.most_s`. A start ahead of demand is only proposed; it is
acted on while the same proposals, evaluated on the gaps that really came, have saved something lately (the shadow
gate) and the last three were not all for nothing. Formulas and constants: cost-policy §4.5.

Nothing here reads a clock. Times are seconds, hours are hours of the day in UTC with their fraction.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from torpor.domain.gaps import EDGES, MIDS, Curve, Habits, curve, is_gap, observe
from torpor.domain.prewake import Prewake, Price, candidate, gap_cost

WEIGHTS = MappingProxyType(
    {"economy": 1.0, "balanced": 5.0, "responsive": 20.0, "interactive": 50.0}
)
"""By profile: what a second of waiting is worth, in GPU-seconds."""
MISSES = 3
"""Starts ahead of demand in a row that nobody used, after which the next are only tried on paper."""
_MEMORY = 0.97
"""What each gap leaves of the savings of the proposals before."""
_NEWEST = 0.3
"""Weight of the newest cold start in the mean of them all."""
_REMEMBERED = 4096
"""Answers that are kept, so that an endpoint about which nothing new is known costs next to nothing to ask about."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The shortest and the longest time that may be chosen, in seconds."""

    least_s: float = 15.0
    most_s: float = 3600.0

    def clamp(self, seconds: float) -> float:
        """Return the nearest time that is allowed."""
        return max(self.least_s, min(self.most_s, seconds))


@dataclass(frozen=True, slots=True)
class Learned:
    """All that is remembered of one endpoint; the empty one knows nothing."""

    habits: Habits = field(default_factory=Habits)
    cold_s: float | None = None
    """Mean of the cold starts, the newest weighing most; None before the first."""
    worth: float = 0.0
    """GPU-seconds that the prewakes proposed lately would have saved: the shadow gate, V in cost-policy §4.5."""
    misses: int = 0
    """Prewakes in a row that nobody used, carried out or not."""

    @property
    def prewakes(self) -> bool:
        """Whether a proposed prewake is carried out."""
        return self.worth > 0 and self.misses < MISSES


@dataclass(frozen=True, slots=True)
class Keep:
    """What to do with a replica that has just become idle."""

    seconds: float
    """How long to keep it."""
    why: str
    prewake: Prewake | None = None
    """The start ahead of demand to carry out, at most one per gap."""
    proposed: Prewake | None = None
    """The same, whether it is carried out or not: what `learn` judges. Only `choose` looks for one that is not."""


def cold_start(learned: Learned, fallback_s: float) -> float:
    """Return how long a cold start is expected to take: what was seen, or what is assumed before the first."""
    return fallback_s if learned.cold_s is None else learned.cold_s


def learn_cold_start(learned: Learned, seconds: float) -> Learned:
    """Return what is known after one more cold start; unchanged by what cannot be one."""
    if not (seconds > 0 and math.isfinite(seconds)):
        return learned
    before = seconds if learned.cold_s is None else learned.cold_s
    return replace(learned, cold_s=before + _NEWEST * (seconds - before))


def learn(
    learned: Learned, gap_s: float, hour: float, price: Price, kept: Keep | None = None
) -> Learned:
    """Return what is known after one more gap; unchanged by what cannot be one.

    Args:
        learned: What was known while the gap lasted.
        gap_s: How long nobody asked, in seconds.
        hour: When it began, as hour of the day (UTC).
        price: What a wake cost at its beginning.
        kept: What was decided at its beginning; None if the adaptive policy had no say, as under a schedule.
    """
    if not is_gap(gap_s):
        return learned
    worth, misses = _MEMORY * learned.worth, learned.misses
    if kept is not None and kept.proposed is not None:
        without = gap_cost(gap_s, kept.seconds, None, price)
        worth += without - gap_cost(gap_s, kept.seconds, kept.proposed, price)
        if gap_s > kept.proposed.until_s:
            misses = min(misses + 1, MISSES)
        elif gap_s > kept.proposed.start_s:
            misses = 0
    return Learned(observe(learned.habits, gap_s, hour), learned.cold_s, worth, misses)


@lru_cache(_REMEMBERED)
def keep(
    learned: Learned,
    price: Price,
    hour: float | None,
    bounds: Bounds = Bounds(),
    *,
    thrifty: bool = False,
) -> Keep:
    """Return how long to keep a replica that became idle at this hour, and why.

    Args:
        learned: What is known of the endpoint.
        price: What a wake costs.
        hour: Hour of the day (UTC) at which it became idle; None leaves the habits of the day out.
        bounds: What the endpoint's spec allows.
        thrifty: The budget is spent: the shortest time allowed, and nothing ahead of demand.
    """
    if thrifty:
        return Keep(bounds.least_s, f"keeps {told(bounds.least_s)}: the month's budget is spent")
    seen = curve(learned.habits, hour)
    seconds = bounds.clamp(cheapest(seen, price.wake))
    prewake = candidate(seen, seconds, price) if learned.prewakes else None
    return Keep(seconds, _why(seen, seconds, prewake, bounds, price), prewake, prewake)


def choose(learned: Learned, price: Price, hour: float | None, bounds: Bounds) -> Keep:
    """Return what `keep` decides, without words and not remembered, with what is only proposed: for `learn`."""
    seen = curve(learned.habits, hour)
    seconds = bounds.clamp(cheapest(seen, price.wake))
    proposed = candidate(seen, seconds, price)
    return Keep(seconds, "", proposed if learned.prewakes else None, proposed)


def cheapest(seen: Curve, wake: float) -> float:
    """Return the time-out with the lowest expected cost, in seconds: 0 or an edge, the shortest of equals."""
    costs = seen.costs(wake)
    best = min(costs)
    return EDGES[costs.index(best)] if best < wake else 0.0


def told(seconds: float) -> str:
    """Return a duration as people say it: 49 s, 13 min, 2.7 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"


def share_before(seen: Curve, seconds: float) -> float:
    """Return the share of gaps expected to end within a time."""
    bins = bisect_right(MIDS, seconds)
    return 1.0 - seen.left[bins - 1] if bins else 0.0


def _why(seen: Curve, seconds: float, prewake: Prewake | None, bounds: Bounds, price: Price) -> str:
    limit = ""
    if seconds == bounds.least_s:
        limit = " (the least allowed)"
    elif seconds == bounds.most_s:
        limit = " (the most allowed)"
    ended = share_before(seen, seconds)
    said = (
        f"keeps {told(seconds)}{limit}: {_percent(ended)} of gaps end before; "
        f"a wake costs {told(price.cold_s)}"
    )
    if prewake is None:
        return said
    more = share_before(seen, prewake.until_s) - share_before(seen, prewake.start_s)
    return (
        f"{said}; wakes again after {told(prewake.start_s)} until {told(prewake.until_s)}, "
        f"when {_percent(more)} more end"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
