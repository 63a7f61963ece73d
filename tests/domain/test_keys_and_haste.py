"""The waiting room as a story: keys and their limits, requests that do not wait, pods that were set aside."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.test_activation import (
    BROKEN,
    LOST,
    NO,
    UNKNOWN,
    WRITTEN,
    YES,
    asleep,
    awake,
    pod,
    refused,
)
from tests.domain.test_rousing import quiet
from torpor.domain.activation import Room
from torpor.domain.pool import GLANCE_SECONDS
from torpor.domain.refusals import BUSY_RETRY_AFTER, WAKE_RETRY_AFTER
from torpor.domain.rousing import SETTLE_SECONDS
from torpor.domain.waitroom import (
    Effect,
    Glance,
    Grant,
    Park,
    Probe,
    Refusal,
    Refuse,
    Settle,
    Wake,
    WriteOutcome,
    Written,
)

ONE = replace(YES, max_replicas=1)


def only_refusal(effects: list[Effect]) -> Refusal:
    (found,) = [effect.refusal for effect in effects if isinstance(effect, Refuse)]
    return found


# Keys


def test_a_key_with_many_requests_delays_another_by_one_turn_only() -> None:
    room = awake(replace(YES, in_flight_per_pod=1, max_waiting=1000))
    for ticket in range(100):
        room.on_request(ticket, 1, 0.0, owner="batch")
    room.on_request(100, 1, 0.0, owner="shop")
    assert room.on_end(0, 0.1) == [Grant(1, "a")]
    assert room.on_end(1, 0.2) == [Grant(100, "a")]
    assert room.on_end(100, 0.3) == [Grant(2, "a")]


def test_a_key_has_as_many_requests_as_it_may_and_waiting_ones_count() -> None:
    room = awake(replace(YES, in_flight_per_pod=1, key_limits={"shop": 2}))
    assert room.on_request(1, 1, 0.0, owner="shop") == [Grant(1, "a")]
    assert room.on_request(2, 1, 0.0, owner="shop") == [Park(2)]
    refusal = only_refusal(room.on_request(3, 1, 0.0, owner="shop"))
    assert (refusal.status, refusal.code) == (429, "key_busy")
    assert refusal.retry_after == BUSY_RETRY_AFTER
    assert "key shop has 2 of 2 requests in flight" in refusal.message
    assert room.on_request(4, 1, 0.0, owner="batch") == [Park(4)]
    room.on_end(2, 0.1)
    assert room.on_request(5, 1, 0.2, owner="shop") == [Park(5)]


def test_a_request_that_came_back_still_counts_for_its_key_once() -> None:
    room = awake(replace(YES, key_limits={"shop": 1}))
    room.on_request(1, 1, 0.0, owner="shop")
    room.on_unreached(1, 0.1)
    assert refused(room.on_request(2, 1, 0.2, owner="shop")) == {2: 429}
    room.on_end(1, 0.3)
    assert refused(room.on_request(3, 1, 0.4, owner="shop")) == {}


def test_a_limit_that_is_lowered_turns_away_new_requests_only() -> None:
    room = awake()
    room.on_request(1, 1, 0.0, owner="shop")
    room.on_request(2, 1, 0.0, owner="shop")
    lower = replace(YES, key_limits={"shop": 1})
    assert room.on_terms(lower, 0.1) == []
    room.on_end(1, 0.2)
    assert refused(room.on_request(3, 1, 0.3, owner="shop")) == {3: 429}
    room.on_end(2, 0.4)
    assert room.on_request(4, 1, 0.5, owner="shop") == [Grant(4, "a")]


def test_an_endpoint_that_cannot_wake_says_so_before_it_counts() -> None:
    room = asleep(replace(NO, key_limits={"shop": 1}))
    for ticket in (1, 2):
        assert room.on_request(ticket, 1, 0.0, owner="shop") == [Refuse(ticket, BROKEN)]


# Haste


def test_a_request_that_does_not_wait_is_told_at_once_and_still_wakes() -> None:
    room = asleep(ONE)
    effects = room.on_request(1, 10, 0.0, no_wait=True)
    refusal = only_refusal(effects)
    assert (refusal.status, refusal.code) == (503, "would_wait")
    assert refusal.retry_after == WAKE_RETRY_AFTER
    assert effects[1:] == [Wake(1)]
    assert room.waiting == 0
    assert room.on_written(WRITTEN, 0.1) == []


def test_its_wake_is_prepared_like_any_other_and_sized_for_those_who_came_to_wait() -> None:
    room = asleep()
    assert room.on_request(1, 10, 0.0, no_wait=True)[1:] == [Settle(SETTLE_SECONDS)]
    for ticket in range(2, 5):
        room.on_request(ticket, 10, 0.001)
    assert room.on_settled(0.002) == [Settle(2 * SETTLE_SECONDS)]
    assert quiet(room, 0.006)[-1] == Wake(2)


def test_its_wake_is_tried_again_after_a_failure_but_not_for_ever() -> None:
    room = asleep(replace(ONE, max_wait=5.0))
    room.on_request(1, 10, 0.0, no_wait=True)
    failed = Written(WriteOutcome.FAILED, message="no answer")
    assert room.on_written(failed, 1.0) == [Settle(0.1)]
    assert room.on_settled(1.1) == [Wake(1)]
    assert room.on_written(failed, 5.0) == []


def test_a_wake_that_was_promised_and_written_is_owed_no_more() -> None:
    room = asleep(ONE)
    room.on_request(1, 10, 0.0, no_wait=True)
    room.on_written(WRITTEN, 0.1)
    assert room.on_deployment(0, 12, 0.2) == []


@pytest.mark.parametrize("outcome", [LOST, Written(WriteOutcome.DENIED, message="403")])
def test_a_wake_that_somebody_else_wrote_or_nobody_may_is_owed_no_more(outcome: Written) -> None:
    room = asleep(ONE)
    room.on_request(1, 10, 0.0, no_wait=True)
    assert room.on_written(outcome, 0.1) == []
    assert room.on_deployment(0, 12, 0.2) == []


def test_while_it_is_not_known_whether_it_may_be_woken_the_promise_stands() -> None:
    room = asleep(replace(UNKNOWN, max_replicas=1))
    assert len(room.on_request(1, 10, 0.0, no_wait=True)) == 1
    assert room.on_terms(ONE, 1.0) == [Wake(1)]


def test_a_second_request_that_does_not_wait_writes_nothing_more() -> None:
    room = asleep(ONE)
    room.on_request(1, 10, 0.0, no_wait=True)
    assert len(room.on_request(2, 10, 0.05, no_wait=True)) == 1
    room.on_written(WRITTEN, 0.1)
    assert len(room.on_request(3, 10, 0.2, no_wait=True)) == 1
    room.on_pods([pod()], 3.0)
    assert room.on_request(4, 10, 4.0, no_wait=True) == [Grant(4, "a")]


def test_the_time_to_stay_away_is_what_is_left_of_a_usual_wake() -> None:
    room = asleep(replace(ONE, usual_wake=40.0))
    assert only_refusal(room.on_request(1, 10, 0.0, no_wait=True)).retry_after == 40.0
    room.on_written(WRITTEN, 1.0)
    refusal = only_refusal(room.on_request(2, 10, 11.0, no_wait=True))
    assert refusal.retry_after == 30.0
    assert "about 30 s more" in refusal.message
    assert only_refusal(room.on_request(3, 10, 99.0, no_wait=True)).retry_after == BUSY_RETRY_AFTER
    assert room.seconds_left(21.0) == 20.0
    room.on_pods([pod()], 22.0)
    assert room.seconds_left(23.0) is None


def test_who_does_not_wait_for_busy_pods_is_told_how_busy_they_are() -> None:
    room = awake(replace(YES, in_flight_per_pod=1))
    room.on_request(1, 10, 0.0)
    effects = room.on_request(2, 10, 0.0, no_wait=True)
    assert "busy with 1 requests" in only_refusal(effects).message
    assert len(effects) == 1


def test_who_does_not_wait_does_not_overtake_those_who_do() -> None:
    room = awake(YES, pod(ready=False))
    room.on_request(1, 10, 0.0)
    assert refused(room.on_request(2, 10, 0.0, no_wait=True)) == {2: 503}


def test_who_does_not_wait_does_not_wait_for_a_pod_that_was_not_reached_either() -> None:
    room = awake(YES, pod("a"), pod("b"))
    (first,) = room.on_request(1, 10, 0.0, no_wait=True)
    assert isinstance(first, Grant)
    other = {"a": "b", "b": "a"}[first.uid]
    assert room.on_unreached(1, 0.1)[:2] == [Park(1), Grant(1, other)]
    effects = room.on_unreached(1, 0.2)
    assert refused(effects) == {1: 503}
    assert (room.waiting, room.in_flight) == (0, 0)
    assert {e.uid for e in effects if isinstance(e, Probe)} == {"a", "b"}


# Prefixes


def test_what_waited_goes_to_the_pod_for_its_prefix() -> None:
    few = replace(YES, by_prefix=True)
    seen = [pod(uid) for uid in "abc"]
    homes = {}
    for prefix in range(0, 1 << 64, 1 << 60):
        room = awake(few, *seen)
        (grant,) = room.on_request(1, 1, 0.0, prefix=prefix)
        assert isinstance(grant, Grant)
        homes[prefix] = grant.uid
        room = asleep(few)
        room.on_request(1, 1, 0.0, prefix=prefix)
        room.on_request(2, 1, 0.0, prefix=prefix)
        assert room.on_pods(seen, 1.0) == [Grant(1, grant.uid), Grant(2, grant.uid)]
    assert set(homes.values()) == {"a", "b", "c"}


def test_a_prefix_never_makes_a_request_wait_while_a_pod_has_room() -> None:
    room = awake(replace(YES, in_flight_per_pod=2), pod("a"), pod("b"))
    granted = [room.on_request(n, 1, 0.0, prefix=1) for n in range(5)]
    assert [isinstance(effects[0], Grant) for effects in granted] == [True] * 4 + [False]


def test_a_spare_pod_is_nobodys_first_choice() -> None:
    room = awake(YES, pod("a", spare=True), pod("b"), pod("c"))
    for prefix in range(0, 1 << 64, 1 << 60):
        (grant,) = room.on_request(1, 1, 0.0, prefix=prefix)
        assert isinstance(grant, Grant)
        assert grant.uid != "a"
        room.on_end(1, 0.0)


# Pods that were set aside


def test_a_pod_that_could_not_be_reached_comes_back_though_nobody_waits() -> None:
    room = awake(YES, pod("a"), pod("b"))
    (grant,) = room.on_request(1, 10, 0.0)
    assert isinstance(grant, Grant)
    lost, other = grant.uid, {"a": "b", "b": "a"}[grant.uid]
    first, longest = GLANCE_SECONDS
    assert room.on_unreached(1, 0.1) == [Park(1), Grant(1, other), Glance(lost, first)]
    assert room.wants_glance(lost)
    pauses = [first]
    while pauses[-1] < longest:
        (effect,) = room.on_glanced(lost, False, 1.0)
        assert isinstance(effect, Glance)
        pauses.append(effect.after)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert room.on_glanced(lost, True, 2.0) == []
    assert not room.wants_glance(lost)
    assert room.on_request(2, 10, 3.0) == [Grant(2, lost)]


def test_a_pod_that_never_served_is_not_looked_at_for_nobody() -> None:
    room = asleep()
    assert room.on_pods([pod(ready=False)], 0.1) == []
    assert not room.wants_glance("a")


def test_a_pod_that_was_set_aside_is_probed_while_somebody_waits_and_looked_at_after() -> None:
    room = awake()
    room.on_request(1, 10, 0.0)
    assert room.on_unreached(1, 0.1) == [Park(1), Probe("a")]
    room.on_end(1, 0.2)
    assert not room.wants_probe("a")
    assert room.on_probed("a", False, 0.3) == [Glance("a", GLANCE_SECONDS[0])]


def test_one_look_is_under_way_at_a_time() -> None:
    room = awake(YES, pod("a"), pod("b"))
    (grant,) = room.on_request(1, 10, 0.0)
    assert isinstance(grant, Grant)
    room.on_unreached(1, 0.1)
    assert room.on_terms(replace(YES, max_waiting=11), 0.2) == []


def test_a_new_verdict_of_the_kubelet_ends_the_looking() -> None:
    room = awake()
    room.on_request(1, 10, 0.0)
    room.on_unreached(1, 0.1)
    assert room.on_pods([pod(incarnation=1)], 0.2) == [Grant(1, "a")]
    assert not room.wants_glance("a")


def test_a_look_at_a_pod_that_is_gone_does_no_harm() -> None:
    room = Room(YES)
    assert room.on_glanced("a", True, 0.0) == []
    assert not room.wants_glance("a")
