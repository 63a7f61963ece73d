"""The controller's own page: /healthz, /readyz and /metrics on one port."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


async def serve(
    host: str, port: int, registry: CollectorRegistry, leads: Callable[[], bool]
) -> web.AppRunner:
    """Serve until the returned runner is cleaned up. A standby is ready too: it takes over at any time."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"leader": leads()})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", alive)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
