"""The internal port: an HTTP server of aiohttp's lowest level, without routing, middlewares and access log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Port:
    """One port, opened, stopped (no new connections) and closed (none at all)."""

    def __init__(self, handler: Handler, host: str, number: int, idle_timeout: float) -> None:
        """Prepare."""
        server = web.Server(handler, access_log=None, keepalive_timeout=idle_timeout)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        self._host = host
        self._number = number
        self._site: web.TCPSite | None = None

    @property
    def number(self) -> int:
        """Return the port's number, also where the system chose it."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._number

    async def open(self) -> None:
        """Begin to accept connections."""
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._host, self._number)
        await self._site.start()

    async def stop(self) -> None:
        """Accept no more connections; those there are go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self) -> None:
        """Close every connection, whatever runs on it."""
        await self._runner.cleanup()
