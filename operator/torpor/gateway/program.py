"""`torpor gateway`: put together from its settings, run, and ended without losing a request."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable

import uvloop

from torpor import clock
from torpor.cluster.connect import Api, connect
from torpor.cluster.reading import Reader
from torpor.cluster.waking import Waker
from torpor.cluster.watching import Watching
from torpor.collecting import collect_seldom
from torpor.domain.routing import seed_of
from torpor.gateway.accesslog import AccessLog
from torpor.gateway.confirming import Confirmer
from torpor.gateway.descriptors import files_for_connections, open_to_the_limit
from torpor.gateway.door import Door
from torpor.gateway.hall import Hall
from torpor.gateway.internal import Internal
from torpor.gateway.listening import Port
from torpor.gateway.sidedoors import SideDoors
from torpor.gateway.tools import Tools
from torpor.gateway.upstream import Upstream
from torpor.gateway.wire.clients import Handler
from torpor.gateway.wire.crowd import Crowd, Limits
from torpor.gateway.wire.port import ClientPort
from torpor.manifests.names import COMPONENT_ENGINE, COMPONENT_LABEL, ENDPOINTS, GROUP, VERSION
from torpor.metrics import GatewayMetrics, PrometheusGatewayMetrics
from torpor.settings.programs import GatewaySettings

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 0.5
"""Time to tell those who still wait when the grace period is over."""
READ_SECONDS = 1.0
"""Time for the API server to say whether an endpoint still refuses; without an answer, what was told last counts."""
LINGER_SECONDS = 5.0
"""Longest time to read on from a client that has its refusal already."""
POLL_SECONDS = 0.05
"""How often a draining gateway looks whether its last request has ended."""


class Gateway:
    """Two ports, three watches, and what lies between them."""

    def __init__(self, api: Api, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        """Put it together; must be called in the event loop that runs it."""
        self._api = api
        self._settings = settings
        self._upstream = Upstream(settings)
        waker, salt = Waker(api, settings.wake_timeout), seed_of(settings.pod_name)
        self._tools = Tools(waker, self._upstream, metrics, salt)
        self._hall = Hall(self._tools)
        confirmer = Confirmer(self._hall, Reader(api, READ_SECONDS))
        self._access_log = AccessLog(_write_out) if settings.access_log else None
        self._door = Door(self._hall, confirmer, self._upstream, settings, self._access_log)
        self._crowd = Crowd(_limits(settings))
        self._side_doors = SideDoors(self._side_port)
        self._hall.told, self._hall.doors = self._side_doors.told, lambda: self._side_doors.numbers
        self._internal = Internal(self._hall, self._door.holdings, settings.pod_name, self._missing)
        engines = f"{COMPONENT_LABEL}={COMPONENT_ENGINE}"
        hall = self._hall
        self._watchings = {
            "endpoints": Watching(api, f"/apis/{GROUP}/{VERSION}/{ENDPOINTS}", hall.endpoints),
            "deployments": Watching(api, "/apis/apps/v1/deployments", hall.deployments, engines),
            "pods": Watching(api, "/api/v1/pods", hall.pods, engines),
        }
        self._watches: list[asyncio.Task[None]] = []
        self._public_port = self._port(self._door.handle, settings.port)
        outside = settings.external_port
        self._external_port = None if outside is None else self._port(self._door.outside, outside)
        self._internal_port = Port(
            self._internal.handle, settings.host, settings.internal_port, settings.idle_timeout
        )

    @property
    def port(self) -> int:
        """Return the public port, also where the settings left the choice to the system."""
        return self._public_port.number

    @property
    def external_port(self) -> int | None:
        """Return the port for the world outside the cluster; None if there is none."""
        return None if self._external_port is None else self._external_port.number

    @property
    def internal_port(self) -> int:
        """Return the internal port."""
        return self._internal_port.number

    @property
    def draining(self) -> bool:
        """Return whether it is about to end."""
        return self._door.closing

    async def start(self) -> None:
        """Open both ports and begin to watch; requests before the first lists are held back by readiness only."""
        await self._internal_port.open()
        for port in self._client_ports():
            await port.open()
        self._watches = [asyncio.create_task(w.run()) for w in self._watchings.values()]
        self._watches.append(asyncio.create_task(self._side_doors.run()))

    async def run(self, stop: asyncio.Event) -> None:
        """Return when asked to stop; a watch that fails for good is a bug and ends the program.

        Raises:
            Exception: whatever ended a watch.
        """
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *self._watches], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in done - {stopped}:
            task.result()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let everything end that has begun, within the grace period or until *hurry* is set.

        Readiness fails at once and answers ask their clients to close; the port stays open until every load balancer
        has noticed. The controller may read the last demand report, for it carries the end of the last request.
        """
        self._door.closing = True
        log.info("draining: %d requests wait or run", self._door.active)
        await _until(lambda: False, self._settings.drain_delay, hurry)
        for port in self._client_ports():
            await port.stop()
        await self._side_doors.stop()
        await _until(lambda: not self._door.active, self._settings.drain_grace, hurry)
        if self._door.active:
            log.warning("%d requests did not end in time", self._door.active)
            self._hall.end_waiting()
            await _until(lambda: not self._door.active, LAST_WORDS_SECONDS, hurry)
        ended = clock.monotonic()
        internal = self._internal
        if internal.demand_read_at is not None:
            await _until(
                lambda: (internal.demand_read_at or 0) > ended, self._settings.farewell, hurry
            )

    async def close(self) -> None:
        """End everything now."""
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for port in self._client_ports():
            await port.close()
        await self._side_doors.close()
        await self._internal_port.close()
        if self._access_log is not None:
            await self._access_log.close()
        await self._tools.close()
        await self._upstream.close()
        await self._api.close()

    def _port(self, handler: Handler, number: int) -> ClientPort:
        return ClientPort(handler, self._door.complain, self._settings.host, number, self._crowd)

    def _client_ports(self) -> list[ClientPort]:
        ports = (self._public_port, self._external_port)
        return [port for port in ports if port is not None]

    def _side_port(self, key: str, number: int) -> ClientPort:
        return self._port(self._door.beside(key), number)

    def _missing(self) -> str | None:
        """Return why no requests should be sent here, or None."""
        if self._door.closing:
            return "draining"
        late = [name for name, w in self._watchings.items() if not w.synced.is_set()]
        return f"waiting for the first list of {', '.join(late)}" if late else None


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT and return the exit status; a second signal ends the grace period."""
    parser = argparse.ArgumentParser(
        "torpor gateway",
        description="Answers OpenAI requests for endpoints that sleep. Configured by TORPOR_GATEWAY_*.",
    )
    parser.parse_args(argv)
    settings = GatewaySettings()
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    open_to_the_limit()
    collect_seldom()
    if (files := files_for_connections()) < 2 * settings.max_connections:
        log.warning(
            "%d sockets may be open, fewer than two for each of %d connections (max_connections)",
            files,
            settings.max_connections,
        )
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: GatewaySettings) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    api = await connect(settings.kubeconfig, settings.kube_context)
    gateway = Gateway(api, settings, PrometheusGatewayMetrics())
    try:
        await gateway.start()
        log.info("listening on %d, internal on %d", gateway.port, gateway.internal_port)
        await gateway.run(stop)
        await gateway.drain(hurry)
    finally:
        await gateway.close()


def _limits(settings: GatewaySettings) -> Limits:
    return Limits(
        idle=settings.idle_timeout,
        header=settings.header_timeout,
        linger=min(LINGER_SECONDS, settings.body_timeout),
        send=settings.send_timeout,
        most=settings.max_connections,
        files=files_for_connections(),
    )


def _write_out(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


async def _until(done: Callable[[], bool], seconds: float, hurry: asyncio.Event) -> None:
    """Return when *done* says so, the time is over, or somebody is in a hurry."""
    deadline = clock.monotonic() + seconds
    while not done() and clock.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), POLL_SECONDS)
            return
