"""Where the Service of a direct endpoint leads, and that nothing goes while a connection may be on its way to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scaling_views import AFTER, LEAVING, NOW, READY, SPEC, STARTING, gateways, view
from torpor.api.conditions import Reason
from torpor.domain.leading import SETTLE_MS, Way, held, led_to, turn_ms
from torpor.domain.observation import PodSeen
from torpor.domain.scaling import decide
from torpor.domain.scalingview import Decision, ScalingView

POD = replace(READY, ip="10.0.0.1")
OTHER = replace(POD, uid="o", name="o", ip="10.0.0.2")
SPARE = replace(OTHER, spare_ms=NOW - 60_000)


def idle_for(ms: int, *pods: PodSeen) -> ScalingView:
    return view(len(pods), *pods, demand=gateways(last=NOW - ms))


def led(seen: ScalingView, gates: int = 2) -> list[str]:
    decision = decide(SPEC, seen, NOW)
    return [pod.uid for pod in led_to(seen, decision, gates, NOW)]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([POD], ["a"]),
        ([POD, OTHER], ["a", "o"]),
        ([POD, STARTING], ["a"]),
        ([STARTING], []),
        ([LEAVING], []),
        ([replace(POD, ready=False)], []),
        ([replace(POD, ip=None)], []),
        ([POD, SPARE], ["a"]),
        ([], []),
    ],
)
def test_replicas_that_take_requests_are_led_to(pods: list[PodSeen], expected: list[str]) -> None:
    assert led(view(len(pods), *pods, demand=gateways(in_flight=1, last=NOW))) == expected


def test_an_endpoint_about_to_sleep_leads_to_the_gateways_so_early_that_it_sleeps_in_time() -> None:
    assert led(idle_for(AFTER - SETTLE_MS - 1, POD)) == ["a"]
    assert led(idle_for(AFTER - SETTLE_MS, POD)) == []
    assert led(idle_for(AFTER + 1, POD)) == []


def test_without_a_gateway_the_engines_stay() -> None:
    assert led(idle_for(AFTER, POD), gates=0) == ["a"]


@pytest.mark.parametrize(
    ("keep_ms", "turns_after"),
    [(1_000, 1_000), (SETTLE_MS, SETTLE_MS), (12_000, SETTLE_MS), (60_000, 60_000 - SETTLE_MS)],
)
def test_a_short_keep_alive_does_not_turn_the_service_with_every_request(
    keep_ms: int, turns_after: int
) -> None:
    seen = idle_for(0, POD)
    decision = decide(replace(SPEC, keep_alive_ms=keep_ms), seen, NOW)
    assert turn_ms(seen, decision) == NOW + turns_after


def test_what_never_sleeps_never_turns() -> None:
    seen = idle_for(AFTER, POD)
    kept = decide(replace(SPEC, min_replicas=1), seen, NOW)
    assert turn_ms(seen, kept) is None
    assert turn_ms(seen, decide(replace(SPEC, keep_alive_ms=None), seen, NOW)) is None


SLEEP = Decision(Reason.IDLE, "no request for 120 s", 0)


def test_it_sleeps_only_when_nothing_can_be_on_its_way_any_more() -> None:
    seen = idle_for(AFTER, POD)
    assert held(SLEEP, seen, Way(frozenset(), NOW - SETTLE_MS, 2), NOW) == SLEEP
    just_now = held(SLEEP, seen, Way(frozenset(), NOW - SETTLE_MS + 1, 2), NOW)
    assert (just_now.replicas, just_now.look_again_ms) == (None, NOW + 1)
    assert just_now.reason is Reason.KEEPING_WARM
    still = held(SLEEP, seen, Way(frozenset("a"), NOW - 10 * SETTLE_MS, 2), NOW)
    assert (still.replicas, still.look_again_ms) == (None, NOW + 1000)
    alone = held(SLEEP, seen, Way(frozenset("a"), NOW - 10 * SETTLE_MS, 0), NOW)
    assert "no gateway" in alone.message


def test_one_of_several_goes_when_the_service_leads_past_it() -> None:
    seen, fewer = view(2, POD, SPARE), Decision(Reason.SERVING, "1 of 2 replicas are needed", 1)
    assert held(fewer, seen, Way(frozenset("a"), NOW - SETTLE_MS, 0), NOW) == fewer
    assert held(fewer, seen, Way(frozenset("a"), NOW - 1, 0), NOW).replicas is None
    assert held(fewer, seen, Way(frozenset("ao"), NOW - SETTLE_MS, 0), NOW).replicas is None


@pytest.mark.parametrize("reason", [Reason.SUSPENDED, Reason.FAILED, Reason.WARMING_UP])
def test_what_the_spec_or_a_fault_takes_down_is_not_held(reason: Reason) -> None:
    orders = Decision(reason, "so it shall be", 0)
    assert held(orders, view(1, POD), Way(frozenset("a"), NOW), NOW) == orders


@given(st.integers(1, 600_000), st.integers(0, 700_000), st.integers(0, 30_000))
def test_nothing_ever_goes_that_is_led_to_or_was_just_now(
    keep: int, idle: int, led_ms: int
) -> None:
    seen, way = idle_for(idle, POD), Way(frozenset(), NOW - led_ms, 1)
    decision = held(decide(replace(SPEC, keep_alive_ms=keep), seen, NOW), seen, way, NOW)
    assert decision.replicas is None or (decision.replicas == 0 and led_ms >= SETTLE_MS)
    assert held(decision, seen, Way(frozenset("a"), 0, 1), NOW).replicas is None
