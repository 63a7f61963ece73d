"""One connection to an engine, and answers that are handed on as they come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from torpor.gateway.wire.heads import Headers

LONGEST_WHOLE = 1024 * 1024
"""Bytes of an answer that may be read as a whole."""


class Unreached(Exception):
    """No connection could be made: nothing of the request can have reached the engine."""


class Broke(Exception):
    """The connection ended after the request may have reached the engine; it must not be sent again."""


class Answer:
    """An engine's answer, whose body may still be coming."""

    def __init__(self, connection: EngineConnection, status: int, headers: Headers) -> None:
        """Take what its head said."""
        self.status = status
        self.headers = headers
        said = headers.get(b"content-length")
        self.length = int(said) if said and not headers.has(b"transfer-encoding") else None
        self.complete = False
        self._connection = connection
        self._parts: list[bytes] = []
        self._size = 0
        connection.sink = self._parts.append
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """Return the media type, without parameters and in lower case."""
        return self.headers.get(b"content-type").partition(";")[0].strip().lower()

    # What the connection tells

    def finish(self) -> None:
        """Take in that the body is complete."""
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Take in that there will be no more."""
        if not self.complete and self._failure is None:
            self._failure = error
            self._wake()

    # What the reader asks

    async def flow(self, look: Callable[[bytes], bytes], write: Callable[[bytes], None]) -> None:
        """Write what *look* makes of every part of the body, if it is anything, as it comes; return at its end.

        Raises:
            Broke: the engine broke off.
            TimeoutError: its deadline has passed.
            Exception: whatever one of the two raised.
        """
        for part in self._parts:
            if passed := look(part):
                write(passed)
        self._parts.clear()
        if not self.complete:  # else the connection may be another request's already
            self._connection.sink, self._connection.write = look, write
        await self._ended()

    async def read(self) -> bytes:
        """Return the whole body, up to a megabyte; it can be read again.

        Raises:
            Broke: it ended too early, or is longer.
            TimeoutError: its deadline has passed.
        """
        if not self.complete:
            self._connection.sink = self._keep
            await self._ended()
        return b"".join(self._parts)

    def give_until(self, deadline: float) -> None:
        """Let it take until *deadline* on the loop's clock; then its reader gets a TimeoutError."""
        if not self.complete:  # as in `flow`
            self._connection.deadline = deadline

    def pause(self) -> None:
        """Let the engine wait."""
        if not self.complete and not self._connection.transport.is_closing():
            self._connection.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.complete and not self._connection.transport.is_closing():
            self._connection.transport.resume_reading()

    def close(self) -> None:
        """End it; the connection serves others only if the answer was read to its end."""
        if not self.complete:
            self._connection.transport.abort()

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > LONGEST_WHOLE:
            raise Broke(f"the answer has more than {LONGEST_WHOLE} bytes")

    async def _ended(self) -> None:
        if self._failure is None and not self.complete:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        # Whatever knows this answer would keep it from being freed until the garbage collector runs.
        self._connection.sink = self._connection.write = _ignore
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pool(Protocol):
    """Whoever keeps connections."""

    def give_back(self, connection: EngineConnection) -> None:
        """Keep a connection for the next request to its address."""
        ...

    def drop(self, connection: EngineConnection) -> None:
        """Forget a connection that ended."""
        ...


class EngineConnection(asyncio.Protocol):
    """One connection to an engine, with at most one request on it."""

    def __init__(self, pool: Pool, address: str) -> None:
        """Belong to *pool*."""
        self.transport: asyncio.Transport
        self.address = address
        self.idle_since = 0.0
        self.deadline = math.inf
        """On the loop's clock, of the request on it."""
        self.sink: Callable[[bytes], bytes | None] = _ignore
        """Gets every part of a body, without a detour: that is most of what a streamed token takes."""
        self.write: Callable[[bytes], None] = _ignore
        """Gets what the sink made of it."""
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._headers = Headers()
        self._head: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._keeps_alive = False
        self._stray = False
        """Something came that nobody had asked for."""
        self._until_closed = False
        """The body ends with the connection, since its head says nothing else."""

    def ask(self, message: list[bytes], deadline: float) -> asyncio.Future[Answer]:
        """Write a request; the future has its answer once the head is there.

        It fails with Broke if the connection ends without one, and with a TimeoutError if it does not come until
        *deadline*. Whoever waits for it no longer must abort the transport.
        """
        self.deadline = deadline
        head = self._head = asyncio.get_running_loop().create_future()
        self._answer = None
        for part in message:
            self.transport.write(part)
        return head

    def expire(self) -> None:
        """End what runs, since its deadline has passed."""
        self._end(TimeoutError())
        self.transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(Broke(f"its answer is no HTTP/1.1: {error}"))
            self.transport.abort()
        if self._stray:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who still waits for an answer on it."""
        del self._parser  # it knows this connection: the two would wait for the garbage collector
        self._pool.drop(self)
        if self._answer is not None and self._until_closed and exc is None:
            self._answer.finish()
        else:
            self._end(Broke(str(exc or "the engine closed the connection")))

    # The parser's side

    def on_message_begin(self) -> None:
        """Start a head."""
        self._headers = Headers()
        self._stray = self._head is None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a field; those after the body say nothing."""
        if self._answer is None:
            self._headers.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Give the answer to who waits for it; `100 Continue` and the like are none."""
        status = self._parser.get_status_code()
        if status < 200 or self._head is None:
            return
        headers, parser = self._headers, self._parser
        self._keeps_alive = parser.should_keep_alive()
        answer = self._answer = Answer(self, status, headers)
        framed = answer.length is not None or headers.has(b"transfer-encoding")
        self._until_closed = not framed and status not in (204, 304)
        if not self._head.done():
            self._head.set_result(answer)
        self._head = None

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        try:
            if passed := self.sink(body):
                self.write(passed)
        except Exception as error:
            self._end(error)
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Say that the answer is complete, and be free for the next request."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            answer.finish()
            if self._keeps_alive and not self.transport.get_write_buffer_size():
                self._pool.give_back(self)
            else:
                self.transport.close()

    def _end(self, error: Exception) -> None:
        head, self._head = (
            self._head,
            None,
        )  # kept, it would keep the error, its frames and so this connection
        if head is not None and not head.done():
            head.set_exception(error)
        if self._answer is not None:
            self._answer.fail(error)


def _ignore(_part: bytes) -> None:
    """Take what nobody waits for: an answer that nobody asked for, or the rest of one that failed."""
