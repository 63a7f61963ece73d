"""The waiting room as a story: events told one by one, effects compared, time a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torpor.domain.activation import Room
from torpor.domain.refusals import removal
from torpor.domain.rousing import (
    RETRY_SECONDS,
    SETTLE_SECONDS,
)
from torpor.domain.waitroom import (
    Effect,
    Grant,
    Park,
    PodFacts,
    Probe,
    Refusal,
    Refuse,
    Settle,
    Terms,
    Wake,
    Willing,
    WriteOutcome,
    Written,
)

YES = Terms("shop/llama", Willing.YES, in_flight_per_pod=2, max_replicas=3, max_waiting=10)
BROKEN = Refusal(503, "ImagePullFailed", "the image does not exist")
NO = replace(YES, willing=Willing.NO, refusal=BROKEN)
UNKNOWN = replace(YES, willing=Willing.UNKNOWN)
WRITTEN = Written(WriteOutcome.WRITTEN, replicas=1, version=11)
LOST = Written(WriteOutcome.RACE_LOST)


def asleep(terms: Terms = YES) -> Room:
    room = Room(terms)
    assert room.on_deployment(0, 10, 0.0) == []
    return room


def pod(uid: str = "a", *, ready: bool = True, **facts: object) -> PodFacts:
    return replace(PodFacts(uid, f"10.0.0.1:{len(uid)}", ready), **facts)  # type: ignore[arg-type]


def awake(terms: Terms = YES, *pods: PodFacts) -> Room:
    room = Room(terms)
    room.on_deployment(1, 10, 0.0)
    room.on_pods(pods or (pod(),), 0.0)
    return room


def refused(effects: Iterable[Effect]) -> dict[int, int]:
    return {e.ticket: e.refusal.status for e in effects if isinstance(e, Refuse)}


def test_a_request_to_a_serving_pod_is_granted_at_once() -> None:
    room = awake()
    assert room.on_request(1, 10, 0.0) == [Grant(1, "a")]
    assert (room.waiting, room.in_flight) == (0, 1)


def test_a_spare_pod_gets_a_request_only_when_the_others_have_no_room() -> None:
    few = replace(YES, in_flight_per_pod=2)
    room = awake(few, pod("spare", spare=True), pod("other"))
    granted = [effect for n in range(4) for effect in room.on_request(n, 10, 0.0)]
    assert granted == [Grant(0, "other"), Grant(1, "other"), Grant(2, "spare"), Grant(3, "spare")]


def test_a_wake_goes_on_only_if_somebody_still_waits() -> None:
    room = asleep()
    room.on_request(1, 10, 0.0)
    assert room.on_end(1, 0.001) == []
    assert room.on_settled(0.002) == []
    assert room.on_request(2, 10, 1.0) == [Park(2), Settle(SETTLE_SECONDS)]
    room.on_request(3, 10, 1.0)
    room.on_end(2, 1.001)
    assert room.on_settled(1.002) == [Wake(1)]


def test_a_written_wake_is_not_undone_by_news_from_before_it() -> None:
    room = asleep(replace(YES, max_replicas=1))
    room.on_request(1, 10, 0.0)
    assert room.on_written(WRITTEN, 0.01) == []
    assert room.on_deployment(0, 10, 0.02) == []
    assert room.on_deployment(0, 12, 0.03) == [Wake(1)]


def test_a_lost_race_is_success_until_the_watch_says_zero_again() -> None:
    room = asleep(replace(YES, max_replicas=1))
    room.on_request(1, 10, 0.0)
    assert room.on_written(LOST, 0.01) == []
    assert room.on_deployment(2, 11, 0.02) == []
    assert room.on_deployment(0, 12, 0.03) == [Wake(1)]


def test_a_race_lost_to_a_wake_that_is_over_already_is_tried_again() -> None:
    room = asleep(replace(YES, max_replicas=1))
    room.on_request(1, 10, 0.0)
    assert room.on_deployment(1, 11, 0.01) == []
    assert room.on_deployment(0, 12, 0.02) == []
    assert room.on_written(LOST, 0.03) == [Wake(1)]


def test_failed_writes_are_retried_with_growing_pauses() -> None:
    room = asleep(replace(YES, max_replicas=1))
    room.on_request(1, 10, 0.0)
    failed = Written(WriteOutcome.FAILED, message="no answer")
    pauses = []
    for _ in range(7):
        (effect,) = room.on_written(failed, 1.0)
        assert isinstance(effect, Settle)
        pauses.append(effect.after)
        assert room.on_settled(2.0) == [Wake(1)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, RETRY_SECONDS[1], RETRY_SECONDS[1]]


def test_a_denied_write_is_told_to_everybody() -> None:
    room = asleep(replace(YES, max_replicas=1))
    room.on_request(1, 10, 0.0)
    room.on_request(2, 10, 0.0)
    denied = Written(WriteOutcome.DENIED, message="403: may not patch")
    effects = room.on_written(denied, 0.1)
    assert refused(effects) == {1: 503, 2: 503}
    assert isinstance(effects[0], Refuse)
    assert "403: may not patch" in effects[0].refusal.message


def test_nothing_is_written_above_zero_or_before_the_deployment_is_known() -> None:
    room = Room(YES)
    assert room.on_request(1, 10, 0.0) == [Park(1)]
    assert room.on_deployment(1, 5, 0.1) == []
    assert room.on_deployment(None, None, 0.2) == []
    assert room.on_deployment(0, 7, 0.3) == [Settle(SETTLE_SECONDS)]


def test_while_readiness_is_unknown_requests_are_held_and_nothing_is_woken() -> None:
    room = asleep(UNKNOWN)
    assert room.on_request(1, 10, 0.0) == [Park(1)]
    assert room.on_terms(YES, 1.0) == [Settle(SETTLE_SECONDS)]


def test_an_endpoint_that_cannot_wake_refuses_with_its_reason() -> None:
    room = asleep(NO)
    assert room.on_request(1, 10, 0.0) == [Refuse(1, BROKEN)]


def test_the_reason_reaches_those_who_wait_already() -> None:
    room = asleep()
    room.on_request(1, 10, 0.0)
    room.on_request(2, 10, 0.0)
    assert room.on_terms(NO, 1.0) == [Refuse(1, BROKEN), Refuse(2, BROKEN)]
    assert room.on_settled(1.1) == []


def test_a_serving_pod_answers_although_another_could_not_be_woken() -> None:
    room = awake(NO)
    assert room.on_request(1, 10, 0.0) == [Grant(1, "a")]
    assert refused(room.on_pods([], 1.0)) == {}
    assert refused(room.on_request(2, 10, 2.0)) == {2: 503}


def test_a_full_room_says_by_number_and_by_bytes() -> None:
    room = asleep(replace(YES, max_waiting=2))
    room.on_request(1, 10, 0.0)
    room.on_request(2, 10, 0.0)
    assert refused(room.on_request(3, 10, 0.0)) == {3: 429}
    room = asleep(replace(YES, max_waiting_bytes=25))
    room.on_request(1, 10, 0.0)
    assert refused(room.on_request(2, 16, 0.0)) == {2: 429}
    assert refused(room.on_request(3, 15, 0.0)) == {}
    assert room.waiting_bytes == 25


def test_who_waited_too_long_is_told_what_was_missing() -> None:
    room = asleep(replace(YES, max_wait=5.0))
    room.on_request(1, 10, 0.0)
    room.on_request(2, 10, 3.0)
    assert room.next_deadline == 5.0
    assert room.on_tick(4.9) == []
    (effect,) = room.on_tick(5.0)
    assert isinstance(effect, Refuse)
    assert (effect.ticket, effect.refusal.status) == (1, 504)
    assert "5 s (queue.maxWait)" in effect.refusal.message
    assert "0 replicas" in effect.refusal.message
    assert room.next_deadline == 8.0


def test_those_who_wait_are_told_when_the_endpoint_is_deleted() -> None:
    room = asleep()
    room.on_request(1, 10, 0.0)
    assert refused(room.on_closed(removal(YES))) == {1: 404}


def test_nothing_is_asked_or_woken_for_an_endpoint_that_was_deleted() -> None:
    room = awake(YES, pod("a"), pod("b"))
    for ticket in range(4):
        room.on_request(ticket, 10, 0.0)
    room.on_unreached(0, 0.1)
    assert refused(room.on_removed(removal(YES))) == {0: 404}
    assert not any(room.wants_glance(uid) for uid in "ab")
    assert room.on_glanced("a", False, 0.2) == []
    assert refused(room.on_unreached(1, 0.3)) == {1: 404}
    assert room.on_end(2, 0.4) == []
    assert room.in_flight == 1


def test_a_wake_that_was_promised_is_not_owed_by_an_endpoint_that_was_deleted() -> None:
    room = asleep()
    assert Settle(SETTLE_SECONDS) in room.on_request(1, 10, 0.0, no_wait=True)
    assert room.on_removed(removal(YES)) == []
    assert room.on_settled(0.002) == []


def test_a_pod_with_an_address_is_probed_once_and_used_when_it_answers() -> None:
    room = asleep()
    room.on_request(1, 10, 0.0)
    assert room.on_pods([pod(address=None, ready=False)], 0.1) == []
    assert room.on_pods([pod(ready=False)], 0.2) == [Probe("a")]
    assert room.on_pods([pod(ready=False)], 0.3) == []
    assert room.wants_probe("a")
    assert room.on_probed("a", True, 0.4) == [Grant(1, "a")]
    assert not room.wants_probe("a")


def test_nobody_probes_for_nobody() -> None:
    room = asleep()
    assert room.on_pods([pod(ready=False)], 0.1) == []
    assert room.on_request(1, 10, 0.2) == [Park(1), Probe("a"), Settle(SETTLE_SECONDS)]
    room.on_end(1, 0.3)
    assert not room.wants_probe("a")
    assert room.on_probed("a", False, 0.4) == []
    assert Probe("a") in room.on_request(2, 10, 0.5)


def test_the_kubelet_is_believed_when_it_changes_its_mind() -> None:
    room = awake(YES, pod(ready=False))
    room.on_request(1, 10, 0.0)
    assert room.on_pods([pod(ready=True)], 0.1) == [Grant(1, "a")]
    assert room.on_pods([pod(ready=False)], 0.2) == []
    assert Probe("a") not in room.on_end(1, 0.3)
    assert room.on_request(2, 10, 0.4) == [Park(2)]  # the first probe has not ended yet


def test_another_process_in_the_same_pod_is_not_trusted_yet() -> None:
    room = awake()
    assert room.on_pods([pod(ready=False, incarnation=1)], 0.1) == []
    assert room.on_request(1, 10, 0.2) == [Park(1), Probe("a")]


def test_an_unreached_request_comes_back_to_its_place() -> None:
    room = awake()
    room.on_request(1, 10, 0.0)
    room.on_request(2, 10, 0.0)
    room.on_request(3, 10, 0.0)
    assert room.on_unreached(2, 0.1) == [Park(2), Probe("a")]
    assert (room.waiting, room.in_flight) == (2, 1)
    assert room.on_probed("a", True, 0.2) == [Grant(2, "a")]


def test_an_unreached_request_whose_time_is_over_is_refused() -> None:
    room = awake(replace(YES, max_wait=1.0))
    room.on_request(1, 10, 0.0)
    assert refused(room.on_unreached(1, 1.5)) == {1: 504}
    assert (room.waiting, room.in_flight) == (0, 0)


def test_the_least_busy_pod_is_chosen_and_a_leaving_one_never() -> None:
    room = awake(YES, pod("a"), pod("b"), pod("c", leaving=True))
    granted = [room.on_request(n, 10, 0.0)[0] for n in range(5)]
    uids = [g.uid for g in granted if isinstance(g, Grant)]
    assert (set(uids[:2]), set(uids[2:])) == ({"a", "b"}, {"a", "b"})
    assert granted[4] == Park(4)
