"""The public port: who connects is served until the port is closed, and nobody is silent for too long."""

from __future__ import annotations

import asyncio

from torpor.gateway.wire.clients import Complain, Connection, Dealings, Handler
from torpor.gateway.wire.crowd import Crowd

BACKLOG = 4096
"""Connections that wait to be accepted: a herd comes in one moment."""
CLOSE_SECONDS = 1.0
"""Time for what still runs to notice that its client is gone."""
SWEEP_SECONDS = 1.0
"""How often connections are looked at that have been silent for too long."""


class ClientPort:
    """One port, opened, stopped (no new connections) and closed (none at all)."""

    def __init__(
        self, handler: Handler, complain: Complain, host: str, number: int, crowd: Crowd
    ) -> None:
        """Prepare; must be called in the event loop that runs it. Several ports may have one *crowd*."""
        self._loop = asyncio.get_running_loop()
        self.connections = crowd
        self._dealings = Dealings(self._loop, handler, complain, crowd)
        self._host = host
        self._number = number
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def number(self) -> int:
        """Return the port's number, also where the system chose it."""
        if self._server is not None and self._server.sockets:
            self._number = int(self._server.sockets[0].getsockname()[1])
        return self._number

    async def open(self) -> None:
        """Begin to accept connections."""
        self._server = await self._loop.create_server(
            lambda: Connection(self._dealings), self._host, self._number, backlog=BACKLOG
        )
        self._sweep()

    async def stop(self) -> None:
        """Accept no more connections; those there are go on."""
        if self._server is not None:
            self._number = self.number
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Close every connection, whatever runs on it."""
        await self.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
        members = list(self._dealings.mine)
        tasks = [member.task for member in members if member.task is not None]
        for member in members:
            member.cut()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def _sweep(self) -> None:
        self.connections.sweep(self._loop.time(), self._dealings.mine)
        going_on = self._server is not None or self._dealings.mine
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep) if going_on else None
