"""The best fixed time-out in hindsight: between two settings, and not beyond them."""

from __future__ import annotations

import pytest

from torpor.simulate.hindsight import TIMEOUTS, Point, at_share, fixed_points
from torpor.simulate.traffic import Trace, endpoint_of

CURVE = [Point(0.0, 0.9, 100.0), Point(10.0, 0.5, 200.0), Point(1000.0, 0.1, 800.0)]


def test_between_two_settings_the_logarithms_are_linear() -> None:
    found = at_share(CURVE, 0.3)
    assert found is not None
    assert found.knob == pytest.approx(100.0)
    assert found.gpu_s == pytest.approx(400.0)


def test_a_setting_itself_is_found() -> None:
    assert at_share(CURVE, 0.5) == CURVE[1]


@pytest.mark.parametrize("share", [0.95, 0.05])
def test_beyond_the_curve_there_is_nothing(share: float) -> None:
    assert at_share(CURVE, share) is None


def test_where_a_curve_comes_by_twice_the_cheapest_counts() -> None:
    there_and_back = [
        Point(1.0, 0.5, 10.0),
        Point(2.0, 0.2, 20.0),
        Point(3.0, 0.4, 30.0),
        Point(4.0, 0.1, 40.0),
    ]
    found = at_share(there_and_back, 0.3)
    assert found is not None
    assert found.gpu_s < 20.0


def test_longer_time_outs_delay_fewer() -> None:
    endpoint = endpoint_of("e", [(k * k * 10.0, 5.0) for k in range(60)])
    points = fixed_points(Trace("t", 40_000.0, (endpoint,)), 60.0)
    assert [point.knob for point in points] == list(TIMEOUTS)
    shares = [point.delayed for point in points]
    assert shares[0] > 0.9
    assert shares == sorted(shares, reverse=True)
