"""The waiting room of one endpoint: who waits, who may go to which pod, and when to wake it.

Events in, effects out. The room never sleeps, logs or touches the network: `torpor.gateway.waiting` feeds it and
carries out what it answers. Times are seconds of one monotonic clock, handed in as `now`; a ticket is a number that
grows with each request, so that the smallest ticket came first, also when it had to come back.

What happens to a new request (`on_request`); the first line that applies wins:

    1. it cannot be woken and no pod serves it      → Refuse with the endpoint's own reason
    2. nobody waits and a serving pod has room      → Grant
    3. the room is full, by number or by bytes      → Refuse, 429
    4. otherwise                                    → Park, then `_advance`

What every event ends with (`_advance`):

    1. a serving pod has room                       → Grant to the first in line, as long as there is room
    2. nobody waits any more                        → nothing
    3. it cannot be woken and no pod serves it      → Refuse everyone with the reason
    4. a pod has an address but may not serve yet   → Probe it
    5. it is known to be at zero, it may be woken, and no write is under way or being prepared
                                                    → Settle, or Wake at once when N cannot grow any more

The pause of `Settle` is 2 ms, so that requests already on their way count in the N of the one write. A herd that is
still growing is given up to 100 ms. Everything else waits without writing: above zero the replicas are somebody's
decision.

Invariants, held by tests: a request is answered exactly once; the line is in order of arrival; a pod is never given
more than its limit; counts are never negative; at most one write is under way.
"""

from __future__ import annotations

from collections.abc import Iterable

from torpor.domain.line import Line
from torpor.domain.refusals import denial, fullness, lateness
from torpor.domain.waitroom import (
    Effect,
    Grant,
    Park,
    Pod,
    PodFacts,
    Probe,
    Refusal,
    Refuse,
    Request,
    Settle,
    Terms,
    Wake,
    Willing,
    WriteOutcome,
    Written,
)

SETTLE_SECONDS = 0.002
"""Pause before a write: longer than one pass over the event loop, far below the 20 ms that a wake may take."""
SETTLE_LIMIT_SECONDS = 0.1
"""Longest pause for a herd that still grows: a tenth of the quickest cold start."""
RETRY_SECONDS = (0.1, 2.0)
"""First and last pause between failed writes; doubling, and short because somebody waits."""


class Room:
    """One endpoint's waiting room in one gateway; changed only by its `on_…` methods."""

    def __init__(self, terms: Terms) -> None:
        """Start empty, knowing nothing yet of the Deployment or of pods."""
        self.terms = terms
        self.pods: dict[str, Pod] = {}
        self.replicas: int | None = None
        self.trouble = ""
        self._line = Line()
        self._granted: dict[int, Request] = {}
        self._version = self._version_before = 0
        self._writing = False
        self._settling_since: float | None = None
        self._settling_count = 0
        self._retry = RETRY_SECONDS[0]

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
        return any(pod.usable for pod in self.pods.values())

    @property
    def refusal(self) -> Refusal | None:
        """Return what a request that came now would be told for the endpoint's status; None if it is let in."""
        refusal = self.terms.refusal
        return None if refusal is None or self.serving else refusal

    def wants_probe(self, uid: str) -> bool:
        """Return whether asking this pod again is still of use."""
        pod = self.pods.get(uid)
        return pod is not None and pod.candidate and not pod.serving and self.waiting > 0

    def on_request(self, ticket: int, size: int, now: float) -> list[Effect]:
        """Take in a request whose body has *size* bytes."""
        terms = self.terms
        if (refusal := self.refusal) is not None:
            return [Refuse(ticket, refusal)]
        request = Request(ticket, size, now + terms.max_wait)
        if not self._line and (pod := self._roomiest()) is not None:
            return [self._grant(request, pod)]
        if (full := fullness(terms, self.waiting, self.waiting_bytes, size)) is not None:
            return [Refuse(ticket, full)]
        self._line.push(request)
        return [Park(ticket), *self._advance(now)]

    def on_end(self, ticket: int, now: float) -> list[Effect]:
        """Forget a request that was answered, or whose client left while it waited or ran; twice does no harm."""
        request = self._granted.pop(ticket, None)
        if request is None or request.pod is None:
            self._line.leave(ticket)
            return []
        request.pod.in_flight -= 1
        return self._advance(now) if self._line else []

    def on_unreached(self, ticket: int, now: float) -> list[Effect]:
        """Park a granted request again whose pod could not be reached, so that nothing of it was sent.

        It keeps its place and its deadline, whatever the bounds; the pod is set aside until a probe finds it
        answering.
        """
        request = self._granted.pop(ticket, None)
        if request is None or request.pod is None:
            return []
        request.pod.serving = False
        request.pod.in_flight -= 1
        request.pod = None
        self._line.push(request)
        return [Park(ticket), *self.on_tick(now), *self._advance(now)]

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
            trouble=self.trouble,
        )
        return [Refuse(request.ticket, refusal) for request in late]

    def on_terms(self, terms: Terms, now: float) -> list[Effect]:
        """Take in what the spec or the status says now."""
        self.terms = terms
        return self._advance(now)

    def on_closed(self, refusal: Refusal) -> list[Effect]:
        """Answer everybody who waits, because waiting here has no end any more. Requests in flight finish."""
        return self._refuse_all(refusal)

    def on_deployment(self, replicas: int | None, version: int | None, now: float) -> list[Effect]:
        """Take in the Deployment's replicas (None: there is none); news older than the last write is dropped."""
        if version is not None:
            if version < self._version:
                return []
            self._version = version
        self.replicas = replicas
        return self._advance(now)

    def on_pods(self, seen: Iterable[PodFacts], now: float) -> list[Effect]:
        """Take in all pods of the endpoint; one that is not among them takes no more requests.

        The kubelet's verdict counts when it changes, for it is slower than a probe: a pod that a probe found
        answering is not doubted because the kubelet has not noticed yet.
        """
        facts_by_uid = {facts.uid: facts for facts in seen}
        for uid, facts in facts_by_uid.items():
            pod = self.pods.get(uid)
            if pod is None:
                self.pods[uid] = Pod(facts, serving=facts.ready)
                continue
            if facts.verdict != pod.facts.verdict:
                pod.serving = facts.ready
            pod.facts = facts
        for uid in self.pods.keys() - facts_by_uid.keys():
            del self.pods[uid]
        return self._advance(now)

    def on_probed(self, uid: str, answered: bool, now: float) -> list[Effect]:
        """Take in that probing a pod ended, because it answered or because nobody wanted it any more."""
        pod = self.pods.get(uid)
        if pod is None:
            return []
        pod.probing = False
        pod.serving = pod.serving or answered
        return self._advance(now)

    def on_settled(self, now: float) -> list[Effect]:
        """Go on after the pause that `Settle` asked for: wait a little longer, or write."""
        since, self._settling_since = self._settling_since, None
        if since is None or not self._wakeable():
            return []
        grew = self.waiting > self._settling_count
        if grew and now - since < SETTLE_LIMIT_SECONDS and self._wanted() < self.terms.max_replicas:
            return [self._settle(SETTLE_SECONDS, since)]
        return [self._wake()]

    def on_written(self, written: Written, now: float) -> list[Effect]:
        """Take in how the write ended; a failure that may pass is tried again.

        After a lost race the replicas are taken to be one until the watch says the number; unless it has spoken since
        the write began, for then the endpoint may be at zero again already, and who waits must wake it again.
        """
        self._writing = False
        version = written.version or 0
        if written.outcome in (WriteOutcome.WRITTEN, WriteOutcome.RACE_LOST):
            if version > self._version or self._version == self._version_before:
                self.replicas = max(1, written.replicas)
            self._version = max(self._version, version)
            self.trouble, self._retry = "", RETRY_SECONDS[0]
            return self._advance(now)
        self.trouble = written.message
        if written.outcome is WriteOutcome.DENIED:
            return self._refuse_all(denial(self.terms, written.message))
        pause, self._retry = self._retry, min(2 * self._retry, RETRY_SECONDS[1])
        return [self._settle(pause, now)] if self._wakeable() else []

    def _advance(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._line and (pod := self._roomiest()) is not None:
            effects.append(self._grant(self._line.pop(), pod))
        if not self._line:
            return effects
        if (refusal := self.refusal) is not None:
            return effects + self._refuse_all(refusal)
        for uid, pod in self.pods.items():
            if pod.candidate and not pod.serving and not pod.probing:
                pod.probing = True
                effects.append(Probe(uid))
        if not self.serving and self._settling_since is None and self._wakeable():
            at_once = self._wanted() >= self.terms.max_replicas
            effects.append(self._wake() if at_once else self._settle(SETTLE_SECONDS, now))
        return effects

    def _grant(self, request: Request, pod: Pod) -> Grant:
        request.pod = pod
        pod.in_flight += 1
        self._granted[request.ticket] = request
        return Grant(request.ticket, pod.facts.uid)

    def _refuse_all(self, refusal: Refusal) -> list[Effect]:
        return [Refuse(request.ticket, refusal) for request in self._line.take_all()]

    def _roomiest(self) -> Pod | None:
        """Return the usable pod with the fewest requests in flight that has room for one more; a spare one last."""
        best: Pod | None = None
        for pod in self.pods.values():
            if not pod.usable or pod.in_flight >= self.terms.in_flight_per_pod:
                continue
            if best is None or pod.rank < best.rank:
                best = pod
        return best

    def _wakeable(self) -> bool:
        """Return whether somebody waits for an endpoint at zero that may be woken, and nobody is at it yet."""
        may = self.terms.willing is Willing.YES
        return may and self.replicas == 0 and not self._writing and self.waiting > 0

    def _wanted(self) -> int:
        """Return N: as many pods as those who wait would fill, within the endpoint's bounds."""
        needed = -(-self.waiting // self.terms.in_flight_per_pod)
        return max(1, min(needed, self.terms.max_replicas))

    def _settle(self, after: float, since: float) -> Settle:
        self._settling_since, self._settling_count = since, self.waiting
        return Settle(after)

    def _wake(self) -> Wake:
        self._writing, self._version_before = True, self._version
        return Wake(self._wanted())
