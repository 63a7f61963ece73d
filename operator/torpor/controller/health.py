"""The controller's own page: /healthz, /readyz and /metrics on one port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST


@dataclass(slots=True)
class State:
    """Whether this controller leads, and whether it has seen the whole cluster since."""

    leads: bool = False
    listed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def missing(self) -> str | None:
        """What keeps it from being ready. A standby is ready: it takes over at any time."""
        return "listing the cluster" if self.leads and not self.listed.is_set() else None


async def serve(
    host: str, port: int, page: Callable[[], Awaitable[bytes]], state: State
) -> web.AppRunner:
    """Serve until the returned runner is cleaned up; *page* gives the metrics in the text format."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"leader": state.leads})

    async def ready(_: web.Request) -> web.Response:
        missing = state.missing
        return web.json_response(
            {"leader": state.leads, "missing": missing}, status=503 if missing else 200
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
