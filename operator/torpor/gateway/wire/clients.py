"""One client's connection: on it one request at a time, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from torpor.domain.waitroom import Refusal
from torpor.gateway.wire.crowd import Crowd, Limits
from torpor.gateway.wire.heads import Headers
from torpor.gateway.wire.reading import RequestReader
from torpor.gateway.wire.requests import Brake, Request

log = logging.getLogger(__name__)

Answering = Coroutine[Any, Any, None]
Handler = Callable[[Request], Answering]
Complain = Callable[[Refusal], tuple[list[bytes], bytes]]
"""Gives header lines and body of an error for somebody whose request could not be read."""
REFUSED_SECONDS = 1.0
"""Time in which a connection that is one too many may say something and be told so; then it is closed."""
MOST_PIPELINED = 8
"""Requests that are read before their turn on one connection; then it is read no further."""


@dataclass(frozen=True, slots=True)
class Dealings:
    """What all connections of a port share."""

    loop: asyncio.AbstractEventLoop
    handler: Handler
    complain: Complain
    crowd: Crowd
    mine: set[Connection] = field(default_factory=set)
    """Connections of this port, also those about to be closed."""


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, port: Dealings) -> None:
        """Belong to a port."""
        self.transport: asyncio.Transport
        self.full = False
        self.brake: Brake | None = None
        self._port = port
        self._loop = port.loop
        self._reader = RequestReader(self)
        self._silent_since = self._loop.time()
        self._queue: deque[Request] = deque()
        self.task: asyncio.Task[None] | None = None
        """What handles a request now."""
        self._complaint: Refusal | None = None
        """What is said after the answers that are still due."""
        self._refusal: Refusal | None = None
        """What is said whatever is asked."""
        self._full_since = 0.0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._port.mine.add(self)
        self._port.crowd.admit(self)

    def data_received(self, data: bytes) -> None:
        """Read on; a request begins to be handled when its head is complete."""
        if self._refusal is None:
            self._reader.feed(data)
        elif not self._reader.deaf:
            self._turn_away(self._refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what runs: a client that is gone stops counting at once."""
        self._port.mine.discard(self)
        self._port.crowd.leave(self)
        self._reader.end()
        self._queue.clear()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """Brake whoever feeds the answer: the client reads too slowly."""
        self.full = True
        self._full_since = self._loop.time()
        if self.brake is not None:
            self.brake.pause()

    def resume_writing(self) -> None:
        """Let them go on."""
        self.full = False
        if self.brake is not None:
            self.brake.resume()

    # The reader's side

    def begun(self) -> None:
        """Count from now how long the head takes."""
        self._silent_since = self._loop.time()

    def take(self, request: Request) -> None:
        """Handle a request when those before it are answered."""
        self._queue.append(request)
        if self.task is None:
            self._next()
        elif len(self._queue) >= MOST_PIPELINED:
            self.hold()

    def misread(self, refusal: Refusal, coming: Request | None) -> None:
        """Say that what came cannot be read, after whatever came before it; then hang up."""
        if coming is not None:
            coming.spoil(refusal.message)
        elif self.task is not None:
            self._complaint = refusal
        else:
            self._turn_away(refusal)

    # The request's side

    def hold(self) -> None:
        """Read no more for now."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # The crowd's side

    def refuse(self, refusal: Refusal) -> None:
        """Answer whatever comes next with *refusal*; close soon if nothing comes."""
        self._refusal = refusal
        self._port.crowd.part(self)

    def cut(self) -> None:
        """Hang up at once, whatever runs."""
        self.transport.abort()

    def sweep(self, now: float, limits: Limits) -> None:
        """Hang up if it has been silent, slow or deaf for too long."""
        if self.full and now - self._full_since > limits.send:
            self.transport.abort()  # nothing of its answer is taken, and an engine waits for that
            return
        silent = now - self._silent_since
        if self.task is not None:
            return
        if self.transport.is_closing():
            if silent > limits.send:
                self.transport.abort()  # what was written last is never read
        elif self._reader.deaf:
            if silent > limits.linger:
                self.transport.abort()
        elif self._refusal is not None:
            if silent > REFUSED_SECONDS:
                self.close()
        elif self._reader.in_head and silent > limits.header:
            words = f"The headers did not arrive within {limits.header:g} s"
            self._reader.give_up(Refusal(408, "header_timeout", words))
        elif not self._reader.in_head and silent > limits.idle:
            self.close()

    def close(self) -> None:
        """Close it; what is still unsent is lost if the client does not read."""
        if self.full:
            self.transport.abort()
        else:
            self.transport.close()

    def _next(self) -> None:
        request = self._queue.popleft()
        self._port.crowd.work(self)
        self.task = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._port.handler(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
        finally:
            self.task = None
            self.brake = None
            self._served(request)

    def _served(self, request: Request) -> None:
        """Go on with the next request, or end the connection."""
        self._silent_since = self._loop.time()
        if self.transport.is_closing():
            return
        if not request.reply.ended:
            self.transport.abort()
        elif not request.complete:
            self._linger()
        elif request.reply.closes:
            self._linger() if self._queue else self.transport.close()
        elif self._queue:
            self._next()
            self.go_on()
        elif self._complaint is not None:
            self._turn_away(self._complaint)
        else:
            self._port.crowd.rest(self)

    def _turn_away(self, refusal: Refusal) -> None:
        """Answer without a request, and hang up."""
        fields, body = self._port.complain(refusal)
        reply = Request(self, "", "/", Headers(), keeps_alive=False, old=False).reply
        reply.whole(refusal.status, fields, body)
        self._linger()

    def _linger(self) -> None:
        """Let the client read its answer although it still sends: closing at once would take it away."""
        self._reader.deaf = True
        self._silent_since = self._loop.time()
        self._port.crowd.part(self)
        self.go_on()
        if not self.transport.is_closing():
            self.transport.write_eof()
