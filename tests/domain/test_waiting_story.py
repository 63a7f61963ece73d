"""The waiting room under any order of events, checked against a plain list of who waits and who is where."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from torpor.domain.activation import Room
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
        self.sizes: dict[int, int] = {}
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
        self.sizes[self.next] = size
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
        assert self.room.waiting_bytes == sum(self.sizes[ticket] for ticket in self.waiting)
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
