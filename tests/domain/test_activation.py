"""The waiting room as a story: events told one by one, effects compared, time a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from torpor.domain.activation import RETRY_SECONDS, SETTLE_LIMIT_SECONDS, SETTLE_SECONDS, Room
from torpor.domain.refusals import removal
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


def test_the_first_waiter_settles_and_the_write_is_sized_for_all_who_came_meanwhile() -> None:
    room = asleep()
    assert room.on_request(1, 10, 0.0) == [Park(1), Settle(SETTLE_SECONDS)]
    assert room.on_request(2, 10, 0.001) == [Park(2)]
    assert room.on_request(3, 10, 0.001) == [Park(3)]
    assert room.on_settled(0.002) == [Settle(SETTLE_SECONDS)]
    assert room.on_settled(0.004) == [Wake(2)]
    assert room.on_request(4, 10, 0.005) == [Park(4)]


def test_a_herd_that_never_stops_growing_is_written_for_after_the_limit() -> None:
    room = asleep(replace(YES, max_waiting=1000, max_replicas=1000))
    effects = room.on_request(1, 1, 0.0)
    now, ticket = 0.0, 1
    while Settle(SETTLE_SECONDS) in effects:
        now, ticket = now + SETTLE_SECONDS, ticket + 1
        room.on_request(ticket, 1, now)
        effects = room.on_settled(now)
    assert now == pytest.approx(SETTLE_LIMIT_SECONDS)
    assert effects == [Wake(-(-ticket // 2))]


def test_there_is_no_pause_where_n_cannot_grow() -> None:
    room = asleep(replace(YES, max_replicas=1))
    assert room.on_request(1, 10, 0.0) == [Park(1), Wake(1)]


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
    assert [g.uid for g in granted if isinstance(g, Grant)] == ["a", "b", "a", "b"]
    assert granted[4] == Park(4)


class Story(RuleBasedStateMachine):
    """Any order of events, checked against a plain list of who waits and who is where."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(YES)
        self.terms = YES
        self.now = 0.0
        self.next = 0
        self.version = 10
        self.facts: dict[str, PodFacts] = {}
        self.lives = dict.fromkeys("abc", 0)
        self.waiting: list[int] = []
        self.reparked: set[int] = set()
        self.running: dict[int, str] = {}
        self.answered: set[int] = set()
        self.writing = False
        self.settling = False
        self.probing: set[str] = set()

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Park(ticket):
                    assert ticket not in self.waiting
                    self.running.pop(ticket, None)
                    self.waiting = sorted([*self.waiting, ticket])
                case Grant(ticket, uid):
                    assert ticket == min(self.waiting, default=ticket), "out of order"
                    assert ticket not in self.answered
                    facts = self.facts[uid]
                    assert facts.address
                    assert not facts.leaving
                    if ticket in self.waiting:
                        self.waiting.remove(ticket)
                    self.running[ticket] = uid
                    on_it = [t for t, u in self.running.items() if u == uid]
                    assert len(on_it) <= self.terms.in_flight_per_pod
                case Refuse(ticket, _):
                    assert ticket not in self.answered
                    if ticket in self.waiting:
                        self.waiting.remove(ticket)
                    self.answered.add(ticket)
                case Settle(after):
                    assert after > 0
                    assert not self.settling
                    self.settling = True
                case Wake(replicas):
                    assert not self.writing
                    assert self.waiting
                    assert 1 <= replicas <= self.terms.max_replicas
                    assert self.terms.willing is Willing.YES
                    self.writing = True
                case Probe(uid):
                    assert self.waiting
                    assert self.facts[uid].address
                    self.probing.add(uid)

    @rule(size=st.integers(0, 50))
    def comes(self, size: int) -> None:
        self.next += 1
        self.take(self.room.on_request(self.next, size, self.now))

    @precondition(lambda self: self.waiting or self.running)
    @rule(data=st.data())
    def ends_or_leaves(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([*self.waiting, *self.running]))
        self.running.pop(ticket, None)
        if ticket in self.waiting:
            self.waiting.remove(ticket)
        self.answered.add(ticket)
        self.take(self.room.on_end(ticket, self.now))
        self.take(self.room.on_end(ticket, self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def is_not_reached(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([*self.running]))
        self.reparked.add(ticket)
        self.take(self.room.on_unreached(ticket, self.now))

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.room.on_tick(self.now))
        assert (self.room.next_deadline or self.now + 1) > self.now

    @rule(
        terms=st.sampled_from([YES, NO, UNKNOWN]),
        limit=st.integers(1, 3),
        most=st.integers(1, 4),
    )
    def terms_change(self, terms: Terms, limit: int, most: int) -> None:
        if any(list(self.running.values()).count(u) > limit for u in self.running.values()):
            limit = YES.in_flight_per_pod + 1  # a lower limit binds new grants only
        self.terms = replace(terms, in_flight_per_pod=limit, max_replicas=most)
        self.take(self.room.on_terms(self.terms, self.now))

    @rule(replicas=st.sampled_from([None, 0, 1, 3]), age=st.integers(0, 2))
    def deployment_changes(self, replicas: int | None, age: int) -> None:
        self.version += 1
        version = None if replicas is None else self.version - age
        self.take(self.room.on_deployment(replicas, version, self.now))

    @rule(
        uid=st.sampled_from("abc"),
        ready=st.booleans(),
        leaving=st.booleans(),
        address=st.sampled_from([None, "10.0.0.1:80"]),
        incarnation=st.integers(0, 1),
    )
    def pod_changes(
        self, uid: str, ready: bool, leaving: bool, address: str | None, incarnation: int
    ) -> None:
        uid += str(self.lives[uid])
        self.facts[uid] = PodFacts(uid, address, ready, leaving, incarnation)
        self.take(self.room.on_pods(self.facts.values(), self.now))

    @rule(uid=st.sampled_from("abc"))
    def pod_goes(self, uid: str) -> None:
        self.facts.pop(uid + str(self.lives[uid]), None)
        self.lives[uid] += 1  # no uid is ever used twice
        self.take(self.room.on_pods(self.facts.values(), self.now))

    @precondition(lambda self: self.probing)
    @rule(answered=st.booleans())
    def probe_ends(self, answered: bool) -> None:
        self.take(self.room.on_probed(self.probing.pop(), answered, self.now))

    @precondition(lambda self: self.settling)
    @rule()
    def settles(self) -> None:
        self.settling = False
        self.take(self.room.on_settled(self.now))

    @precondition(lambda self: self.writing)
    @rule(outcome=st.sampled_from(WriteOutcome))
    def write_ends(self, outcome: WriteOutcome) -> None:
        self.writing = False
        self.version += 1
        version = self.version if outcome is WriteOutcome.WRITTEN else None
        self.take(self.room.on_written(Written(outcome, 1, version, "words"), self.now))

    @invariant()
    def nobody_is_lost_and_counts_are_true(self) -> None:
        assert self.room.waiting == len(self.waiting)
        assert self.room.in_flight == len(self.running)
        assert len(self.waiting) - len(self.reparked) <= YES.max_waiting
        assert all(p.in_flight >= 0 for p in self.room.pods.values())
        everybody = set(self.waiting) | set(self.running) | self.answered
        assert everybody == set(range(1, self.next + 1))

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Whoever waits is being woken for, or something that is to come will wake it."""
        usable = [p for p in self.room.pods.values() if p.usable]
        if not self.waiting:
            return
        assert all(p.in_flight >= self.terms.in_flight_per_pod for p in usable)
        if not usable and self.terms.willing is Willing.YES and self.room.replicas == 0:
            assert self.writing or self.settling
        for uid, known in self.room.pods.items():
            if known.candidate and not known.serving:
                assert uid in self.probing


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
