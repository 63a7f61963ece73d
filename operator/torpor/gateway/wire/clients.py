"""One client's connection: on it one request at a time, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import httptools

from torpor.domain.waitroom import Refusal
from torpor.gateway.wire.crowd import Crowd, Limits
from torpor.gateway.wire.heads import Headers
from torpor.gateway.wire.requests import Brake, Request

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[None]]
Complain = Callable[[Refusal], tuple[list[bytes], bytes]]
"""Gives header lines and body of an error for somebody whose request could not be read."""
LONGEST_HEAD = 32 * 1024
"""Bytes of request line and header fields; a longer head is answered with 431."""
MOST_FIELDS = 128
"""Header fields of one request."""
REFUSED_SECONDS = 1.0
"""Time in which a connection that is one too many may say something and be told so; then it is closed."""
MOST_PIPELINED = 8
"""Requests that are read before their turn on one connection; then it is read no further."""
_UPGRADE = frozenset({b"upgrade"})


@dataclass(frozen=True, slots=True)
class Dealings:
    """What all connections of a port share."""

    loop: asyncio.AbstractEventLoop
    handler: Handler
    complain: Complain
    crowd: Crowd


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, port: Dealings) -> None:
        """Belong to a port."""
        self.transport: asyncio.Transport
        self.full = False
        self.brake: Brake | None = None
        self._port = port
        self._loop = port.loop
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers = Headers()
        self._head_size = 0
        self._fed = 0
        self._in_head = False
        self._silent_since = self._loop.time()
        self._coming: Request | None = None
        """The request whose body is not complete."""
        self._queue: deque[Request] = deque()
        self._current: Request | None = None
        """The request that is being handled."""
        self.task: asyncio.Task[None] | None = None
        self._again = b""
        """The head that asked for another protocol, without that wish: nothing but HTTP/1.1 is spoken here."""
        self._deaf = False
        """Whatever comes from here on is not read any more."""
        self._complaint: Refusal | None = None
        """What is said after the answers that are still due."""
        self._refusal: Refusal | None = None
        """What is said whatever is asked."""
        self._full_since = 0.0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._port.crowd.admit(self)

    def data_received(self, data: bytes) -> None:
        """Read on; a request begins to be handled when its head is complete."""
        if self._deaf:
            return
        if self._refusal is not None:
            self._turn_away(self._refusal)
            return
        self._fed += len(data)
        self._parse(data)
        if self._coming is None and self._in_head and self._fed > LONGEST_HEAD:
            self._misread(_too_large())

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what runs: a client that is gone stops counting at once."""
        self._port.crowd.leave(self)
        self._deaf = True
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

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if self._again:
                head, self._again = self._again, b""
                self._parser = httptools.HttpRequestParser(self)
                self._parse(head + data[pause.args[0] :])
                return
            self._deaf = True  # CONNECT: what follows is anything but HTTP
            last = self._queue[-1] if self._queue else self._current
            if last is not None:
                last.keeps_alive = False
        except httptools.HttpParserError as error:
            words = f"This is not a valid HTTP request: {error}"
            self._misread(Refusal(400, "invalid_http", words))

    # The parser's side

    def on_message_begin(self) -> None:
        """Start a head."""
        self._in_head = True
        self._silent_since = self._loop.time()
        self._url, self._headers, self._head_size = b"", Headers(), 0

    def on_url(self, url: bytes) -> None:
        """Take in a part of the target."""
        self._url += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a field; those after the body say nothing."""
        if self._in_head:
            self._headers.add(name, value)
            self._head_size += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._in_head = False
        if self._deaf:
            return
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            lines = self._headers.passed_on(_UPGRADE)
            self._again = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._url, b"".join(lines))
            return
        request = Request(
            self,
            method.decode("ascii"),
            self._url.decode("utf-8", "surrogateescape"),
            self._headers,
            keeps_alive=parser.should_keep_alive(),
            old=parser.get_http_version() == "1.0",
        )
        self._coming = request
        if self._head_size > LONGEST_HEAD or len(self._headers.fields) > MOST_FIELDS:
            self._misread(_too_large())
            return
        self._queue.append(request)
        if self.task is None:
            self._next()
        elif len(self._queue) >= MOST_PIPELINED:
            self.hold()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        if self._coming is not None:
            self._coming.feed(body)

    def on_message_complete(self) -> None:
        """Say that the body is complete."""
        self._fed = 0
        if self._coming is not None:
            self._coming.finish()
            self._coming = None

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
        elif self._deaf:
            if silent > limits.linger:
                self.transport.abort()
        elif self._refusal is not None:
            if silent > REFUSED_SECONDS:
                self.close()
        elif self._in_head and silent > limits.header:
            words = f"The headers did not arrive within {limits.header:g} s"
            self._misread(Refusal(408, "header_timeout", words))
        elif not self._in_head and silent > limits.idle:
            self.close()

    def close(self) -> None:
        """Close it; what is still unsent is lost if the client does not read."""
        if self.full:
            self.transport.abort()
        else:
            self.transport.close()

    def _next(self) -> None:
        request = self._current = self._queue.popleft()
        self._port.crowd.work(self)
        self.task = self._loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._port.handler(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
        finally:
            self.task = None
            self._current = None
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
        elif request.reply.closes or not request.keeps_alive:
            self._linger() if self._queue else self.transport.close()
        elif self._queue:
            self._next()
            self.go_on()
        elif self._complaint is not None:
            self._turn_away(self._complaint)
        else:
            self._port.crowd.rest(self)

    def _misread(self, refusal: Refusal) -> None:
        """Say that what came cannot be read, after whatever came before it; then hang up."""
        coming, self._coming = self._coming, None
        self._deaf = True
        if coming is not None and (coming is self._current or coming in self._queue):
            coming.spoil(refusal.message)
        elif self.task is not None:
            self._complaint = refusal
        else:
            self._turn_away(refusal)

    def _turn_away(self, refusal: Refusal) -> None:
        """Answer without a request, and hang up."""
        fields, body = self._port.complain(refusal)
        reply = Request(self, "", "/", Headers(), keeps_alive=False, old=False).reply
        reply.whole(refusal.status, fields, body)
        self._linger()

    def _linger(self) -> None:
        """Let the client read its answer although it still sends: closing at once would take it away."""
        self._deaf = True
        self._silent_since = self._loop.time()
        self._port.crowd.part(self)
        self.go_on()
        if not self.transport.is_closing():
            self.transport.write_eof()


def _too_large() -> Refusal:
    words = f"The request's first line and headers may have {LONGEST_HEAD} bytes and {MOST_FIELDS} fields"
    return Refusal(431, "headers_too_large", words)
