"""One request from its place in the waiting room to the last byte of its answer."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from torpor import clock
from torpor.domain.waitroom import Refusal
from torpor.gateway.asking import Ask, write_body
from torpor.gateway.desk import Desk, Place
from torpor.gateway.directory import client_of, engine_name
from torpor.gateway.holding import Holding
from torpor.gateway.relay import SHORT_ANSWER, Relay, read_whole
from torpor.gateway.replies import Early, engine_headers
from torpor.gateway.tally import Outcome
from torpor.gateway.upstream import Broke, Unreached, Upstream
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
        request: web.BaseRequest,
        ask: Ask,
        digest: bytes | None,
        holding: Holding,
        desk: Desk,
        upstream: Upstream,
        settings: GatewaySettings,
        closing: bool,
    ) -> None:
        """Take all there is to know; *closing* asks the client to use another connection next time.

        *digest* is of the key that let it in: whom it counts for is settled now, whatever the spec says at its end.
        Of the body only what the engine gets is kept: waiting costs its size once, and that is what *holding* counts.
        """
        entry = desk.entry
        self.outcome = Outcome()
        self._request = request
        self._ask = ask
        self._holding = holding
        self._desk = desk
        self._upstream = upstream
        self._settings = settings
        self._closing = closing
        self._entry = entry
        self._early: Early | None = None
        name = engine_name(entry, ask.model)
        self._client = client_of(entry, digest, name)
        self._body = write_body(ask, name)
        ask.body, ask.members = b"", None
        holding.settle(len(self._body))
        self._headers: CIMultiDict[str] = engine_headers(request, bool(entry.keys))

    async def run(self) -> web.StreamResponse:
        """Return the response, sent to its last byte.

        Raises:
            ConnectionError: the client is gone.
        """
        began = clock.monotonic()
        place = self._desk.enter(len(self._body))
        try:
            while True:
                while place.future is not None:
                    await self._hold(place.future)
                if place.refusal is not None:
                    return await self._fail(place.refusal)
                try:
                    return await self._try(place)
                except Unreached:
                    self._desk.repark(place)
        finally:
            self._desk.leave(place)
            seconds = clock.monotonic() - began
            self._desk.note_end(self.outcome, self._client, seconds, place.waited)

    async def _hold(self, decided: asyncio.Future[None]) -> None:
        """Wait for a decision; a client that reads a stream hears a comment now and then."""
        if not self._ask.streams:
            await decided
            return
        settings, began = self._settings, clock.monotonic()
        patience = settings.warming_after if self._early is None else settings.warming_every
        while not (await asyncio.wait((decided,), timeout=patience))[0]:
            patience = settings.warming_every
            if self._early is None:
                self._early = Early(self._request, self._closing)
            progress = self._desk.entry.progress
            seconds = round(clock.monotonic() - began)
            await self._early.comment(
                f"torpor warming up {self._ask.model}, {seconds} s: {progress}"
            )

    async def _try(self, place: Place) -> web.StreamResponse:
        """Send the request to the pod it was granted and relay the answer.

        Raises:
            Unreached: nothing was generated; another try is safe.
        """
        entry, began = self._entry, asyncio.get_running_loop().time()
        relay = Relay(self._request, self._early, self._closing)
        answer: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout_at(began + entry.first_byte_timeout) as limit:
                answer = await self._upstream.send(
                    place.address or "", self._request.path_qs, self._headers, self._body
                )
                if answer.status == 500 and await _never_started(answer):
                    raise Unreached(NEVER_STARTED.decode())
                if answer.status in STRANGERS and not await self._is_ours(place):
                    raise Unreached(f"{place.address} is not of {entry.key} any more")
                self._let_go()  # from here on nothing is ever sent again
                limit.reschedule(began + entry.total_timeout)
                self._desk.note_first_byte(asyncio.get_running_loop().time() - began)
                return await relay.run(answer, self._ask, place.waited)
        except (Broke, TimeoutError) as error:
            return await relay.fail(self._blame(error, begun=answer is not None))
        finally:
            self.outcome = relay.outcome
            if answer is not None:
                answer.close()

    async def _is_ours(self, place: Place) -> bool:
        """Return whether it is an engine of this endpoint that answers there."""
        return await self._upstream.serves(place.address or "", self._entry.own_name)

    def _let_go(self) -> None:
        self._body = b""
        self._holding.settle(0)

    async def _fail(self, refusal: Refusal) -> web.StreamResponse:
        relay = Relay(self._request, self._early, self._closing)
        try:
            return await relay.fail(refusal)
        finally:
            self.outcome = relay.outcome

    def _blame(self, error: Exception, begun: bool) -> Refusal:
        entry = self._entry
        if isinstance(error, TimeoutError):
            missing = "end its answer" if begun else "answer"
            limit = entry.total_timeout if begun else entry.first_byte_timeout
            field = "totalTimeout" if begun else "firstByteTimeout"
            message = f"{entry.key} did not {missing} within {limit:g} s (queue.{field})"
            return Refusal(504, "engine_timeout", message)
        return Refusal(502, "engine_broke", f"the engine of {entry.key} broke off: {error}")


async def _never_started(answer: aiohttp.ClientResponse) -> bool:
    """Return whether an engine that is shutting down says that it did not begin this request."""
    short = answer.content_length is not None and answer.content_length <= SHORT_ANSWER
    return short and NEVER_STARTED in await read_whole(answer)
