"""The best fixed time-out in hindsight: what a policy is measured against, at the same share of delayed requests.

Both a fixed time-out and the weight of waiting are knobs that trade GPU-seconds for delays. A knob's settings are
points (delayed share, GPU-seconds); between two neighbours the logarithm of the GPU-seconds is taken to be linear in
the share. Where a curve passes a share more than once, the cheapest counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torpor.simulate.policies import Fixed
from torpor.simulate.replay import replay
from torpor.simulate.traffic import Trace

TIMEOUTS: tuple[float, ...] = (0.0, *(172_800 ** (k / 30) for k in range(31)))
"""Seconds: 0, and 1 s to 48 h, each 1.49 times the one before."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a setting of a knob came to."""

    knob: float
    delayed: float
    """Share of the requests."""
    gpu_s: float


def fixed_points(trace: Trace, cold_s: float) -> list[Point]:
    """Return what every time-out comes to."""
    done = ((after, replay(trace, Fixed(after), cold_s)) for after in TIMEOUTS)
    return [Point(after, outcome.delayed, outcome.gpu_s) for after, outcome in done]


def at_share(points: Sequence[Point], delayed: float) -> Point | None:
    """Return the cheapest point of a curve at a share of delayed requests; None if it does not come by there."""
    found = list(_crossings(sorted(points, key=lambda point: point.knob), delayed))
    return min(found, key=lambda point: point.gpu_s) if found else None


def _crossings(points: Sequence[Point], delayed: float) -> Iterable[Point]:
    for point in points:
        if point.delayed == delayed:
            yield point
    for a, b in pairwise(points):
        if (a.delayed - delayed) * (b.delayed - delayed) < 0:
            part = (delayed - a.delayed) / (b.delayed - a.delayed)
            gpu_s = a.gpu_s ** (1 - part) * b.gpu_s**part
            knob = a.knob + part * (b.knob - a.knob)
            if a.knob > 0 and b.knob > 0:
                knob = math.exp(math.log(a.knob) + part * math.log(b.knob / a.knob))
            yield Point(knob, delayed, gpu_s)
