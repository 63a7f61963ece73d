"""Clients' connections: how many there may be, and how long one may be silent, send its headers, or not read.

Everything else about HTTP is aiohttp's. Its own time-outs cover a connection without a request; what is added here are
those for half a request and for answers that nobody takes, a bound on the number, and errors in OpenAI's form.
"""

from __future__ import annotations

import asyncio
import http
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong

from torpor.domain.waitroom import Refusal
from torpor.gateway.openai import error_body
from torpor.gateway.replies import JSON

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RETRY_AFTER = 5.0
"""Seconds a client is told to stay away when there are too many connections."""
PATIENCE = 1.0
"""Seconds in which a connection that is one too many may say something and be told so, and in which one that has been
told why it ends may end by itself."""
MOST_LEAVING = 256
"""Connections that have such time at once; of more, each is closed without a word."""
LOOKED_AT = 16
"""Idle connections that are looked at to close one of them: some have just been given a request."""
LONGEST_REASON = 200
SPOKEN = (HttpVersion11, HttpVersion10)


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may do; times are in seconds."""

    idle: float
    """Without a request."""
    header: float
    """From the first byte of a request to the end of its headers."""
    linger: float
    """For the rest of a body that was answered before its end: a client that still sends must get to read why not."""
    send: float
    """Without taking anything of an answer that waits for its client."""
    most: int
    """Connections at once."""
    files: int
    """Connections and those to engines together: one that is not idle may need one."""


class Unspoken(Exception):
    """A request came in a version of HTTP in which no answer can be given."""


class Connections(web.Server):
    """A server that knows how many connections it has and which of them are idle."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        """Answer requests with *handler*; one whose client leaves is cancelled, so that it stops counting at once."""
        super().__init__(self._serve, handler_cancellation=True)
        self.limits = limits
        self.open = 0
        self.leaving = 0
        self._handler = handler
        self._idle: dict[Connection, None] = {}
        self._warned = False

    @property
    def idle(self) -> int:
        """Return how many connections have no request."""
        return len(self._idle)

    def __call__(self) -> Connection:
        """Return what speaks on a new connection."""
        return Connection(self, asyncio.get_running_loop())

    def admit(self, newcomer: Connection) -> None:
        """Count a new connection; if it is one too many, the one idle for longest goes, or else the new one."""
        self.open += 1
        self._idle[newcomer] = None
        limits, busy = self.limits, self.open - len(self._idle)
        if self.open <= limits.most and self.open + busy <= limits.files:
            return
        if not self._warned:
            self._warned = True
            log.warning("%d connections, %d of them busy: idle ones are closed", self.open, busy)
        for connection in itertools.islice(self._idle, LOOKED_AT):
            if connection is not newcomer and connection.rests:
                self._idle.pop(connection)
                connection.force_close()
                return
        newcomer.refuse(
            Refusal(
                503,
                "too_many_connections",
                f"this gateway has {self.open} connections, of which {busy} are busy: limit {limits.most}",
                retry_after=RETRY_AFTER,
            )
        )

    def part(self, connection: Connection) -> None:
        """Count a connection among those that are about to be closed."""
        self.open -= 1
        self.leaving += 1
        self._idle.pop(connection, None)

    def forget(self, connection: Connection) -> None:
        """Count a connection no longer, for it is closed."""
        if connection.leaves:
            self.leaving -= 1
        else:
            self.open -= 1
            self._idle.pop(connection, None)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self._idle.pop(connection, None)
        if request.version not in SPOKEN:
            raise Unspoken(f"HTTP/{request.version.major}.{request.version.minor}")
        try:
            return await self._handler(request)
        finally:
            if connection.transport is not None:
                self._idle[connection] = None


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_deaf", "_late", "_refusal", "_server", "_stalled", "leaves")

    def __init__(self, server: Connections, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to *server*."""
        limits = server.limits
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle,
            lingering_time=limits.linger,
            access_log=None,  # type: ignore[arg-type]
        )
        self._server = server
        self._refusal: Refusal | None = None
        self._deaf = False
        self.leaves = False
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def rests(self) -> bool:
        """Return whether it waits for a request, or for the rest of one's headers."""
        if self._waiter is None:
            return self._request_count == 0  # it has just been made
        return not self._waiter.done()

    def refuse(self, refusal: Refusal) -> None:
        """Answer whatever comes next with *refusal*; close soon if nothing comes."""
        self._refusal = refusal
        self._leave()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be counted."""
        super().connection_made(transport)
        self._server.admit(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count no longer, and leave no timer behind."""
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
        self._server.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; headers that have begun must end in time."""
        if self._deaf:
            return
        if self._refusal is not None:
            self._turn_away(self._refusal)
            return
        super().data_received(data)
        if not data or data.isspace():
            return  # aiohttp looks at what is left; a client may send empty lines between its requests
        if not self.rests:
            if self._late is not None:
                self._late.cancel()
                self._late = None
        elif self._late is None:
            self._set_late(self._server.limits.header)

    def pause_writing(self) -> None:
        """Begin to count how long the client takes nothing of what is ready for it."""
        super().pause_writing()
        self._stalled = self._loop.call_later(self._server.limits.send, self._give_up)

    def resume_writing(self) -> None:
        """Stop counting."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP with an OpenAI error object, and do not fill the log with it."""
        if isinstance(exc, Unspoken):  # aiohttp would answer in the version that it was asked in
            words = f"{exc} is not spoken here, HTTP/1.1 and HTTP/1.0 are"
            self._turn_away(Refusal(505, "http_version_not_supported", words))
            raise ConnectionError(words)
        if status != 400:
            return super().handle_error(request, status, exc, message)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        reason = " ".join((message or str(exc)).split())[:LONGEST_REASON]
        refusal = Refusal(400, "invalid_http", f"This is not a valid HTTP request: {reason}")
        if isinstance(exc, LineTooLong):
            longest = self.max_field_size
            words = f"The request's first line and each of its headers may have {longest} bytes"
            refusal = Refusal(431, "headers_too_large", words)
        reply = web.Response(body=error_body(refusal), status=refusal.status, content_type=JSON)
        reply.force_close()
        return reply

    def log_exception(self, *words: Any, **more: Any) -> None:
        """Log what is a bug, which a body that cannot be read is not: aiohttp tries it once more after its 400."""
        if not isinstance(more.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*words, **more)

    def _set_late(self, seconds: float) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self._loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._late = None
        if self.leaves:
            self.force_close()
        elif self.rests:
            words = f"The headers did not arrive within {self._server.limits.header:g} s"
            self._turn_away(Refusal(408, "header_timeout", words))

    def _turn_away(self, refusal: Refusal) -> None:
        """Answer without a request, and hang up: not at once, or what is still on its way would undo the answer."""
        if self.transport is not None:
            self.transport.write(whole_answer(refusal))
            self.transport.write_eof()
        self._deaf = True
        self._leave()

    def _leave(self) -> None:
        """Close soon."""
        if not self.leaves:
            self._server.part(self)
            self.leaves = True
        if self._server.leaving > MOST_LEAVING:
            self._give_up()
        else:
            self._set_late(PATIENCE)

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def whole_answer(refusal: Refusal) -> bytes:
    """Return a refusal as the bytes of an HTTP answer that ends its connection."""
    body = error_body(refusal)
    lines = [
        f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}",
        f"Content-Type: {JSON}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if refusal.retry_after is not None:
        lines.append(f"Retry-After: {refusal.retry_after:.0f}")
    return "\r\n".join([*lines, "", ""]).encode() + body
