"""The waiting room of one endpoint: who waits, who may go to which pod, and when to wake it.

Events in, effects out. The room never sleeps, logs or touches the network: `torpor.gateway.desk` feeds it and
carries out what it answers. Times are seconds of one monotonic clock, handed in as `now`; a ticket is a number that
grows with each request, so that the smallest ticket came first, also when it had to come back.

What happens to a new request (`on_request`); the first line that applies wins:

    1. it cannot be woken and no pod serves it      → Refuse with the endpoint's own reason
    2. its key has as many here as it may           → Refuse, 429
    3. nobody waits and a serving pod has room      → Grant
    4. it does not want to wait                     → Refuse, 503, then `_advance`: it is woken for all the same
    5. the room is full, by number or by bytes      → Refuse, 429
    6. otherwise                                    → Park, then `_advance`

What every event ends with (`_advance`):

    1. a serving pod has room                       → Grant to whose turn it is, as long as there is room
    2. it cannot be woken and no pod serves it      → Refuse everyone with the reason
    3. a pod has an address but may not serve yet   → Probe it if somebody waits; else Glance now and then at one that
                                                      served before
    4. it is known to be at zero, it may be woken, somebody waits or was promised it, and no write is under way or
       being prepared                               → Settle, or Wake at once when N cannot grow any more

The pause of `Settle` is 2 ms, so that requests already on their way count in the N of the one write. A herd that has
grown meanwhile is given pauses of 4 to 32 ms, up to 100 ms in all, and one that needs several pods ends with 32 ms in
which nobody came. Everything else waits without writing: above zero the replicas are somebody's decision.

Invariants, held by tests: a request is answered exactly once; keys take turns, and within a key the order is that of
arrival; no key has more here than its limit; a pod is never given more than its own; counts are never negative; at most
one write is under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torpor.domain.line import Line
from torpor.domain.pool import Pool
from torpor.domain.refusals import denial, fullness, haste, lateness, overuse
from torpor.domain.rousing import Rousing
from torpor.domain.waitroom import (
    Effect,
    Grant,
    Park,
    Pod,
    PodFacts,
    Refusal,
    Refuse,
    Request,
    Terms,
    Willing,
    WriteOutcome,
    Written,
)


class Room:
    """One endpoint's waiting room in one gateway; changed only by its `on_…` methods."""

    def __init__(self, terms: Terms, salt: int = 0) -> None:
        """Start empty, knowing nothing yet of the Deployment or of pods; *salt* differs between gateways."""
        self.terms = terms
        self._rousing = Rousing()
        self._pool = Pool(salt)
        self._line = Line()
        self._granted: dict[int, Request] = {}
        self._running: dict[str, int] = {}
        """Granted requests by the name of their key."""

    @property
    def replicas(self) -> int | None:
        """Return the Deployment's replicas; None while there is none, or nothing is known of it."""
        return self._rousing.replicas

    @property
    def pods(self) -> dict[str, Pod]:
        """Return all pods by uid."""
        return self._pool.pods

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._line)

    @property
    def waiting_bytes(self) -> int:
        """Return how many bytes of request bodies wait."""
        return self._line.bytes

    @property
    def in_flight(self) -> int:
        """Return how many requests were granted a pod and have not ended."""
        return len(self._granted)

    @property
    def next_deadline(self) -> float | None:
        """Return when `on_tick` is to be called next; None while nobody waits."""
        return self._line.next_deadline

    @property
    def serving(self) -> bool:
        """Return whether a pod is known to answer, with room or without."""
        return self._pool.serving

    @property
    def refusal(self) -> Refusal | None:
        """Return what a request that came now would be told for the endpoint's status; None if it is let in."""
        refusal = self.terms.refusal
        return None if refusal is None or self.serving else refusal

    def wants_probe(self, uid: str) -> bool:
        """Return whether asking this pod again is still of use."""
        pod = self.pods.get(uid)
        return pod is not None and pod.candidate and not pod.serving and self.waiting > 0

    def wants_glance(self, uid: str) -> bool:
        """Return whether looking at this pod, which could not be reached, is still of use."""
        return self._pool.wants_glance(uid)

    def seconds_left(self, now: float) -> float | None:
        """Return how long it is until a pod serves, if this wake takes as long as recent ones; None without any."""
        usual = self.terms.usual_wake
        if usual is None or self.serving:
            return None
        return max(0.0, usual - self._rousing.awake_for(now))

    def on_request(
        self,
        ticket: int,
        size: int,
        now: float,
        *,
        owner: str = "",
        prefix: int | None = None,
        no_wait: bool = False,
    ) -> list[Effect]:
        """Take in a request whose body has *size* bytes; see `Request` for the rest."""
        terms, limit = self.terms, self.terms.key_limits.get(owner)
        if (refusal := self.refusal) is not None:
            return [Refuse(ticket, refusal)]
        if limit is not None and (here := self._here(owner)) >= limit:
            return [Refuse(ticket, overuse(terms, owner, here, limit))]
        request = Request(ticket, size, now + terms.max_wait, owner, prefix, no_wait)
        if not self._line and (pod := self._choose(request)) is not None:
            return [self._grant(request, pod)]
        if no_wait:
            return [self._hurry(request, now), *self._advance(now)]
        left = self.seconds_left(now)
        full = fullness(terms, self.waiting, self.waiting_bytes, size, left)
        if full is not None:
            return [Refuse(ticket, full)]
        self._line.push(request)
        return [Park(ticket), *self._advance(now)]

    def on_end(self, ticket: int, now: float) -> list[Effect]:
        """Forget a request that was answered, or whose client left while it waited or ran; twice does no harm."""
        request = self._granted.pop(ticket, None)
        if request is None or request.pod is None:
            self._line.leave(ticket)
            return []
        self._release(request, request.pod)
        return self._advance(now) if self._line else []

    def on_unreached(self, ticket: int, now: float) -> list[Effect]:
        """Park a granted request again whose pod could not be reached, so that nothing of it was sent.

        It keeps its place and its deadline, whatever the bounds; the pod is set aside until it is found answering. One
        that does not wait goes to another pod at once, or is refused.
        """
        request = self._granted.pop(ticket, None)
        if request is None or request.pod is None:
            return []
        self._pool.set_aside(request.pod)
        self._release(request, request.pod)
        request.pod = None
        self._line.push(request, returns=True)
        effects = [Park(ticket), *self.on_tick(now), *self._advance(now)]
        if request.no_wait and self._line.leave(ticket):
            effects += [self._hurry(request, now), *self._advance(now)]
        return effects

    def on_tick(self, now: float) -> list[Effect]:
        """Refuse those who have waited for as long as they may."""
        late = self._line.take_late(now)
        if not late:
            return []
        refusal = lateness(
            self.terms,
            replicas=self.replicas,
            in_flight=self.in_flight,
            serving=self.serving,
            trouble=self._rousing.trouble,
        )
        return [Refuse(request.ticket, refusal) for request in late]

    def on_terms(self, terms: Terms, now: float) -> list[Effect]:
        """Take in what the spec or the status says now."""
        self.terms = terms
        return self._advance(now)

    def on_closed(self, refusal: Refusal) -> list[Effect]:
        """Answer everybody who waits, because waiting here has no end any more. Requests in flight finish."""
        return self._refuse_all(refusal)

    def on_removed(self, refusal: Refusal) -> list[Effect]:
        """Answer everybody so from here on, also who comes back: the endpoint is gone; nothing is woken or asked."""
        self.terms = replace(self.terms, willing=Willing.NO, refusal=refusal)
        self._pool.told(())
        return self._refuse_all(refusal)

    def on_deployment(self, replicas: int | None, version: int | None, now: float) -> list[Effect]:
        """Take in the Deployment's replicas (None: there is none); news older than the last write is dropped."""
        return self._advance(now) if self._rousing.told(replicas, version, now) else []

    def on_pods(self, seen: Iterable[PodFacts], now: float) -> list[Effect]:
        """Take in all pods of the endpoint; one that is not among them takes no more requests."""
        self._pool.told(seen)
        return self._advance(now)

    def on_probed(self, uid: str, answered: bool, now: float) -> list[Effect]:
        """Take in that probing a pod ended, because it answered or because nobody wanted it any more."""
        self._pool.probed(uid, answered)
        return self._advance(now)

    def on_glanced(self, uid: str, answered: bool, now: float) -> list[Effect]:
        """Take in whether a pod that was set aside answers again."""
        self._pool.glanced(uid, answered)
        return self._advance(now)

    def on_settled(self, now: float) -> list[Effect]:
        """Go on after the pause that `Settle` asked for: wait a little longer, or write."""
        return [*self._rousing.settled(self.terms, self.waiting, now)]

    def on_written(self, written: Written, now: float) -> list[Effect]:
        """Take in how the write ended; a failure that may pass is tried again."""
        if self._rousing.written(written, now):
            return self._advance(now)
        if written.outcome is WriteOutcome.DENIED:
            return self._refuse_all(denial(self.terms, written.message))
        return [*self._rousing.again(self.terms, self.waiting, now)]

    def _advance(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._line and (pod := self._choose(self._line.first)) is not None:
            effects.append(self._grant(self._line.pop(), pod))
        if self._line and (refusal := self.refusal) is not None:
            effects += self._refuse_all(refusal)
        if self._line:
            effects += self._pool.probes()
        else:
            effects += self._pool.glances()
        if not self.serving:
            effects += self._rousing.due(self.terms, self.waiting, now)
        return effects

    def _grant(self, request: Request, pod: Pod) -> Grant:
        request.pod = pod
        pod.in_flight += 1
        self._granted[request.ticket] = request
        self._running[request.owner] = self._running.get(request.owner, 0) + 1
        return Grant(request.ticket, pod.facts.uid)

    def _hurry(self, request: Request, now: float) -> Refuse:
        """Refuse who does not wait; a wake is owed for as long as others would wait for it."""
        self._rousing.promise(now + self.terms.max_wait)
        left = self.seconds_left(now)
        return Refuse(request.ticket, haste(self.terms, self.in_flight, self.serving, left))

    def _release(self, request: Request, pod: Pod) -> None:
        pod.in_flight -= 1
        left = self._running.pop(request.owner) - 1
        if left:
            self._running[request.owner] = left

    def _here(self, owner: str) -> int:
        """Return how many requests of a key are here, waiting and running."""
        return self._line.of(owner) + self._running.get(owner, 0)

    def _choose(self, request: Request) -> Pod | None:
        return self._pool.choose(request, self.terms.in_flight_per_pod)

    def _refuse_all(self, refusal: Refusal) -> list[Effect]:
        return [Refuse(request.ticket, refusal) for request in self._line.take_all()]
