"""HTTP/1.1 for one asyncio program: what an engine's API needs of it, and nothing else.

A connection that ends, or whose peer stops sending for good, cancels the handler at work on it:
this is how an engine learns that a client has left.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

HEAD_LIMIT = 64 * 1024
"""Longest request line and headers, in bytes."""

KEEP_ALIVE_SECONDS = 5.0
"""An idle connection is closed after this long (vLLM: VLLM_HTTP_TIMEOUT_KEEP_ALIVE, 5 s)."""

BODY_LIMIT = 256 * 1024 * 1024
"""Longest request body, in bytes."""


@dataclass(frozen=True)
class Request:
    """A request, read whole. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A response: a body of known length, or `stream`, sent in chunks as they come."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes, None] | None = None


Handler = Callable[[Request], Awaitable[Answer]]


class BrokenRequestError(Exception):
    """The bytes are no HTTP request; the connection is answered 400 and closed."""


def json_answer(value: Any, status: int = 200) -> Answer:
    """An answer with `value` as compact JSON, as vLLM's server writes it."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, body, "application/json")


async def _read_head(
    reader: asyncio.StreamReader, patience: float | None
) -> tuple[str, str, dict[str, str]] | None:
    try:
        async with asyncio.timeout(patience):
            head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        return None
    except asyncio.LimitOverrunError as error:
        raise BrokenRequestError("the header is too long") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BrokenRequestError("Invalid HTTP request received.")
    headers: dict[str, str] = {":version": words[2]}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BrokenRequestError("Invalid HTTP request received.")
        headers[name.strip().lower()] = value.strip()
    return words[0], words[1].split("?", 1)[0], headers


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        size = int((await reader.readline()).split(b";", 1)[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return b"".join(parts)
        total += size
        if total > BODY_LIMIT:
            raise BrokenRequestError("the body is too long")
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


async def _read_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]
) -> bytes:
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await _read_chunked(reader)
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise BrokenRequestError("Invalid HTTP request received.") from error
    if not 0 <= length <= BODY_LIMIT:
        raise BrokenRequestError("the body is too long")
    return await reader.readexactly(length)


async def _write_answer(
    writer: asyncio.StreamWriter, answer: Answer, *, close: bool, bodiless: bool = False
) -> None:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"date: {formatdate(usegmt=True)}", "server: uvicorn"]
    if answer.content_type:
        lines.append(f"content-type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if close:
        lines.append("connection: close")
    if answer.stream is None:
        lines.append(f"content-length: {len(answer.body)}")
        body = b"" if bodiless else answer.body
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await writer.drain()
        return
    lines.append("transfer-encoding: chunked")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    async with aclosing(
        answer.stream
    ) as pieces:  # also when the client is gone: its slot is free then
        async for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


class _Connection(asyncio.StreamReaderProtocol):
    """A connection whose end, in either direction, cancels the task that serves it."""

    def __init__(self, handler: Handler, listener: "Listener") -> None:
        loop = asyncio.get_running_loop()
        self._incoming = asyncio.StreamReader(limit=HEAD_LIMIT, loop=loop)
        super().__init__(self._incoming, loop=loop)
        self._handler = handler
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        loop = asyncio.get_running_loop()
        writer = asyncio.StreamWriter(transport, self, self._incoming, loop)
        self._serving = loop.create_task(self._serve(self._incoming, writer))
        self._listener.connections.add(self._serving)
        self._serving.add_done_callback(self._listener.connections.discard)

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        patience: float | None = None
        try:
            while await self._serve_one(reader, writer, patience):
                patience = KEEP_ALIVE_SECONDS
        except BrokenRequestError as error:
            await _write_answer(
                writer, Answer(400, str(error).encode(), "text/plain; charset=utf-8"), close=True
            )
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float | None
    ) -> bool:
        head = await _read_head(reader, patience)
        if head is None:
            return False
        method, path, headers = head
        self._listener.busy += 1
        try:
            body = await _read_body(reader, writer, headers)
            answer = await self._handler(Request(method, path, headers, body))
            wanted = headers.get("connection", "").lower()
            close = self._listener.closed or wanted == "close"
            close = close or (headers[":version"] == "HTTP/1.0" and wanted != "keep-alive")
            await _write_answer(writer, answer, close=close, bodiless=method == "HEAD")
        finally:
            self._listener.busy -= 1
        return not close


class Listener:
    """A listening socket and the connections it has accepted."""

    def __init__(self) -> None:
        self.connections: set[asyncio.Task[None]] = set()
        self.busy = 0
        self.closed = False
        self._server: asyncio.Server | None = None

    async def open(self, handler: Handler, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses when `port` is 0.

        As with vLLM, `::` takes IPv4 too where the system does not forbid it.
        """
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        own = socket.socket(family, socket.SOCK_STREAM)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((host, port))
        self._server = await loop.create_server(
            lambda: _Connection(handler, self), sock=own, backlog=2048
        )
        number: int = own.getsockname()[1]
        return number

    def close(self) -> None:
        """Refuse new connections; an answer that has begun goes on."""
        self.closed = True
        if self._server is not None:
            self._server.close()
