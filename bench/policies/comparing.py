"""One policy against the best fixed time-out in hindsight, where both delay the same share of the requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torpor.domain.keepalive import Bounds
from torpor.simulate.hindsight import Point, at_share, fixed_points
from torpor.simulate.policies import Adaptive
from torpor.simulate.replay import clairvoyant, replay
from torpor.simulate.traffic import Trace

WEIGHTS = (0.0, *(0.25 * 2.0**k for k in range(13)))
"""Settings of the one knob that is swept: 0 to 1024 GPU-seconds per second of waiting, the same for all endpoints."""
ANY = Bounds(0.0, 172_800.0)
"""No endpoint's spec narrows what may be chosen; neither is the fixed time-out narrowed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One point: a fleet, a cold start, a share of delayed requests."""

    fleet: str
    cold_s: float
    delayed: float
    always_on_s: float
    clairvoyant_s: float
    fixed: Point | None
    """None where no time-out delays so many."""
    adaptive: Point | None
    """None where every weight delays more. Where every weight delays fewer, the cheapest of them: it gets no credit
    for that, so the ratio is the most it can be."""

    @property
    def fewer(self) -> bool:
        """Whether the adaptive policy delays fewer than asked for, at every weight."""
        return self.adaptive is not None and self.adaptive.delayed < self.delayed

    @property
    def ratio(self) -> float | None:
        """GPU-seconds of the adaptive policy for each of the fixed one; None where one of them does not come by."""
        if self.fixed is None or self.adaptive is None:
            return None
        return self.adaptive.gpu_s / self.fixed.gpu_s


@dataclass
class Sweep:
    """A curve of which only the settings next to what is asked for are tried."""

    trial: Callable[[float], Point]
    knobs: Sequence[float] = WEIGHTS
    tried: dict[int, Point] = field(default_factory=dict)

    def at(self, delayed: float) -> Point | None:
        """Return the curve's point at a share of delayed requests, which a larger knob lowers."""
        low, high = 0, len(self.knobs) - 1
        if self.point(low).delayed <= delayed:
            return self.point(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self.point(middle).delayed > delayed:
                low = middle
            else:
                high = middle
        return at_share([self.point(low), self.point(high)], delayed)

    def point(self, place: int) -> Point:
        """Return the point of a setting, tried at most once."""
        if place not in self.tried:
            self.tried[place] = self.trial(self.knobs[place])
        return self.tried[place]


def compare(
    fleet: str, trace: Trace, cold_s: float, shares: Sequence[float], bounds: Bounds = ANY
) -> list[Compared]:
    """Return the points of a fleet at one cold start."""
    fixed = fixed_points(trace, cold_s)

    def trial(weight: float) -> Point:
        outcome = replay(trace, Adaptive(weight, bounds=bounds), cold_s)
        return Point(weight, outcome.delayed, outcome.gpu_s)

    sweep, bound = Sweep(trial), clairvoyant(trace, cold_s).gpu_s
    found = list[Compared]()
    for share in shares:
        best = at_share(fixed, share)
        adaptive = None if best is None else sweep.at(share)
        found.append(Compared(fleet, cold_s, share, trace.always_on_s, bound, best, adaptive))
    return found


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean.

    Raises:
        ValueError: There is nothing to take it of.
    """
    if not ratios:
        raise ValueError("no ratios, no mean")
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
