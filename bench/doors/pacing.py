"""A load of so many requests a second, whatever the answers take, and how long each took from when it was due.

A request that is due while all connections are busy waits for one, and that time is counted too: a load that slows down
with what it measures would not see its pauses (coordinated omission). uvloop's own clock stands still between two
passes of the loop and has whole milliseconds; so it is not the one that measures.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import cast

CONNECTIONS = 64
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """A connection that sends one prepared request at a time and waits for its whole answer."""

    def __init__(self, load: Load) -> None:
        """Belong to *load*."""
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free from now on."""
        self._transport = cast(asyncio.Transport, transport)
        self._load.free.append(self)

    def send(self, due: float) -> None:
        """Send the request that was due then."""
        self._due = due
        self._got.clear()
        assert self._transport is not None
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        """Take in a part of the answer."""
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._got, 0, head + 2)
        if length is None or len(self._got) >= head + 4 + int(length.group(1)):
            self._load.answered(self, self._due, ok=self._got.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was lost with it."""
        self._load.lost += 1

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Load:
    """Sends the same request at fixed instants over a few connections."""

    def __init__(self, port: int, body: bytes) -> None:
        """Ask for a chat completion at *port* of 127.0.0.1."""
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.request = head.encode() + body
        self.free: deque[Connection] = deque()
        self.seconds: list[float] = []
        self.failed = 0
        self.lost = 0
        self._port = port
        self._late: deque[float] = deque()
        self._all: list[Connection] = []
        self._loop = asyncio.get_running_loop()

    def answered(self, connection: Connection, due: float, *, ok: bool) -> None:
        """Note an answer, and use its connection for whoever waits."""
        self.seconds.append(time.perf_counter() - due)
        self.failed += not ok
        if self._late:
            connection.send(self._late.popleft())
        else:
            self.free.append(connection)

    async def run(self, rate: int, seconds: float) -> None:
        """Send *rate* requests a second for so many seconds, and wait for the last answers."""
        for _ in range(CONNECTIONS):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self._port
            )
            self._all.append(connection)
        began, count = time.perf_counter(), round(rate * seconds)
        for number in range(count):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if self.free:
                self.free.popleft().send(due)
            else:
                self._late.append(due)
        deadline = time.perf_counter() + 10
        while len(self.seconds) < count and time.perf_counter() < deadline:
            await asyncio.sleep(0.01)
        self.failed += count - len(self.seconds)
        lost = self.lost
        for connection in self._all:
            connection.close()
        self.lost = lost
