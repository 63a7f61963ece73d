"""The internal port: health, readiness, metrics, and the demand that the controller reads. It never wakes anything."""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web

from torpor import clock
from torpor.gateway.demand import report_demand
from torpor.gateway.hall import Hall
from torpor.gateway.holding import Holdings

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Internal:
    """Answers every request on the internal port."""

    def __init__(
        self, hall: Hall, holdings: Holdings, pod_name: str, ready: Callable[[], str | None]
    ) -> None:
        """Ask *ready* for what is missing; None means that requests are welcome."""
        self.started_ms = clock.now_ms()
        self.demand_read_at: float | None = None
        self._hall = hall
        self._holdings = holdings
        self._pod_name = pod_name
        self._ready = ready

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to one request."""
        match request.path:
            case "/healthz":
                return web.Response(text="ok")
            case "/readyz":
                missing = self._ready()
                return web.Response(text=missing or "ok", status=503 if missing else 200)
            case "/metrics":
                return self._render_metrics()
            case "/internal/v1/demand":
                self.demand_read_at = clock.monotonic()
                report = report_demand(self._hall, self._pod_name, self.started_ms)
                body = json.dumps(report, separators=(",", ":"))
                return web.Response(text=body, content_type="application/json")
            case _:
                return web.Response(text="not found", status=404)

    def _render_metrics(self) -> web.Response:
        metrics = self._hall.tools.metrics
        self._hall.forget_the_gone()
        for desk in self._hall.desks.values():
            room = desk.room
            metrics.load(desk.entry.whose, room.waiting, room.in_flight, room.waiting_bytes)
        metrics.bodies(self._holdings.bytes)
        return web.Response(body=metrics.render(), headers={"Content-Type": METRICS_TYPE})
