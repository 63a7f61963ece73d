"""The way to the engines: one connection pool for probes and requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from torpor import clock
from torpor.gateway.wire.engines import Answer, Broke, Unreached
from torpor.gateway.wire.pool import EnginePool
from torpor.settings.programs import GatewaySettings

PROBE_CONNECT_SECONDS = 0.25
"""A pod whose network is not up yet is silent; asking anew is quicker than waiting for TCP's own second attempt."""


class Upstream:
    """Connections to engine pods."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Open the pool; must be called in the event loop that uses it."""
        self._interval = settings.probe_interval
        self._probe_timeout = settings.probe_timeout
        self._connect_timeout = settings.connect_timeout
        self._pool = EnginePool(settings.upstream_idle_timeout, settings.upstream_silence)

    def send(
        self, address: str, target: str, fields: bytes, body: bytes, timeout: float
    ) -> Coroutine[Any, Any, Answer]:
        """POST *body* with the header lines *fields* and return the answer once its head is there.

        Raises:
            Unreached: there was no connection; sending it elsewhere is safe.
            Broke: there was one, and it ended without an answer.
            TimeoutError: no answer began within *timeout* seconds.
        """
        head = b"POST %b HTTP/1.1\r\n%b" % (target.encode("utf-8", "surrogateescape"), fields)
        return self._pool.send(address, head, body, self._connect_timeout, timeout)

    async def probe(self, model: str, where: Callable[[], str | None]) -> bool:
        """Ask at the address that *where* gives until it serves *model*, or until *where* gives None.

        The connection that found it answering stays in the pool, so that the first request need not connect.
        """
        while (address := where()) is not None:
            began = clock.monotonic()
            if await self.serves(address, model):
                return where() == address
            await asyncio.sleep(max(0.0, self._interval - (clock.monotonic() - began)))
        return False

    async def serves(self, address: str, model: str) -> bool:
        """Return whether what answers at *address* is healthy and lists *model*."""
        try:
            if await self._get(address, "/health") is None:
                return False
            models = json.loads(await self._get(address, "/v1/models") or b"{}")
            return any(entry.get("id") == model for entry in models.get("data") or ())
        except (Unreached, Broke, TimeoutError, ValueError, AttributeError):
            return False

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _get(self, address: str, path: str) -> bytes | None:
        """Return the body of a 200, or None for any other answer."""
        head = f"GET {path} HTTP/1.1\r\nAccept-Encoding: identity\r\n".encode()
        timeout = self._probe_timeout
        answer = await self._pool.send(address, head, b"", PROBE_CONNECT_SECONDS, timeout)
        try:
            body = await answer.read()
            return body if answer.status == 200 else None
        finally:
            answer.close()
