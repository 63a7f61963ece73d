from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.status import WakesStatus
from torpor.domain.observation import Demand, GatewayReport, PodSeen, WakeReport
from torpor.domain.remembering import moment
from torpor.domain.waking import KEEP, PATIENCE_MS, count_wakes, percentile

NOW = 1_800_000_000_400
WAKE = WakeReport(NOW, NOW + 20, NOW + 900, NOW + 9_000, NOW + 9_050)
POD = PodSeen(
    "a",
    "a",
    1,
    "l40s",
    created_ms=NOW - 400,
    scheduled_ms=NOW + 600,
    weights_done_ms=NOW + 1_600,
    engine_started_ms=NOW + 2_600,
)


def said(*wakes: WakeReport, gateway: str = "gw") -> Demand:
    return Demand((GatewayReport(gateway, NOW, 0, wakes=wakes),))


def counted(
    before: WakesStatus, demand: Demand, pods: tuple[PodSeen, ...], now_ms: int = NOW + 10**7
) -> WakesStatus:
    return count_wakes(before, demand, pods, now_ms)


def later(seconds: int, wake: WakeReport = WAKE) -> WakeReport:
    ms = seconds * 1000
    assert wake.healthy_ms is not None
    return replace(wake, at_ms=wake.at_ms + ms, healthy_ms=wake.healthy_ms + ms)


def test_a_wake_is_told_by_its_parts() -> None:
    last = counted(WakesStatus(), said(WAKE), (POD,)).last
    assert last is not None
    assert last.to_dict() == {
        "at": "2027-01-15T08:00:00.400Z",
        "queue": "0.020",
        "schedule": "0.580",
        "weights": "1.000",
        "image": "1.000",
        "engine": "6.400",
        "total": "9.000",
    }


def test_what_nobody_saw_is_left_out() -> None:
    last = counted(WakesStatus(), said(WAKE), ()).last
    assert last is not None
    assert last.to_dict().keys() == {"at", "queue", "total"}


def test_a_wake_counts_once_it_is_healthy_and_only_once() -> None:
    starting = replace(WAKE, healthy_ms=None)
    assert counted(WakesStatus(), said(starting), ()) == WakesStatus()
    once = counted(WakesStatus(), said(WAKE), (POD,))
    stored = WakesStatus.model_validate(once.to_dict())
    assert counted(stored, said(WAKE), (POD,)) == once
    assert (once.count, once.p50_seconds, once.p95_seconds) == (1, "9.000", "9.000")


def test_a_controller_that_was_away_counts_all_that_it_missed() -> None:
    for order in permutations([WAKE, later(60), later(120)]):
        wakes = counted(WakesStatus(), said(*order), ())
        assert wakes.count == 3
        assert wakes.last is not None
        assert wakes.last.at == moment(NOW + 120_000)


@pytest.mark.parametrize("gap_ms", [1, 300, 999])
def test_wakes_in_the_same_second_are_told_apart(gap_ms: int) -> None:
    next_one = replace(WAKE, at_ms=WAKE.at_ms + gap_ms)
    first = WakesStatus.model_validate(counted(WakesStatus(), said(WAKE), ()).to_dict())
    assert counted(first, said(WAKE, next_one), ()).count == 2


def test_the_pod_is_the_first_one_made_for_this_wake() -> None:
    before = replace(POD, uid="old", created_ms=NOW - 60_000, scheduled_ms=NOW - 59_000)
    second = replace(POD, uid="b", created_ms=NOW + 5_000, scheduled_ms=NOW + 5_500)
    last = counted(WakesStatus(), said(WAKE), (before, second, POD)).last
    assert last is not None
    assert last.schedule == "0.580"


def test_a_wake_waits_a_little_for_the_kubelet_to_tell_when_the_engine_started() -> None:
    healthy, told = NOW + 9_000, (POD,)
    untold = (replace(POD, engine_started_ms=None),)
    for pods in (untold, ()):
        assert counted(WakesStatus(), said(WAKE), pods, healthy + PATIENCE_MS - 1).count == 0
        assert counted(WakesStatus(), said(WAKE), pods, healthy + PATIENCE_MS).count == 1
    assert counted(WakesStatus(), said(WAKE), told, healthy).count == 1


def test_a_later_wake_does_not_overtake_one_that_still_waits() -> None:
    second = later(5)
    made_later = replace(POD, uid="b", created_ms=second.at_ms, engine_started_ms=None)
    now = NOW + 9_000 + PATIENCE_MS + 1_000
    wakes = counted(WakesStatus(), said(WAKE, second), (POD, made_later), now)
    assert wakes.count == 1
    assert counted(wakes, said(WAKE, second), (made_later,), now + PATIENCE_MS).count == 2


def test_only_the_latest_are_kept_for_the_percentiles() -> None:
    many = [later(60 * n) for n in range(KEEP + 10)]
    wakes = counted(WakesStatus(), said(*many), ())
    assert (wakes.count, len(wakes.recent_ms)) == (KEEP + 10, KEEP)


@given(values=st.lists(st.integers(0, 10**6), min_size=1), share=st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_this_share_does_not_exceed(
    values: list[int], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    smaller = [value for value in values if value < found]
    assert len(smaller) < share * len(values)
