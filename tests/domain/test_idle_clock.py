from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.scaling_views import (
    AFTER,
    LEAVING,
    LONG_AGO,
    NOW,
    PENDING,
    READY,
    SPEC,
    STARTING,
    gateways,
    view,
)
from torpor.api.conditions import Reason
from torpor.domain.failing import CAPACITY_TIMEOUT_MS, assess
from torpor.domain.scaling import decide
from torpor.domain.scalingview import LULL_MS, idle_since


@pytest.mark.parametrize(
    ("reported", "remembered", "ready_at", "starts"),
    [
        pytest.param(NOW - 50, None, NOW - 900, NOW - 50, id="the last byte"),
        pytest.param(NOW - 900, None, NOW - 50, NOW - 50, id="first Ready, if that is later"),
        pytest.param(None, None, NOW - 50, NOW - 50, id="first Ready, if nobody ever asked"),
        pytest.param(
            None, NOW - 20, NOW - 50, NOW - 20, id="remembered from gateways that are gone"
        ),
        pytest.param(NOW - 10, NOW - 20, NOW - 50, NOW - 10, id="reported later than remembered"),
    ],
)
def test_the_idle_clock_starts_at_the_latest_sign_of_life(
    reported: int | None, remembered: int | None, ready_at: int, starts: int
) -> None:
    pod = replace(READY, first_ready_ms=ready_at)
    seen = view(1, pod, demand=gateways(last=reported), remembered=remembered)
    assert idle_since(seen) == starts
    decision = decide(SPEC, seen, NOW)
    assert decision.deadline_ms == starts + AFTER
    assert decide(SPEC, seen, starts + AFTER - 1).replicas is None
    assert decide(SPEC, seen, starts + AFTER).replicas == 0


def test_the_clock_begins_anew_with_the_newest_replica() -> None:
    newest = replace(READY, uid="new", first_ready_ms=NOW - 1_000)
    assert idle_since(view(2, READY, newest, demand=LONG_AGO)) == NOW - 1_000


def test_a_second_replica_that_comes_up_when_nobody_asks_any_more_starts_the_clock_anew() -> None:
    second = replace(STARTING, uid="new")
    asked = view(2, READY, second, demand=gateways(waiting=1, last=NOW - 10 * AFTER))
    assert decide(SPEC, asked, NOW).replicas is None
    answered = view(2, READY, second, demand=gateways(last=NOW))
    assert decide(SPEC, answered, NOW).deadline_ms == NOW + AFTER
    up = replace(second, first_ready_ms=NOW + 1_000, ready=True)
    both = view(2, READY, up, demand=gateways(last=NOW))
    assert decide(SPEC, both, NOW + 1_000).deadline_ms == NOW + 1_000 + AFTER


def test_pods_that_leave_or_are_gone_do_not_run_the_clock() -> None:
    assert idle_since(view(1, LEAVING, replace(READY, gone_ms=NOW))) is None


def test_a_woken_replica_that_nobody_asked_sleeps_after_its_first_ready_not_after_its_start() -> (
    None
):
    slow = replace(STARTING, scheduled_ms=NOW - 10 * AFTER)
    assert decide(SPEC, view(1, slow, remembered=NOW - 20 * AFTER), NOW).replicas is None
    up = replace(slow, first_ready_ms=NOW, ready=True)
    assert decide(SPEC, view(1, up, remembered=NOW - 20 * AFTER), NOW).deadline_ms == NOW + AFTER


def test_it_looks_again_when_the_lull_ends_and_then_at_the_deadline() -> None:
    seen = view(1, READY, demand=gateways(last=NOW))
    first = decide(SPEC, seen, NOW)
    assert (first.reason, first.look_again_ms) == (Reason.SERVING, NOW + LULL_MS)
    second = decide(SPEC, seen, NOW + LULL_MS)
    assert (second.reason, second.look_again_ms) == (Reason.KEEPING_WARM, NOW + AFTER)


def test_a_keep_alive_shorter_than_the_lull_is_kept_to_the_millisecond() -> None:
    spec = replace(SPEC, keep_alive_ms=1_000)
    seen = view(1, READY, demand=gateways(last=NOW))
    assert decide(spec, seen, NOW).look_again_ms == NOW + 1_000
    assert decide(spec, seen, NOW + 1_000).replicas == 0


def test_at_the_floor_it_looks_again_when_the_lull_ends_and_has_no_deadline() -> None:
    spec = replace(SPEC, min_replicas=1)
    decision = decide(spec, view(1, READY, demand=gateways(last=NOW)), NOW)
    assert (decision.look_again_ms, decision.deadline_ms) == (NOW + LULL_MS, None)


def test_a_replica_without_a_gpu_is_looked_at_again_when_the_limit_of_the_oldest_is_reached() -> (
    None
):
    older = replace(PENDING, created_ms=NOW - 100_000)
    newer = replace(PENDING, uid="new", created_ms=NOW - 1_000)
    seen = view(2, newer, older, demand=gateways(waiting=1))
    limit = older.created_ms + CAPACITY_TIMEOUT_MS
    assert decide(SPEC, seen, NOW).look_again_ms == limit
    assert assess(None, seen.pods, 1, limit - 1) is None
    assert assess(None, seen.pods, 1, limit) is not None


def test_unknown_demand_is_looked_at_again_each_second() -> None:
    seen = view(1, READY, demand=replace(LONG_AGO, unreachable=("gw-3",)))
    assert decide(SPEC, seen, NOW).look_again_ms == NOW + 1_000
