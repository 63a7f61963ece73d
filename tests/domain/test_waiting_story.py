"""The waiting room under any order of events, checked against a plain list of who waits and who is where."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from torpor.domain.activation import Room
from torpor.domain.waitroom import (
    Effect,
    Glance,
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
KEYS = ("shop", "batch", "")
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
        self.owners: dict[int, str] = {}
        self.hasty: set[int] = set()
        self.overtaken: dict[str, set[str]] = {}
        """For each key that waits, those that had a turn since it began to wait or had its own last turn."""
        self.promised_until = 0.0
        self.reparked: set[int] = set()
        self.running: dict[int, str] = {}
        self.answered: set[int] = set()
        self.writing = False
        self.settling = False
        self.probing: set[str] = set()
        self.glancing: set[str] = set()

    def waits(self, ticket: int) -> list[int]:
        """Give all who wait with the same key, in order."""
        return [t for t in self.waiting if self.owners[t] == self.owners[ticket]]

    def takes_turn(self, ticket: int) -> None:
        """Nobody before it in its own key; and no other key waits that it has overtaken already."""
        mine = self.owners[ticket]
        assert ticket == min(self.waits(ticket), default=ticket), "out of order"
        for owner in {self.owners[t] for t in self.waiting} - {mine}:
            assert mine not in self.overtaken[owner], f"{mine} had two turns and {owner} none"
            self.overtaken[owner].add(mine)
        self.overtaken[mine] = set()

    def goes(self, ticket: int) -> None:
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Park(ticket):
                    assert ticket not in self.waiting
                    if self.running.pop(ticket, None) is not None:
                        for overtaken in self.overtaken.values():
                            overtaken.discard(self.owners[ticket])  # its turn came to nothing
                    if not self.waits(ticket):
                        self.overtaken[self.owners[ticket]] = set()
                    self.waiting = sorted([*self.waiting, ticket])
                case Grant(ticket, uid):
                    self.takes_turn(ticket)
                    assert ticket not in self.answered
                    facts = self.facts[uid]
                    assert facts.address
                    assert not facts.leaving
                    self.goes(ticket)
                    self.running[ticket] = uid
                    on_it = [t for t, u in self.running.items() if u == uid]
                    assert len(on_it) <= self.terms.in_flight_per_pod
                case Refuse(ticket, refusal):
                    assert ticket not in self.answered
                    if refusal.code == "would_wait" and not self.room.replicas:
                        self.promised_until = self.now + self.terms.max_wait
                    self.goes(ticket)
                    self.answered.add(ticket)
                case Settle(after):
                    assert after > 0
                    assert not self.settling
                    self.settling = True
                case Wake(replicas):
                    assert not self.writing
                    assert self.waiting or self.now < self.promised_until
                    assert 1 <= replicas <= self.terms.max_replicas
                    assert self.terms.willing is Willing.YES
                    self.writing = True
                case Probe(uid):
                    assert self.waiting
                    assert self.facts[uid].address
                    self.probing.add(uid)
                case Glance(uid, after):
                    assert after > 0
                    assert not self.waiting
                    assert uid not in self.glancing
                    assert self.room.wants_glance(uid)
                    self.glancing.add(uid)

    @rule(
        size=st.integers(0, 50),
        owner=st.sampled_from(KEYS),
        prefix=st.none() | st.integers(0, 1 << 64),
        no_wait=st.booleans(),
    )
    def comes(self, size: int, owner: str, prefix: int | None, no_wait: bool) -> None:
        self.next += 1
        self.sizes[self.next], self.owners[self.next] = size, owner
        self.hasty |= {self.next} if no_wait else set()
        here = [t for t in (*self.waiting, *self.running) if self.owners[t] == owner]
        self.take(
            self.room.on_request(
                self.next, size, self.now, owner=owner, prefix=prefix, no_wait=no_wait
            )
        )
        if len(here) >= self.terms.key_limits.get(owner, 1000):
            assert self.next in self.answered

    @precondition(lambda self: self.waiting or self.running)
    @rule(data=st.data())
    def ends_or_leaves(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([*self.waiting, *self.running]))
        self.running.pop(ticket, None)
        self.goes(ticket)
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
        shop=st.integers(1, 5),
    )
    def terms_change(self, terms: Terms, limit: int, most: int, shop: int) -> None:
        if any(list(self.running.values()).count(u) > limit for u in self.running.values()):
            limit = YES.in_flight_per_pod + 1  # a lower limit binds new grants only
        limits = {} if shop == 5 else {"shop": shop}
        self.terms = replace(terms, in_flight_per_pod=limit, max_replicas=most, key_limits=limits)
        self.take(self.room.on_terms(self.terms, self.now))

    @rule(replicas=st.sampled_from([None, 0, 1, 3]), age=st.integers(0, 2))
    def deployment_changes(self, replicas: int | None, age: int) -> None:
        self.version += 1
        version = None if replicas is None else self.version - age
        self.take(self.room.on_deployment(replicas, version, self.now))
        if self.room.replicas:
            self.promised_until = 0.0

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

    @precondition(lambda self: self.glancing)
    @rule(answered=st.booleans())
    def glance_ends(self, answered: bool) -> None:
        self.take(self.room.on_glanced(self.glancing.pop(), answered, self.now))

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
        if outcome in (WriteOutcome.WRITTEN, WriteOutcome.RACE_LOST, WriteOutcome.DENIED):
            self.promised_until = 0.0
        self.take(self.room.on_written(Written(outcome, 1, version, "words"), self.now))

    @invariant()
    def nobody_is_lost_and_counts_are_true(self) -> None:
        assert self.room.waiting == len(self.waiting)
        assert self.room.waiting_bytes == sum(self.sizes[ticket] for ticket in self.waiting)
        assert self.room.in_flight == len(self.running)
        assert len(self.waiting) - len(self.reparked) <= YES.max_waiting
        assert all(p.in_flight >= 0 for p in self.room.pods.values())
        assert not self.hasty & set(self.waiting)
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

    @invariant()
    def no_pod_is_forgotten(self) -> None:
        """A pod that was set aside is asked again, whether anybody waits or not."""
        for uid in self.room.pods:
            if self.room.wants_glance(uid):
                assert uid in self.probing | self.glancing

    @invariant()
    def a_promise_is_kept(self) -> None:
        """Who did not wait for an endpoint at zero has it woken all the same, within the time that others wait."""
        if self.now < self.promised_until and self.terms.willing is Willing.YES:
            assert self.room.replicas != 0 or self.writing or self.settling or self.room.serving


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
