"""Many streams at once: an engine that sends tokens at a pace, clients that count what arrives.

The engine does as vLLM with `continuous_usage_stats`: each event carries the usage so far if the request asked for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

EVENT = (
    b'data: {"id":"chatcmpl-5f0c2a9b7d","object":"chat.completion.chunk","created":1795650000,"model":"llama",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]%s}\n\n'
)
USAGE = b',"usage":{"prompt_tokens":21,"total_tokens":%d,"completion_tokens":%d}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
MODELS = b'{"object":"list","data":[{"id":"@shop/llama"}]}'


class Engine(asyncio.Protocol):
    """One connection to the engine."""

    def __init__(self, streams: set[Engine]) -> None:
        """Put itself among *streams* once it is asked for one."""
        self._streams = streams
        self._got = b""
        self.tokens = 0
        self.stats = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer a probe at once, and begin a stream."""
        self._got += data
        assert self.transport is not None
        if b"\r\n\r\n" not in self._got:
            return
        if self._got.startswith(b"GET"):
            body = MODELS if b"/v1/models" in self._got else b""
            self.transport.write(HEALTHY % (len(body), body))
            self._got = b""
        elif self._got.endswith(b"}"):
            self.stats = b"continuous_usage_stats" in self._got
            self._got = b""
            self.transport.write(HEAD)
            self._streams.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Send nothing more."""
        self._streams.discard(self)

    def token(self) -> None:
        """Send one event, as a chunk of its own."""
        self.tokens += 1
        usage = USAGE % (21 + self.tokens, self.tokens) if self.stats else b""
        event = EVENT % usage
        assert self.transport is not None
        self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))

    def end(self) -> None:
        """End the stream as engines do."""
        assert self.transport is not None
        self.transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


@dataclass
class Clients:
    """What all readers together have seen."""

    bytes: int = 0
    events: int = 0
    heads: int = 0
    _open: list[asyncio.Transport] = field(default_factory=list)

    def reader(self) -> Reader:
        """Return the protocol of one more client."""
        return Reader(self)

    def opened(self, transport: asyncio.Transport) -> None:
        """Remember a connection, to hang up at the end."""
        self._open.append(transport)

    def hang_up(self) -> None:
        """Close every connection."""
        for transport in self._open:
            transport.abort()


class Reader(asyncio.Protocol):
    """A client that asks for a stream and reads it as it comes."""

    def __init__(self, clients: Clients) -> None:
        """Count for *clients*."""
        self._clients = clients
        self._begun = False
        self._last = b""
        """Half an end of an event, if the last piece ended there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        way = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._clients.opened(way)
        body = b'{"model":"llama","stream":true,"messages":[{"role":"user","content":"go"}]}'
        way.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def data_received(self, data: bytes) -> None:
        """Count what has come."""
        if not self._begun:
            self._begun = True
            self._clients.heads += data.startswith(b"HTTP/1.1 200")
        self._clients.bytes += len(data)
        self._clients.events += (self._last + data).count(b"\n\n")
        self._last = data[-1:] if not data.endswith(b"\n\n") else b""


class Pace:
    """Lets every stream of an engine have a token at a time."""

    def __init__(self) -> None:
        """Have no stream yet."""
        self.streams: set[Engine] = set()

    async def listen(self) -> asyncio.Server:
        """Open the engine's port."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Engine(self.streams), "127.0.0.1", 0, backlog=4096)

    async def run(self, per_second: int, seconds: float) -> int:
        """Give each stream so many tokens a second, spread over time; return how many were sent."""
        loop, sent = asyncio.get_running_loop(), 0
        streams = list(self.streams)
        began, count = loop.time(), round(per_second * seconds) * len(streams)
        for number in range(count):
            if number % 16 == 0:
                due = began + number / (per_second * len(streams))
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
            streams[number % len(streams)].token()
            sent += 1
        return sent
