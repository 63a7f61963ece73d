"""One request of a client, whose body may still be coming, and the answer to it."""

from __future__ import annotations

import asyncio
from typing import Protocol
from urllib.parse import unquote

from torpor.gateway.wire.heads import Dates, Headers, status_line

BUFFERED = 256 * 1024
"""Bytes of a body that may lie unread before its client has to wait."""
_BODILESS = frozenset({204, 304})
_dates = Dates()


class BadBody(Exception):
    """What came is no body: its framing is wrong."""


class Brake(Protocol):
    """Whatever can be told to send less for a while."""

    def pause(self) -> None:
        """Send nothing more for now."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class Line(Protocol):
    """The connection that a request came on, as the request sees it."""

    transport: asyncio.Transport
    full: bool
    """Whether more is waiting to be sent than should."""
    brake: Brake | None

    def hold(self) -> None:
        """Read no more for now."""
        ...

    def go_on(self) -> None:
        """Read again."""
        ...


class Request:
    """What came, and the way back; it must be answered exactly once."""

    def __init__(
        self,
        line: Line,
        method: str,
        target: str,
        headers: Headers,
        *,
        keeps_alive: bool,
        old: bool,
    ) -> None:
        """Take what its head said; *old* is HTTP/1.0."""
        self.method = method
        path, mark, query = _origin(target).partition("?")
        self.path = unquote(path) if "%" in path else path
        self.query = mark + query
        """With its question mark, as it was sent; empty if there is none."""
        self.headers = headers
        self.only: str | None = None
        """The one thing that it may mean, by the port at which it came in."""
        self.outside = False
        """Whether that port is the one for the world outside."""
        self.id = ""
        """What it is called in logs, here and at the engine."""
        said = headers.get(b"content-length")
        self.length = int(said) if said else None
        self.complete = False
        """Whether its last byte has come."""
        self.reply = Reply(line, bodiless=method == "HEAD", closes=not keeps_alive, old=old)
        self.line = line
        self._parts: list[bytes] = []
        self._buffered = 0
        self._wrong = ""
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells

    def feed(self, part: bytes) -> None:
        """Take in more of the body."""
        self._parts.append(part)
        self._buffered += len(part)
        if self._buffered > BUFFERED:
            self.line.hold()
        self._wake()

    def finish(self) -> None:
        """Take in that the body is complete."""
        self.complete = True
        self._wake()

    def spoil(self, words: str) -> None:
        """Take in that the rest of the body cannot be read."""
        self._wrong = words
        self._wake()

    # What the handler asks

    @property
    def awaits_go(self) -> bool:
        """Return whether the client sends the body only once it is told to."""
        return not self.complete and self.headers.get(b"expect").lower() == "100-continue"

    def say_go(self) -> None:
        """Tell the client to send the body."""
        self.line.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self) -> bytes:
        """Return what has come of the body since the last time, without waiting."""
        parts, self._parts = self._parts, []
        if self._buffered > BUFFERED:
            self.line.go_on()
        self._buffered = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunk(self) -> bytes:
        """Return the next part of the body, or b"" at its end.

        Raises:
            BadBody: its framing is wrong.
        """
        while not self._parts:
            if self.complete:
                return b""
            if self._wrong:
                raise BadBody(self._wrong)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.take()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None


class Reply:
    """The answer to one request: whole, or begun and written in parts.

    It does not know its request: the two would keep each other until the garbage collector stops everybody.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_line",
        "_old",
        "begun",
        "closes",
        "ended",
        "mark",
        "sent",
        "status",
    )

    def __init__(self, line: Line, *, bodiless: bool, closes: bool, old: bool) -> None:
        """Nothing is sent yet; *bodiless* is one to a HEAD, *old* one in HTTP/1.0."""
        self.begun = False
        self.ended = False
        self.closes = closes
        """Ask the client to use another connection next time, and close this one at the end."""
        self.mark = b""
        """Header lines of this answer whatever else it says."""
        self.status = 0
        """Zero until it has begun."""
        self.sent = 0
        """Bytes of the body so far, as they were before any framing."""
        self._bodiless = bodiless
        self._old = old
        self._line = line
        self._chunked = False

    def whole(self, status: int, fields: list[bytes], body: bytes) -> None:
        """Send an answer at once; *fields* are header lines with their line ends."""
        sent = b"" if self._bodiless else body
        length = b"" if status in _BODILESS else b"Content-Length: %d\r\n" % len(body)
        self._send_head(status, fields, length, sent)
        self.sent = len(sent)
        self.ended = True

    def begin(self, status: int, fields: list[bytes], length: int | None) -> None:
        """Send the head of an answer whose body follows; without a *length* it is chunked, or ends with the line."""
        how = b""
        if length is not None:
            how = b"Content-Length: %d\r\n" % length
        elif status not in _BODILESS:
            if self._old:
                self.closes = True
            else:
                self._chunked = True
                how = b"Transfer-Encoding: chunked\r\n"
        self._send_head(status, fields, how, b"")

    def write(self, data: bytes) -> None:
        """Send more of the body; whoever writes much is braked, see `brake_with`."""
        size = len(data)
        self.sent += size
        transport = self._line.transport
        if not transport.is_closing():
            transport.write(b"%x\r\n" % size + data + b"\r\n" if self._chunked else data)

    def end(self) -> None:
        """Say that the body is complete."""
        if self._chunked and not self._line.transport.is_closing():
            self._line.transport.write(b"0\r\n\r\n")
        self.ended = True

    def abort(self) -> None:
        """Cut the line: nothing else says that a body is not whole."""
        self._line.transport.abort()

    def brake_with(self, brake: Brake | None) -> None:
        """Let the client's pace brake whoever feeds this answer."""
        self._line.brake = brake
        if brake is not None and self._line.full:
            brake.pause()

    def _send_head(self, status: int, fields: list[bytes], how: bytes, body: bytes) -> None:
        self.begun, self.status = True, status
        if self.closes:
            last = b"Connection: close\r\n\r\n"
        else:
            last = b"Connection: keep-alive\r\n\r\n" if self._old else b"\r\n"
        if not self._line.transport.is_closing():
            self._line.transport.write(
                b"".join((status_line(status), *fields, self.mark, how, last, body))
            )


def date() -> bytes:
    """Return the `Date` line of an answer that is the gateway's own."""
    return _dates.line()


def _origin(target: str) -> str:
    """Return path and query of a request's target, which may be a whole URL."""
    if target.startswith("/"):
        return target
    _, mark, rest = target.partition("://")
    if not mark:
        return target
    _, slash, path = rest.partition("/")
    return slash + path if slash else "/"
