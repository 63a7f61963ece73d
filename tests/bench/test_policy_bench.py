"""The policy's benchmark: its comparison on a small fleet, and what it says where there is nothing to compare."""

from __future__ import annotations

import pytest

from bench.policies.comparing import Compared, Sweep, compare, geometric_mean
from bench.policies.deciding import decision_ms
from bench.policies.people import DAYS, ENDPOINTS, REQUESTS, people
from bench.policy import figures_of, points_table
from torpor.simulate.hindsight import Point
from torpor.simulate.traffic import Trace, endpoint_of

TIMERS = [[(k * 900.0 + j * 70 * (k % 7), 5.0) for k in range(90)] for j in range(3)]
SMALL = Trace("small", 86_400.0, tuple(endpoint_of(f"e{j}", r) for j, r in enumerate(TIMERS)))


def point(
    fleet: str, fixed: float | None, adaptive: float | None, delayed: float = 0.2
) -> Compared:
    best = None if fixed is None else Point(300.0, 0.2, fixed)
    found = None if adaptive is None else Point(5.0, delayed, adaptive)
    return Compared(fleet, 60.0, 0.2, 1000.0, 50.0, best, found)


def test_every_share_has_a_point_also_where_nothing_comes_by() -> None:
    found = compare("small", SMALL, 60.0, (0.4, 0.999))
    assert [one.delayed for one in found] == [0.4, 0.999]
    assert found[0].ratio is not None
    assert found[0].ratio < 1.0, "a timer is what prewakes are for"


def test_a_sweep_tries_only_what_it_needs_and_only_once() -> None:
    tried = list[float]()

    def trial(knob: float) -> Point:
        tried.append(knob)
        return Point(knob, 1 / (1 + knob), knob + 1)

    sweep = Sweep(trial, tuple(float(k) for k in range(101)))
    found = sweep.at(0.1)
    assert found is not None
    assert found.knob == pytest.approx(9.0)
    assert len(tried) == len(set(tried)) <= 8
    assert sweep.at(0.1) == found
    assert sweep.at(0.001) is None


def test_where_every_weight_delays_fewer_the_cheapest_counts() -> None:
    sweep = Sweep(lambda knob: Point(knob, 0.1 / (1 + knob), knob + 1), (0.0, 1.0, 2.0))
    assert sweep.at(0.2) == Point(0.0, 0.1, 1.0)


def test_points_without_a_ratio_are_shown_and_not_counted() -> None:
    points = [
        point("azure-functions", 100.0, 50.0),
        point("people", 100.0, 110.0),
        point("people", None, None),
        point("servegen", 100.0, 130.0, delayed=0.05),
    ]
    shown = points_table(points).splitlines()
    assert len(shown) == 1 + len(points) + 1
    assert "5.00*" in shown[4]
    figures = {figure.name: figure for figure in figures_of(points)}
    assert figures["worst point at equal shares"].value == pytest.approx(1.1)
    assert figures["all fleets: geometric mean of 2"].value == pytest.approx(0.55**0.5)
    assert figures["azure-functions: geometric mean of 1"].holds
    assert figures["with those that delay fewer (*): geometric mean of 3"].value > 0.8
    assert figures["with those that delay fewer (*): worst"].value == pytest.approx(1.3)


def test_a_mean_of_nothing_is_an_error() -> None:
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no ratios"):
        geometric_mean([])


def test_the_made_up_fleet_is_the_same_every_time_and_as_its_docstring_says() -> None:
    fleet = people()
    assert fleet == people()
    assert (len(fleet.endpoints), fleet.requests, fleet.length_s) == (
        ENDPOINTS,
        REQUESTS,
        DAYS * 86_400,
    )
    busiest = max(len(endpoint.arrivals) for endpoint in fleet.endpoints)
    assert busiest / fleet.requests == pytest.approx(0.31, abs=0.01)


def test_decisions_are_timed_twice() -> None:
    first, again = decision_ms(3)
    assert first > 0
    assert again >= 0
