"""The way to the engines: one connection pool for probes and requests."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from functools import lru_cache

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from torpor import clock
from torpor.gateway.sockets import opener
from torpor.settings.programs import GatewaySettings

PROBE_CONNECT_SECONDS = 0.25
"""A pod whose network is not up yet is silent; asking anew is quicker than waiting for TCP's own second attempt."""
LARGE_BODY = 1024 * 1024
"""aiohttp writes larger bodies in parts, if they are handed over as a file, and so does not block others."""


@lru_cache(maxsize=4096)
def _url(address: str, path: str) -> URL:
    return URL(f"http://{address}{path}", encoded=True)


class Unreached(Exception):
    """No connection could be made: nothing of the request can have reached the engine."""


class Broke(Exception):
    """The connection ended after the request may have reached the engine; it must not be sent again."""


class Upstream:
    """Connections to engine pods."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Open the pool; must be called in the event loop that uses it."""
        self._interval = settings.probe_interval
        self._probe_timeout = aiohttp.ClientTimeout(
            total=settings.probe_timeout, sock_connect=PROBE_CONNECT_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=settings.upstream_idle_timeout,
                use_dns_cache=False,
                socket_factory=opener(settings.upstream_silence),
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def send(
        self, address: str, path: str, headers: CIMultiDict[str], body: bytes
    ) -> aiohttp.ClientResponse:
        """POST *body* and return the response once its headers are there.

        Raises:
            Unreached: there was no connection; sending it elsewhere is safe.
            Broke: there was one, and it ended without an answer.
        """
        data = body if len(body) <= LARGE_BODY else io.BytesIO(body)
        url = _url(address, path)
        try:
            return await self._session.post(url, data=data, headers=headers, allow_redirects=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreached(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Broke(str(error) or type(error).__name__) from error

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
            health = await self._get(address, "/health")
            if health is None:
                return False
            models = json.loads(await self._get(address, "/v1/models") or b"{}")
            return any(entry.get("id") == model for entry in models.get("data") or ())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError):
            return False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _get(self, address: str, path: str) -> bytes | None:
        """Return the body of a 200, or None for any other answer."""
        url = f"http://{address}{path}"
        async with self._session.get(url, timeout=self._probe_timeout) as response:
            body = await response.read()
            return body if response.status == 200 else None
