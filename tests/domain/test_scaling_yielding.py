"""Replicas on GPUs that cost nothing more while they idle: kept without end, until somebody else needs the GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.scaling_views import NOW, PENDING, READY, SPEC, STARTING, gateways, view
from torpor.api.conditions import Reason
from torpor.domain.scaling import decide
from torpor.domain.scalingview import Needed, ScalingView
from torpor.domain.shrinking import spare_pod, spared_at

YIELDS = 15_000
OWNED = replace(
    SPEC,
    keep_alive_ms=None,
    yields_ms=YIELDS,
    kept_because="ours costs nothing more while it idles",
)
BY = "shop/bert"


def idle(for_ms: int, needed_by: str = "", replicas: int = 1) -> ScalingView:
    seen = view(replicas, *[READY] * replicas, demand=gateways(last=NOW - for_ms))
    return replace(seen, needed_by=needed_by)


@pytest.mark.parametrize("for_ms", [6_000, 3_600_000, 10**10])
def test_without_a_time_out_it_stays_and_says_why(for_ms: int) -> None:
    decision = decide(OWNED, idle(for_ms), NOW)
    assert (decision.reason, decision.replicas) == (Reason.KEEPING_WARM, None)
    assert decision.message == "idle: ours costs nothing more while it idles"
    assert (decision.look_again_ms, decision.deadline_ms) == (None, None)


def test_just_after_an_answer_it_still_serves() -> None:
    decision = decide(OWNED, idle(1_000), NOW)
    assert (decision.reason, decision.look_again_ms) == (Reason.SERVING, NOW + 4_000)


def test_it_leaves_for_who_needs_its_gpus() -> None:
    decision = decide(OWNED, idle(YIELDS, BY), NOW)
    assert (decision.reason, decision.replicas) == (Reason.IDLE, 0)
    assert decision.message == f"no request for 15 s, and {BY} waits for its GPUs"


def test_not_before_it_was_idle_for_the_shortest_time() -> None:
    decision = decide(OWNED, idle(YIELDS - 1, BY), NOW)
    assert (decision.reason, decision.replicas) == (Reason.KEEPING_WARM, None)
    assert decision.message == f"idle: its GPUs are needed by {BY}"
    assert decision.look_again_ms == decision.deadline_ms == NOW + 1


def test_who_is_asked_does_not_leave() -> None:
    busy = replace(view(1, READY, demand=gateways(in_flight=1)), needed_by=BY)
    assert decide(OWNED, busy, NOW).replicas is None
    unknown = replace(view(1, READY, demand=gateways(silent=("gw-3",))), needed_by=BY)
    assert decide(OWNED, unknown, NOW).replicas is None


def test_the_floor_stays() -> None:
    floor = replace(OWNED, min_replicas=1)
    assert decide(floor, idle(10**7, BY), NOW).replicas is None
    assert decide(floor, idle(10**7, BY, replicas=2), NOW).replicas == 1


def test_with_a_fixed_time_nobody_makes_it_leave() -> None:
    decision = decide(SPEC, idle(YIELDS, BY), NOW)
    assert (decision.reason, decision.replicas) == (Reason.KEEPING_WARM, None)


def test_a_longest_time_still_ends_it() -> None:
    limited = replace(OWNED, keep_alive_ms=60_000)
    assert decide(limited, idle(60_000), NOW).replicas == 0
    assert decide(limited, idle(59_999), NOW).deadline_ms == NOW + 1


def test_a_spent_budget_keeps_nothing_either_way() -> None:
    seen = replace(idle(6_000), over_budget="500 spent")
    assert decide(OWNED, seen, NOW).replicas == 0


def test_a_replica_that_waits_for_a_gpu_and_nobody_asks_for_goes() -> None:
    seen = replace(view(2, READY, PENDING, demand=gateways(last=NOW - 10**6)), needed_by=BY)
    assert decide(OWNED, seen, NOW).replicas == 0
    assert decide(OWNED, replace(seen, needed_by=""), NOW).replicas is None


def test_replicas_beyond_the_need_are_kept_and_spared_only_for_others() -> None:
    one = replace(READY, uid="x", name="x")
    seen = view(2, READY, one, demand=gateways(in_flight=1, last=NOW))
    seen = replace(seen, needed=Needed((NOW, NOW - 10**6)))
    assert spared_at(OWNED, seen) is None
    assert spare_pod(OWNED, seen, NOW) is None
    assert decide(OWNED, seen, NOW).replicas is None


def test_a_start_goes_on() -> None:
    decision = decide(OWNED, replace(view(1, STARTING), needed_by=BY), NOW)
    assert (decision.reason, decision.replicas) == (Reason.WARMING_UP, None)
