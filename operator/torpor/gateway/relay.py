"""An engine's answer on its way to the client, chunk by chunk as it comes."""

from __future__ import annotations

import json

from torpor.domain.waitroom import Refusal
from torpor.gateway.asking import Ask
from torpor.gateway.openai import error_event
from torpor.gateway.replies import SSE, client_fields, send_refusal
from torpor.gateway.tally import CLIENT_LEFT, Outcome
from torpor.gateway.usage import NOTHING_USED, BodyUsage, StreamUsage
from torpor.gateway.wire.engines import Answer
from torpor.gateway.wire.requests import Request

SHORT_ANSWER = 64 * 1024
"""Answers of known length up to this are read whole: one write, and a true 502 if the engine breaks in the middle."""


def is_short(answer: Answer) -> bool:
    """Return whether an answer says that it has no more than `SHORT_ANSWER` bytes."""
    return answer.length is not None and answer.length <= SHORT_ANSWER


class Relay:
    """Passes one answer on: nothing is held back that a client could use, and nothing is sent twice."""

    def __init__(self, request: Request) -> None:
        """Answer *request*, in the stream that began early if it did."""
        self._status = CLIENT_LEFT
        self._meter: StreamUsage | BodyUsage | None = None
        self._request = request
        self._reply = request.reply
        self._streams = request.reply.begun
        """What the client gets is server-sent events."""

    @property
    def outcome(self) -> Outcome:
        """Return how it ended, with what was used until then: also of an answer that nobody read to its end."""
        return Outcome(self._status, self._meter.used if self._meter is not None else NOTHING_USED)

    async def run(self, answer: Answer, ask: Ask, waited: float) -> None:
        """Pass *answer* on to its last byte.

        Raises:
            Broke: the engine broke; `fail` tells the client.
            TimeoutError: from a time-out around this call; `fail` tells the client.
        """
        streams, reply = answer.content_type == SSE, self._reply
        if reply.begun and not (streams and answer.status == 200):
            self._explain(await answer.read(), answer.status)
            return
        if streams:
            self._streams = True
            await self._pass(answer, StreamUsage(ask.adds_usage, ask.adds_stats), None, waited)
        elif is_short(answer):
            meter = self._meter = BodyUsage()
            body = meter.feed(await answer.read())
            reply.whole(answer.status, client_fields(answer.headers, waited), body)
        else:
            await self._pass(answer, BodyUsage(), answer.length, waited)
        self._status = answer.status

    def fail(self, refusal: Refusal) -> None:
        """Tell the client as well as can be that there is no (further) answer."""
        self._status = refusal.status
        if not self._reply.begun:
            send_refusal(self._request, refusal)
        elif self._streams:
            self._reply.write(error_event(refusal))
            self._reply.end()
        else:
            self._reply.abort()

    async def _pass(
        self, answer: Answer, meter: StreamUsage | BodyUsage, length: int | None, waited: float
    ) -> None:
        """Write each part as it comes; a client that reads slowly brakes the engine."""
        reply, write = self._reply, self._reply.write
        self._meter = meter
        if not reply.begun:
            reply.begin(answer.status, client_fields(answer.headers, waited), length)
        reply.brake_with(answer)
        try:
            await answer.flow(meter.feed, write)
        finally:
            reply.brake_with(None)
        if rest := meter.finish():
            write(rest)
        reply.end()

    def _explain(self, body: bytes, status: int) -> None:
        """Put an error that the engine answered after the stream had begun into an event."""
        try:
            event = b"data: " + json.dumps(json.loads(body)).encode() + b"\n\n"
        except ValueError:
            words = f"the engine answered {status}: {body[:256].decode('utf-8', 'replace')}"
            event = error_event(Refusal(502, "engine_broke", words))
        self._reply.write(event)
        self._reply.end()
        self._status = status
