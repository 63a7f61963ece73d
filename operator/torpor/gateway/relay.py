"""An engine's answer on its way to the client, chunk by chunk as it comes."""

from __future__ import annotations

import json

import aiohttp
from aiohttp import web

from torpor.domain.waitroom import Refusal
from torpor.gateway.asking import Ask
from torpor.gateway.openai import error_event
from torpor.gateway.replies import SSE, Early, client_headers, send_refusal
from torpor.gateway.requestid import ID
from torpor.gateway.tally import CLIENT_LEFT, Outcome
from torpor.gateway.upstream import Broke
from torpor.gateway.usage import NOTHING_USED, BodyUsage, StreamUsage

SHORT_ANSWER = 64 * 1024
"""Answers of known length up to this are read whole: one write, and a true 502 if the engine breaks in the middle."""


class Relay:
    """Passes one answer on: nothing is held back that a client could use, and nothing is sent twice."""

    def __init__(self, request: web.BaseRequest, early: Early | None, closing: bool) -> None:
        """Answer *request*, in the stream that began early if there is one."""
        self._status = CLIENT_LEFT
        self._meter: StreamUsage | BodyUsage | None = None
        self._request = request
        self._early = early
        self._closing = closing
        self._reply: web.StreamResponse | None = early.reply if early is not None else None

    @property
    def outcome(self) -> Outcome:
        """Return how it ended, with what was used until then: also of an answer that nobody read to its end."""
        return Outcome(self._status, self._meter.used if self._meter is not None else NOTHING_USED)

    async def run(
        self, answer: aiohttp.ClientResponse, ask: Ask, waited: float
    ) -> web.StreamResponse:
        """Pass *answer* on to its last byte.

        Raises:
            Broke: the engine broke; `fail` tells the client.
            TimeoutError: from a time-out around this call; `fail` tells the client.
            ConnectionError: the client is gone.
        """
        streams = answer.content_type == SSE
        if self._early is not None and not (streams and answer.status == 200):
            return await self._explain(await read_whole(answer), answer.status, self._early)
        headers = client_headers(answer.headers, waited, self._request[ID])
        length = answer.content_length
        meter = self._meter = (
            StreamUsage(ask.adds_usage, ask.adds_stats) if streams else BodyUsage()
        )
        if length is not None and length <= SHORT_ANSWER and not streams:
            body = meter.feed(await read_whole(answer))
            reply: web.StreamResponse = web.Response(body=body, status=answer.status)
            reply.headers.update(headers)
            await self._begin(reply)
        else:
            reply = self._reply or web.StreamResponse(status=answer.status, headers=headers)
            if length is not None and not streams:
                reply.content_length = length
            if not reply.prepared:
                await self._begin(reply)
            while chunk := await _read_some(answer):
                if passed := meter.feed(chunk):
                    await reply.write(passed)
            if rest := meter.finish():
                await reply.write(rest)
        await reply.write_eof()
        self._status = answer.status
        return reply

    async def fail(self, refusal: Refusal) -> web.StreamResponse:
        """Tell the client as well as can be that there is no (further) answer."""
        self._status = refusal.status
        reply = self._reply
        if reply is None or not reply.prepared:
            return await send_refusal(self._request, refusal, self._closing)
        if reply.content_type == SSE:
            await reply.write(error_event(refusal))
            await reply.write_eof()
        elif self._request.transport is not None:
            self._request.transport.abort()  # only a cut line says that the body is not whole
        return reply

    async def _begin(self, reply: web.StreamResponse) -> None:
        self._reply = reply
        if self._closing:
            reply.force_close()
        await reply.prepare(self._request)

    async def _explain(self, body: bytes, status: int, early: Early) -> web.StreamResponse:
        """Put an error that the engine answered after the stream had begun into an event."""
        try:
            event = b"data: " + json.dumps(json.loads(body)).encode() + b"\n\n"
        except ValueError:
            words = f"the engine answered {status}: {body[:256].decode('utf-8', 'replace')}"
            event = error_event(Refusal(502, "engine_broke", words))
        await early.reply.write(event)
        await early.reply.write_eof()
        self._status = status
        return early.reply


async def read_whole(answer: aiohttp.ClientResponse) -> bytes:
    """Return the whole body of an answer, which is kept for a second reading.

    Raises:
        Broke: it ended too early.
    """
    try:
        return await answer.read()
    except (aiohttp.ClientError, OSError) as error:
        raise Broke(str(error) or type(error).__name__) from error


async def _read_some(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise Broke(str(error) or type(error).__name__) from error
