"""Connections to engines: kept and used again, one request at a time."""

from __future__ import annotations

import asyncio
import math

from torpor.gateway.wire.engines import Answer, EngineConnection, Unreached
from torpor.gateway.wire.silence import end_when_silent

JOINED = 64 * 1024
"""A body up to this is written in one piece with its head."""
SWEEP_SECONDS = 0.25
"""How often deadlines are looked at: one timer for all requests, since two for each cost a tenth of their time."""


class EnginePool:
    """Idle connections by address, and the way to new ones."""

    def __init__(self, idle_timeout: float, silence: float) -> None:
        """Start without any; must be called in the event loop that uses it.

        Args:
            idle_timeout: Seconds for which a connection is kept without a request.
            silence: Seconds without a sign of the other side after which a connection fails.
        """
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._idle_timeout = idle_timeout
        self._idle: dict[str, list[EngineConnection]] = {}
        """The one used last at the end."""
        self._all: set[EngineConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    async def send(
        self, address: str, head: bytes, body: bytes, connect_timeout: float, timeout: float
    ) -> Answer:
        """Send a request, its *head* without the empty line and what this adds, and return the answer's beginning.

        It has *timeout* seconds, and the whole answer as long, unless it is given more.

        Raises:
            Unreached: there was no connection; sending it elsewhere is safe.
            Broke: there was one, and it ended without an answer.
            TimeoutError: no answer began in time.
        """
        deadline = self._loop.time() + timeout
        connection = self._take(address) or await self._connect(address, connect_timeout)
        head = b"%bHost: %b\r\nContent-Length: %d\r\n\r\n" % (head, address.encode(), len(body))
        message = [head + body] if len(body) <= JOINED else [head, body]
        try:
            return await connection.ask(message, deadline)
        except BaseException:
            connection.transport.abort()
            raise

    def give_back(self, connection: EngineConnection) -> None:
        """Keep a connection for the next request to its address."""
        connection.deadline = math.inf
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.address, []).append(connection)

    def drop(self, connection: EngineConnection) -> None:
        """Forget a connection that ended."""
        self._all.discard(connection)
        idle = self._idle.get(connection.address)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.address]

    async def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._all):
            connection.transport.abort()
        self._idle.clear()

    def _take(self, address: str) -> EngineConnection | None:
        """Return a connection that can be used at once: not one that an engine may just be closing."""
        idle = self._idle.get(address)
        oldest = self._loop.time() - self._idle_timeout
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                return connection
            connection.transport.abort()
        return None

    async def _connect(self, address: str, timeout: float) -> EngineConnection:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(timeout):
                _, connection = await self._loop.create_connection(
                    lambda: EngineConnection(self, address), host.strip("[]"), int(port)
                )
        except TimeoutError:
            raise Unreached(f"{address} did not answer within {timeout:g} s") from None
        except OSError as error:
            raise Unreached(str(error)) from error
        end_when_silent(connection.transport.get_extra_info("socket"), self._silence)
        self._all.add(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        return connection

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [one for one in self._all if one.deadline <= now]:
            connection.expire()
        oldest = now - self._idle_timeout
        for idle in self._idle.values():
            for connection in [one for one in idle if one.idle_since < oldest]:
                connection.transport.abort()
        again = self._loop.call_later(SWEEP_SECONDS, self._sweep) if self._all else None
        self._sweeping = again
