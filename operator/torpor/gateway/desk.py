"""One endpoint's desk: carries out what its waiting room decides, with futures, timers and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from torpor import clock
from torpor.api.errorcodes import ErrorCode
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
    Wake,
    WriteOutcome,
)
from torpor.gateway.catalogue import Entry
from torpor.gateway.tally import CLIENT_LEFT, Outcome, Tally, WakeTimes
from torpor.gateway.tools import Tools
from torpor.metrics import Client, UpstreamFailure

PASSES = 6
"""Passes over the event loop from a connection that waits to be accepted to its request being counted: microseconds
when nothing happens, and exactly what it takes when a herd does."""


class Place:
    """One request's place: waiting (nothing set), granted a pod, or refused."""

    __slots__ = ("address", "future", "parked_at", "refusal", "ticket", "uid", "waited")

    def __init__(self, ticket: int) -> None:
        """Start undecided."""
        self.ticket = ticket
        self.uid: str | None = None
        self.address: str | None = None
        self.refusal: Refusal | None = None
        self.future: asyncio.Future[None] | None = None
        self.parked_at = 0.0
        self.waited = 0.0
        """Seconds spent parked so far."""

    def decide(self) -> None:
        """Wake up who waits for this place."""
        if self.future is not None:
            self.waited += clock.monotonic() - self.parked_at
            if not self.future.done():
                self.future.set_result(None)
            self.future = None


class Desk:
    """The waiting room of one endpoint and everything that happens around it."""

    def __init__(self, entry: Entry, tally: Tally, tools: Tools) -> None:
        """Open the desk; what is known of the Deployment and the pods is told next."""
        self.entry = entry
        self.tally = tally
        self.room = Room(entry.terms, tools.salt)
        self._tools = tools
        self._places: dict[int, Place] = {}
        self._addresses: dict[str, str] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._waiting_seen = 0
        self._waking: WakeTimes | None = None
        self._waiting_since_ms = 0

    # Requests

    @property
    def reads_prefixes(self) -> bool:
        """Return whether it matters what a prompt begins with: there may be several pods to choose from."""
        terms = self.entry.terms
        return terms.by_prefix and (terms.max_replicas > 1 or len(self.room.pods) > 1)

    def enter(self, size: int, owner: str, prefix: int | None, no_wait: bool) -> Place:
        """Give a request with *size* bytes a place; it may be decided at once. See `Room.on_request`."""
        self.tally.total += 1
        place = Place(self._tools.next_ticket())
        self._places[place.ticket] = place
        now = clock.monotonic()
        effects = self.room.on_request(
            place.ticket, size, now, owner=owner, prefix=prefix, no_wait=no_wait
        )
        self._run(effects)
        if place.refusal is not None and place.refusal.code == ErrorCode.WOULD_WAIT.value:
            self._note_wish()
        if place.future is not None:
            self._arm(now + self.entry.terms.max_wait)
        return place

    def leave(self, place: Place) -> None:
        """End a request, whether it was answered or its client left while it waited; twice does no harm."""
        self._places.pop(place.ticket, None)
        self._off_pod(place)
        if place.waited:
            self._tools.metrics.waited(self.entry.whose, place.waited)
        self._run(self.room.on_end(place.ticket, clock.monotonic()))

    def repark(self, place: Place) -> None:
        """Take back a request whose pod could not be reached; it waits for the next decision."""
        self._tools.metrics.retried(self.entry.whose)
        self._off_pod(place)
        self._run(self.room.on_unreached(place.ticket, clock.monotonic()))
        if (deadline := self.room.next_deadline) is not None:
            self._arm(deadline)

    def note_first_byte(self, seconds: float) -> None:
        """Note that an answer has begun, so many seconds after its request was sent."""
        self._tools.metrics.first_byte(self.entry.whose, seconds)
        if self._waking is not None and self._waking.healthy_ms is not None:
            self._waking.first_byte_ms = clock.now_ms()
            self._waking = None

    def note_failure(self, reason: UpstreamFailure) -> None:
        """Count that a pod did not do what it should."""
        self._tools.metrics.upstream_failed(self.entry.whose, reason)

    def note_end(self, outcome: Outcome, client: Client, seconds: float, waited: float) -> None:
        """Count a request that has ended, for demand and metrics; so many of its seconds it *waited* for a pod."""
        tally, whose, used = self.tally, self.entry.whose, outcome.used
        metrics = self._tools.metrics
        if outcome.status < 400:
            tally.succeeded += 1
        elif outcome.status != CLIENT_LEFT:
            tally.failed += 1
        metrics.request_ended(whose, client, outcome.status, seconds, max(0.0, seconds - waited))
        if used.prompt or used.completion:
            tally.prompt_tokens += used.prompt
            tally.completion_tokens += used.completion
            tally.cached_tokens += used.cached or 0
            metrics.tokens_used(whose, client, used.prompt, used.completion, used.cached)

    # What the watches say

    def told_entry(self, entry: Entry) -> None:
        """Take in a changed spec or status."""
        self.entry = entry
        if entry.terms != self.room.terms:
            self._run(self.room.on_terms(entry.terms, clock.monotonic()))

    def told_deployment(self, replicas: int | None, version: int | None) -> None:
        """Take in the Deployment's replicas."""
        self._run(self.room.on_deployment(replicas, version, clock.monotonic()))

    def told_pods(self, facts: Iterable[PodFacts]) -> None:
        """Take in all pods of the endpoint."""
        known = list(facts)
        self._addresses = {f.uid: f.address for f in known if f.address is not None}
        if self._waking is not None and known and self._waking.pod_seen_ms is None:
            self._waking.pod_seen_ms = clock.now_ms()
        self._run(self.room.on_pods(known, clock.monotonic()))
        self._note_health()

    def close(self, refusal: Refusal) -> None:
        """Answer everybody who waits: the gateway ends."""
        self._run(self.room.on_closed(refusal))

    def remove(self, refusal: Refusal) -> None:
        """Answer everybody who waits, and forget the pods: the endpoint was deleted."""
        self._addresses = {}
        self._run(self.room.on_removed(refusal))

    # Effects

    def _run(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Grant(ticket, uid):
                    self._grant(self._places[ticket], uid)
                case Park(ticket):
                    place = self._places[ticket]
                    place.parked_at = clock.monotonic()
                    place.future = asyncio.get_running_loop().create_future()
                case Refuse(ticket, refusal):
                    place = self._places[ticket]
                    place.refusal = refusal
                    place.decide()
                case Settle(after):
                    asyncio.get_running_loop().call_later(after, self._settled, PASSES)
                case Wake(replicas):
                    self._tools.spawn(self._write(replicas))
                case Probe(uid):
                    self._tools.spawn(self._probe(uid))
                case Glance(uid, after):
                    self._tools.spawn(self._glance(uid, after))
        if self.room.waiting != self._waiting_seen:
            self._note_waiting()

    def _grant(self, place: Place, uid: str) -> None:
        place.uid, place.address = uid, self._addresses[uid]
        self.tally.begin(uid, clock.now_ms())
        place.decide()

    def _off_pod(self, place: Place) -> None:
        if place.uid is not None:
            now_ms = clock.now_ms()
            self.tally.end(place.uid, now_ms)
            self.tally.last_byte_ms = now_ms
        place.uid = place.address = None

    def _note_waiting(self) -> None:
        """Keep what the controller's idle clock needs: the last change of who waits."""
        now_ms = clock.now_ms()
        if not self._waiting_seen:
            self._waiting_since_ms = now_ms
        self._waiting_seen = self.room.waiting
        self.tally.last_byte_ms = now_ms

    def _note_wish(self) -> None:
        """Let the idle clock begin anew with a request that did not wait: it asked, and its wake begins now."""
        now_ms = clock.now_ms()
        if not self.room.waiting:
            self._waiting_since_ms = now_ms
        self.tally.last_byte_ms = now_ms

    def _note_health(self) -> None:
        times = self._waking
        if times is not None and times.healthy_ms is None and self.room.serving:
            times.healthy_ms = clock.now_ms()

    def _settled(self, passes: int) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._settled, passes - 1)
            return
        self._run(self.room.on_settled(clock.monotonic()))

    async def _write(self, replicas: int) -> None:
        entry, times = self.entry, WakeTimes(self._waiting_since_ms)
        written = await self._tools.waker.wake(entry.namespace, entry.name, replicas)
        now_ms = clock.now_ms()
        seconds = (now_ms - times.at_ms) / 1000
        self._tools.metrics.wake_written(entry.whose, written.outcome.value, seconds)
        if written.outcome is WriteOutcome.WRITTEN:
            times.patched_ms = now_ms
            self.tally.wakes.append(times)
            self._waking = times
        self._run(self.room.on_written(written, clock.monotonic()))

    async def _probe(self, uid: str) -> None:
        answered = False
        try:
            answered = await self._tools.prober.probe(
                self.entry.own_name,
                lambda: self._addresses.get(uid) if self.room.wants_probe(uid) else None,
            )
        finally:
            self._run(self.room.on_probed(uid, answered, clock.monotonic()))
            self._note_health()

    async def _glance(self, uid: str, after: float) -> None:
        await asyncio.sleep(after)
        answered, address = False, self._addresses.get(uid)
        if address is not None and self.room.wants_glance(uid):
            found = await self._tools.prober.serves(address, self.entry.own_name)
            answered = found and self._addresses.get(uid) == address
        self._run(self.room.on_glanced(uid, answered, clock.monotonic()))

    def _arm(self, deadline: float) -> None:
        """Call the room when the first patience ends; a timer that fires too early does no harm."""
        if self._tick is not None:
            if self._tick_at <= deadline:
                return
            self._tick.cancel()
        self._tick_at = deadline
        delay = max(0.001, deadline - clock.monotonic())
        self._tick = asyncio.get_running_loop().call_later(delay, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        self._run(self.room.on_tick(clock.monotonic()))
        if (deadline := self.room.next_deadline) is not None:
            self._arm(deadline)
