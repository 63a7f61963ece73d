"""How an endpoint's users come back: its idle gaps in logarithmic bins, and how busy each hour of the day is.

A gap is the time from the last byte of the last answer to the next request, in seconds. Everything that the keep-alive
policy knows about an endpoint's users is in `Habits`, about 80 numbers whatever the traffic. Formulas and constants:
cost-policy §4.5.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul, sub, truediv

BINS = 32
LONGEST_S = 172_800.0
"""48 h: the upper edge of the last bin. A longer gap, or one that a clock that jumped made up, counts as this long."""
EDGES: tuple[float, ...] = tuple(LONGEST_S ** (k / (BINS - 1)) for k in range(BINS))
"""Upper edges of the bins in seconds, 1 s to 48 h, each 1.475 times the one before; bin 0 is 0 s to 1 s."""
MIDS: tuple[float, ...] = (
    math.sqrt(0.5),
    *(math.sqrt(low * high) for low, high in pairwise(EDGES)),
)
"""What a gap in each bin is taken to last, in seconds: the geometric middle (of 0.5 s to 1 s for the first)."""
_MIDS_H = tuple(mid / 3600 for mid in MIDS)
DECAY = 0.995
"""What each gap leaves of the weight of those before: about the last 200 gaps speak."""
PRIOR = 2.0
"""Made-up gaps, spread evenly over the bins: what is believed of an endpoint of which nothing is known."""
HOURS = 24
HOUR_S = 3600.0
_TRUST = 4.0
"""Made-up gaps' ends that pull the factor of an hour towards 1."""
_NO_BINS = (0.0,) * BINS
_NO_HOURS = (0.0,) * HOURS


@dataclass(frozen=True, slots=True)
class Habits:
    """What was seen of an endpoint's gaps; every number fades with `DECAY` per gap."""

    gaps: tuple[float, ...] = _NO_BINS
    """Gaps by bin, without the prior."""
    events: tuple[float, ...] = _NO_HOURS
    """Gaps that ended, by hour of the day (UTC)."""
    idle_h: tuple[float, ...] = _NO_HOURS
    """Hours spent idle, by hour of the day (UTC)."""

    @property
    def seen(self) -> float:
        """Weight of the gaps that were seen; at most 1 / (1 - DECAY) = 200."""
        return sum(self.gaps)


@dataclass(frozen=True, slots=True)
class Curve:
    """When the next request comes, by bin of the gap."""

    chance: tuple[float, ...]
    """That the gap ends in this bin; they sum to 1."""
    left: tuple[float, ...]
    """That it lasts longer than the bin's upper edge; 0 for the last."""
    spent: tuple[float, ...]
    """Mean seconds of the gaps that end by the bin's upper edge, over all gaps."""

    def costs(self, wake: float) -> list[float]:
        """Return what a gap is expected to cost when the replica is kept until each edge, and then woken on demand."""
        return [
            spent + left * (edge + wake)
            for spent, left, edge in zip(self.spent, self.left, EDGES, strict=True)
        ]


def is_gap(gap_s: float) -> bool:
    """Say whether a number can be a gap: a negative one is a clock that went back, and tells nothing."""
    return gap_s >= 0 and math.isfinite(gap_s)


def bin_of(gap_s: float) -> int:
    """Return the bin of a gap; one that lasts exactly as long as an edge is in the bin below it."""
    return min(bisect_left(EDGES, gap_s), BINS - 1)


def observe(habits: Habits, gap_s: float, hour: float, decay: float = DECAY) -> Habits:
    """Return the habits with one more gap; unchanged by what cannot be one.

    Args:
        habits: What was seen before.
        gap_s: How long nobody asked, in seconds.
        hour: Hour of the day (UTC, with its fraction) at which the gap began.
        decay: What it leaves of the weight of those before.
    """
    if not is_gap(gap_s):
        return habits
    gaps = [count * decay for count in habits.gaps]
    events = [count * decay for count in habits.events]
    idle_h = [spent * decay for spent in habits.idle_h]
    gaps[bin_of(gap_s)] += 1.0
    at, left = hour % HOURS, min(gap_s, LONGEST_S) / HOUR_S
    while True:
        part = min(left, math.floor(at) + 1 - at)
        idle_h[int(at) % HOURS] += part
        left -= part
        if left <= 0:
            break
        at = (math.floor(at) + 1) % HOURS
    events[int(at) % HOURS] += 1.0
    return Habits(tuple(gaps), tuple(events), tuple(idle_h))


def hour_factors(habits: Habits) -> list[float]:
    """Return how much likelier a gap is to end in each hour of the day than on average.

    m = (events + 4) / (mean rate x idle hours + 4), both smoothed over three hours: 1 where nothing is known.
    """
    # Shares of the idle time, not a rate: events per hour are infinite when all gaps together last no time at all.
    came, spent = sum(habits.events), sum(habits.idle_h) or 1.0
    columns = (*_around(habits.events), *_around(habits.idle_h))
    return [
        (before + here + after + _TRUST)
        / (came * ((idle_before + idle + idle_after) / spent) + _TRUST)
        for before, here, after, idle_before, idle, idle_after in zip(*columns, strict=True)
    ]


def _around(by_hour: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """Return the numbers of the hours before, of the hours themselves and of those after."""
    return by_hour[-1:] + by_hour[:-1], by_hour, by_hour[1:] + by_hour[:1]


def curve(habits: Habits, hour: float | None = None) -> Curve:
    """Return when the next request comes, for a gap that begins at this hour of the day (UTC).

    The hazard of a bin is its share of the gaps that lasted at least as long, and is raised to the factor of the hour
    in which the bin's middle falls. Without an hour the factors are left out.
    """
    prior = PRIOR / BINS
    counts = [seen + prior for seen in habits.gaps]
    rests = list(accumulate(counts[::-1]))
    rests.reverse()
    stays = [1.0 - hazard for hazard in map(truediv, counts, rests)]
    if hour is not None:
        factors = hour_factors(habits)
        stays = [
            stay ** factors[int(hour + later) % HOURS]
            for stay, later in zip(stays, _MIDS_H, strict=True)
        ]
    left = tuple(accumulate(stays, mul))
    chance = tuple(map(sub, (1.0, *left[:-1]), left))
    return Curve(chance, left, tuple(accumulate(map(mul, chance, MIDS))))
