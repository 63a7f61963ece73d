"""The unit-test vectors of cost-policy §4.5, to the digit given there: no decay, no hour factor."""

from __future__ import annotations

import pytest

from torpor.domain.gaps import Habits, curve, observe
from torpor.domain.keepalive import WEIGHTS, cheapest
from torpor.domain.prewake import Price

PRIOR_ONLY = [
    (60, (10.3, 48.9, 157.2, 505.0)),
    (180, (48.9, 157.2, 745.1, 2393.6)),
    (15, (3.2, 10.3, 33.2, 106.5)),
]
GAPS = [
    ("20 gaps of 40 s", [40.0] * 20, (48.9, 48.9, 157.2)),
    ("20 gaps of 600 s", [600.0] * 20, (0.0, 2.2, 745.1)),
    ("20 gaps of 7200 s", [7200.0] * 20, (0.0, 2.2, 10.3)),
    ("10 of 20 s and 10 of 5000 s", [20.0] * 10 + [5000.0] * 10, (22.5, 22.5, 22.5)),
]


def habits_of(gaps: list[float]) -> Habits:
    habits = Habits()
    for gap in gaps:
        habits = observe(habits, gap, hour=0.0, decay=1.0)
    return habits


def chosen(gaps: list[float], cold_s: float, weight: float) -> float:
    return round(cheapest(curve(habits_of(gaps)), Price(cold_s, weight).wake), 1)


@pytest.mark.parametrize(("cold_s", "expected"), PRIOR_ONLY, ids=lambda value: str(value))
def test_with_the_prior_alone(cold_s: float, expected: tuple[float, ...]) -> None:
    assert tuple(chosen([], cold_s, weight) for weight in WEIGHTS.values()) == expected


@pytest.mark.parametrize(("gaps", "expected"), [row[1:] for row in GAPS], ids=[g[0] for g in GAPS])
def test_with_gaps_that_were_seen(gaps: list[float], expected: tuple[float, ...]) -> None:
    assert tuple(chosen(gaps, 60, weight) for weight in (1, 5, 20)) == expected


def test_the_profiles_have_the_weights_of_the_table() -> None:
    assert dict(WEIGHTS) == {"economy": 1, "balanced": 5, "responsive": 20, "interactive": 50}
