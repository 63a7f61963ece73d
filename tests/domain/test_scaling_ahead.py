"""A replica that is started ahead of demand: when, how long it waits, and what forbids it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.scaling_views import NOW, READY, SPEC, STARTING, WRONG_KEY, gateways, view
from torpor.api.conditions import Reason
from torpor.domain.scaling import decide
from torpor.domain.scalingview import ScalingSpec, ScalingView

AHEAD = replace(
    SPEC, keep_alive_ms=20_000, kept_because="keeps 20 s", ahead_ms=(NOW - 60_000, NOW + 60_000)
)


def test_who_is_expected_finds_a_replica() -> None:
    found = decide(AHEAD, view(0), NOW)
    assert (found.replicas, found.reason) == (1, Reason.WARMING_UP)
    assert found.message == "woken ahead of demand: keeps 20 s"


def test_until_then_it_sleeps_and_afterwards_as_well() -> None:
    before = decide(AHEAD, view(0), NOW - 90_000)
    assert (before.replicas, before.look_again_ms) == (None, NOW - 60_000)
    after = decide(AHEAD, view(0), NOW + 60_000)
    assert (after.replicas, after.look_again_ms, after.reason) == (None, None, Reason.IDLE)


@pytest.mark.parametrize(
    ("spec", "seen"),
    [
        (replace(AHEAD, suspend=True), view(0)),
        (AHEAD, view(0, fault=WRONG_KEY)),
        (AHEAD, view(0, over_budget="spent")),
    ],
    ids=["suspended", "cannot work", "over budget"],
)
def test_nothing_is_woken_ahead_that_may_not_be_woken(spec: ScalingSpec, seen: ScalingView) -> None:
    assert decide(spec, seen, NOW).replicas is None


def _woken_ahead(ready_ms: int) -> ScalingView:
    pod = replace(READY, scheduled_ms=ready_ms - 10_000, first_ready_ms=ready_ms)
    return view(1, pod, demand=gateways(last=NOW - 600_000))


def test_while_it_starts_it_says_why_although_nobody_asks() -> None:
    found = decide(AHEAD, view(1, STARTING), NOW)
    assert found.message == "woken ahead of demand, 0 of 1 replicas are ready: keeps 20 s"
    asked = decide(AHEAD, view(1, STARTING, demand=gateways(waiting=1)), NOW)
    assert asked.message == "0 of 1 replicas are ready"


def test_who_was_expected_is_waited_for_until_that_time_is_over() -> None:
    found = decide(AHEAD, _woken_ahead(NOW - 40_000), NOW)
    assert (found.reason, found.replicas) == (Reason.KEEPING_WARM, None)
    assert (found.deadline_ms, found.look_again_ms) == (NOW + 60_000, NOW + 60_000)
    assert found.message.startswith("woken ahead of demand, which has not come yet")
    assert decide(AHEAD, _woken_ahead(NOW - 40_000), NOW + 60_000).replicas == 0


def test_who_came_is_kept_for_as_after_any_answer() -> None:
    seen = replace(_woken_ahead(NOW - 40_000), demand=gateways(last=NOW - 10_000))
    found = decide(AHEAD, seen, NOW)
    assert (found.deadline_ms, found.message) == (NOW + 10_000, "idle: keeps 20 s")


def test_one_that_was_ready_too_late_is_not_put_down_in_the_same_moment() -> None:
    found = decide(AHEAD, _woken_ahead(NOW + 59_000), NOW + 61_000)
    assert (found.replicas, found.deadline_ms) == (None, NOW + 64_000)


SCHEDULED = replace(
    SPEC, min_replicas=2, floor_because="the schedule 0 8 * * * (UTC) keeps 2 until 18:00"
)


def test_a_schedule_is_a_floor_that_says_so() -> None:
    found = decide(SCHEDULED, view(0), NOW)
    assert (found.replicas, found.message) == (2, SCHEDULED.floor_because)
    warm = decide(SCHEDULED, view(2, READY, replace(READY, uid="e")), NOW)
    assert (warm.replicas, warm.reason, warm.message) == (
        None,
        Reason.KEEPING_WARM,
        SCHEDULED.floor_because,
    )


@pytest.mark.parametrize(
    ("spec", "seen", "reason"),
    [
        (replace(SCHEDULED, suspend=True), view(0), Reason.SUSPENDED),
        (SCHEDULED, view(0, fault=WRONG_KEY), Reason.FAILED),
        (SCHEDULED, view(0, over_budget="spent"), Reason.OVER_BUDGET),
    ],
    ids=["suspended", "cannot work", "over budget"],
)
def test_a_schedule_gives_way(spec: ScalingSpec, seen: ScalingView, reason: Reason) -> None:
    found = decide(spec, seen, NOW)
    assert (found.replicas, found.reason) == (None, reason)
