"""One request from its place in the waiting room to the last byte of its answer."""

from __future__ import annotations

import asyncio

from torpor import clock
from torpor.domain.routing import prefix_of
from torpor.domain.waitroom import Refusal
from torpor.gateway.accesslog import Visit
from torpor.gateway.asking import PROMPT_PATHS, Ask, write_body
from torpor.gateway.desk import Desk, Place
from torpor.gateway.directory import client_of, engine_name
from torpor.gateway.holding import Holding
from torpor.gateway.relay import Relay, is_short
from torpor.gateway.replies import NO_WAIT, comment, engine_fields
from torpor.gateway.tally import LEFT
from torpor.gateway.upstream import Upstream
from torpor.gateway.wire.engines import Answer, Broke, Unreached
from torpor.gateway.wire.requests import Request
from torpor.metrics import UpstreamFailure
from torpor.settings.programs import GatewaySettings

NEVER_STARTED = b"cannot schedule new futures after shutdown"
"""What a vLLM that is shutting down answers (500) to a request that it did not begin: measured on 0.32."""

STRANGERS = frozenset({404, 405})
"""What an engine of another endpoint answers, or any other server, that got the address of an engine that is gone."""


class Exchange:
    """Holds a request, sends it to a pod, relays the answer.

    It is sent again only if nothing can have been generated: the connection was refused, the engine says that it did
    not begin, or what answered is no engine of this endpoint. Then it goes back to its place in the line, until its own
    deadline. Never after the first byte.
    """

    def __init__(
        self,
        request: Request,
        ask: Ask,
        digest: bytes | None,
        holding: Holding,
        desk: Desk,
        upstream: Upstream,
        settings: GatewaySettings,
        visit: Visit | None,
    ) -> None:
        """Take all there is to know.

        *digest* is of the key that let it in: whom it counts for is settled now, whatever the spec says at its end.
        *visit* is told how it went, where there is an access log. Of the body only what the engine gets is kept:
        waiting costs its size once, and that is what *holding* counts.
        """
        entry = desk.entry
        self.outcome = LEFT
        self._request = request
        self._ask = ask
        self._holding = holding
        self._desk = desk
        self._upstream = upstream
        self._settings = settings
        self._entry = entry
        name = engine_name(entry, ask.model)
        self._client = client_of(entry, digest, name)
        self._visit = visit
        self._answered_at = 0.0
        self._prefix: int | None = None
        if desk.reads_prefixes and ask.members is not None and request.path in PROMPT_PATHS:
            self._prefix = prefix_of(name, ask.members)
        self._body = write_body(ask, name)
        ask.body, ask.members = b"", None
        holding.settle(len(self._body))
        self._fields = engine_fields(request, bool(entry.keys))

    async def run(self) -> None:
        """Answer the request, to the last byte."""
        began = clock.monotonic()
        headers = self._request.headers
        no_wait = headers.has(NO_WAIT) and headers.get(NO_WAIT).lower() == "true"
        place = self._desk.enter(len(self._body), self._client.key, self._prefix, no_wait)
        try:
            while True:
                while place.future is not None:
                    await self._hold(place.future)
                if place.refusal is not None:
                    self._fail(place.refusal)
                    return
                try:
                    await self._try(place)
                    return
                except Unreached:
                    self._desk.note_failure(UpstreamFailure.UNREACHED)
                    self._desk.repark(place)
        finally:
            self._desk.leave(place)
            seconds = clock.monotonic() - began
            self._desk.note_end(self.outcome, self._client, seconds, place.waited)
            if self._visit is not None:
                self._tell(self._visit, began, place.waited)

    async def _hold(self, decided: asyncio.Future[None]) -> None:
        """Wait for a decision; a client that reads a stream hears a comment now and then."""
        if not self._ask.streams:
            await decided
            return
        settings, began = self._settings, clock.monotonic()
        begun = self._request.reply.begun
        patience = settings.warming_every if begun else settings.warming_after
        while not (await asyncio.wait((decided,), timeout=patience))[0]:
            patience = settings.warming_every
            progress = self._desk.entry.progress
            seconds = round(clock.monotonic() - began)
            left = self._desk.room.seconds_left(clock.monotonic())
            more = f", about {left:.0f} s more" if left else ""
            words = f"torpor warming up {self._ask.model}, {seconds} s{more}: {progress}"
            comment(self._request, words)

    async def _try(self, place: Place) -> None:
        """Send the request to the pod it was granted and relay the answer.

        Raises:
            Unreached: nothing was generated; another try is safe.
        """
        entry, request, loop = self._entry, self._request, asyncio.get_running_loop()
        began, relay = loop.time(), Relay(request)
        answer: Answer | None = None
        try:
            answer = await self._upstream.send(
                place.address or "",
                request.path + request.query,
                self._fields,
                self._body,
                entry.first_byte_timeout,
            )
            if answer.status == 500 and await _never_started(answer):
                raise Unreached(NEVER_STARTED.decode())
            if answer.status in STRANGERS and not await self._is_ours(place):
                raise Unreached(f"{place.address} is not of {entry.key} any more")
            self._let_go()  # from here on nothing is ever sent again
            self._desk.note_first_byte(loop.time() - began)
            answer.give_until(began + entry.total_timeout)
            await relay.run(answer, self._ask, place.waited)
        except (Broke, TimeoutError) as error:
            relay.fail(self._blame(error, begun=answer is not None))
        finally:
            self.outcome = relay.outcome
            if answer is not None:
                answer.close()

    async def _is_ours(self, place: Place) -> bool:
        """Return whether it is an engine of this endpoint that answers there."""
        return await self._upstream.serves(place.address or "", self._entry.own_name)

    def _tell(self, visit: Visit, began: float, waited: float) -> None:
        visit.endpoint, visit.key = self._entry.key, self._client.key
        visit.status, visit.used, visit.waited = self.outcome.status, self.outcome.used, waited
        if self._answered_at:
            visit.first_byte = self._answered_at - began

    def _let_go(self) -> None:
        self._answered_at = clock.monotonic()
        self._body = b""
        self._holding.settle(0)

    def _fail(self, refusal: Refusal) -> None:
        relay = Relay(self._request)
        relay.fail(refusal)
        self.outcome = relay.outcome

    def _blame(self, error: Exception, begun: bool) -> Refusal:
        entry = self._entry
        if isinstance(error, TimeoutError):
            self._desk.note_failure(
                UpstreamFailure.TOTAL_TIMEOUT if begun else UpstreamFailure.FIRST_BYTE_TIMEOUT
            )
            missing = "end its answer" if begun else "answer"
            limit = entry.total_timeout if begun else entry.first_byte_timeout
            field = "totalTimeout" if begun else "firstByteTimeout"
            message = f"{entry.key} did not {missing} within {limit:g} s (queue.{field})"
            return Refusal(504, "engine_timeout", message)
        self._desk.note_failure(UpstreamFailure.BROKE)
        return Refusal(502, "engine_broke", f"the engine of {entry.key} broke off: {error}")


async def _never_started(answer: Answer) -> bool:
    """Return whether an engine that is shutting down says that it did not begin this request."""
    return is_short(answer) and NEVER_STARTED in await answer.read()
