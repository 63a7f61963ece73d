"""`torpor controller`: wait for the Lease, then let kopf listen and the workers work until told to stop.

A controller that loses the Lease ends at once: another one acts already. Nothing is lost with it, since all memory is
in the cluster.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any, cast

import kopf
import uvloop
from prometheus_client import CollectorRegistry

from torpor.cluster.connect import Api, connect
from torpor.cluster.leading import Keeper
from torpor.cluster.lease import Lease, Lost
from torpor.cluster.objects import Objects
from torpor.cluster.reading import Reader
from torpor.cluster.served import until_served
from torpor.collecting import collect_seldom
from torpor.controller import handlers, health
from torpor.controller.audit import Audit
from torpor.controller.children import Children
from torpor.controller.counters import CounterPoller
from torpor.controller.demand import DemandPoller
from torpor.controller.doors import Doors
from torpor.controller.engines import Engines
from torpor.controller.farewells import Farewells
from torpor.controller.garbage import Home, NodeLabels
from torpor.controller.handlers import Ears
from torpor.controller.health import State
from torpor.controller.loads import LoadPoller
from torpor.controller.measures import ControllerMetrics
from torpor.controller.page import serving
from torpor.controller.page.listing import Listing
from torpor.controller.progress import ProgressPoller
from torpor.controller.reconcile import Reconciler, Tools
from torpor.controller.seen import Seen
from torpor.controller.statuswriter import StatusWriter
from torpor.controller.workers import Workers
from torpor.manifests.setting import Installation
from torpor.settings.programs import ControllerSettings

log = logging.getLogger(__name__)

READ_SECONDS = 1.0
"""Time for the API server to say which kinds it serves, and the pause before it is asked again."""


def main(argv: list[str]) -> int:
    """Run the controller; 0 after a stop that was asked for, 1 when leadership was lost or settings are wrong."""
    settings = ControllerSettings()
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for noisy in (
        "httpx",
        "httpcore",
        "kopf.objects",
        "kopf._core.engines.activities",
        "aiohttp.access",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if argv:
        sys.stderr.write(f"torpor controller takes no arguments, got: {' '.join(argv)}\n")
        return 2
    if not settings.image:
        sys.stderr.write(
            "TORPOR_CONTROLLER_IMAGE is not set: prewarm pods need torpor's own image\n"
        )
        return 2
    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))


async def run(settings: ControllerSettings) -> int:
    """Compete for the Lease, act while it is held, and give it back."""
    stop = asyncio.Event()
    _hear_signals(stop)
    api = await connect(settings.kubeconfig)
    lease = _lease_over(api, settings)
    state = State()
    metrics = ControllerMetrics(CollectorRegistry())
    listing = Listing(state, settings.namespace, lambda: lease.holder)
    ports = [
        await health.serve(settings.host, settings.port, metrics.page, state),
        await serving.serve(settings.page_host, settings.page_port, listing),
    ]
    try:
        if not await _unless(stop, lease.acquire()):
            return 0
        state.leads = True
        return await _act(settings, api, lease, metrics, state, listing, stop)
    finally:
        for port in ports:
            await port.cleanup()
        await api.close()


async def _act(
    settings: ControllerSettings,
    api: Api,
    lease: Lease,
    metrics: ControllerMetrics,
    state: State,
    listing: Listing,
    stop: asyncio.Event,
) -> int:
    """Listen and work until stopped (0) or until the Lease is lost (1)."""
    seen, objects, engines = Seen(settings.namespace), Objects(api), Engines()
    workers = Workers(lambda key: metrics.timed(reconciler.run(key)))
    counters = CounterPoller(seen, engines, workers.touch)
    demand = DemandPoller(seen, workers.touch, settings.gateway_port, counters.completed)
    progress = ProgressPoller(seen, workers.touch)
    loads = LoadPoller(seen, engines, workers.touch)
    installation, children = _installation(settings), Children(seen, objects)
    statuses = StatusWriter(seen, objects, settings.pod_name, workers.touch)
    tools = Tools(
        seen,
        demand,
        engines,
        objects,
        children,
        installation,
        statuses,
        progress,
        loads,
        counters,
        Doors(seen, children, demand),
    )
    reconciler = Reconciler(tools)
    metrics.watch(seen, demand.demand)
    listing.show(seen)
    farewells = Farewells(objects, settings.pod_name)
    ears = Ears(seen, workers, api, farewells.note)
    home = Home(settings.namespace, settings.lease_name)
    labels = NodeLabels(seen, objects, installation, home)
    state.listed = ears.listed
    keeper = Keeper(partial(connect, settings.kubeconfig), partial(_lease_over, settings=settings))
    operator = kopf.OperatorSettings()
    handlers.settings(operator)
    stopping, kopf_listens = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        await until_served(Reader(api, READ_SECONDS), ears.kinds(), READ_SECONDS)
        await kopf.operator(
            registry=ears.registry(),
            settings=operator,
            clusterwide=True,
            standalone=True,
            identity=cast(Any, settings.pod_name),
            ready_flag=kopf_listens,
            stop_flag=stopping,
        )

    jobs: dict[str, asyncio.Task[Any]] = {
        "lease": asyncio.create_task(keeper.hold()),
        "demand": asyncio.create_task(demand.run()),
        "progress": asyncio.create_task(progress.run()),
        "loads": asyncio.create_task(loads.run()),
        "counters": asyncio.create_task(counters.run()),
        "farewells": asyncio.create_task(farewells.run()),
        "audit": asyncio.create_task(Audit(api, ears.shelves()).run(ears.listed)),
        "labels": asyncio.create_task(labels.run(ears.listed, ears.left)),
        "kopf": asyncio.create_task(listen()),
        "signals": asyncio.create_task(_hear_signals_again(kopf_listens, stop)),
        "stop": asyncio.create_task(stop.wait()),
    }
    done, _ = await asyncio.wait(jobs.values(), return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    await workers.stop()
    await statuses.close()
    if jobs["stop"] in done:
        if ears.listed.is_set():
            await labels.sweep_at_once()
        # Nothing acts any more: the next candidate need not wait for kopf's last words.
        jobs["lease"].cancel()
        await asyncio.gather(jobs["lease"], return_exceptions=True)
        await lease.release()
    for task in jobs.values():
        task.cancel()
    await asyncio.gather(*jobs.values(), return_exceptions=True)
    await demand.close()
    await progress.close()
    await engines.close()
    failed = False
    for name, task in jobs.items():
        if task in done and (error := task.exception()) is not None:
            lost, failed = isinstance(error, Lost), True
            log.error("%s ended: %s", name, error, exc_info=None if lost else error)
    if failed:
        return 1
    # kopf takes SIGTERM for itself while it runs, so that its end without an error is a stop that was asked for.
    await lease.release()
    return 0


def _lease_over(api: Api, settings: ControllerSettings) -> Lease:
    return Lease(api, settings.namespace, settings.lease_name, settings.pod_name)


def _hear_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _hear_signals_again(kopf_listens: asyncio.Event, stop: asyncio.Event) -> None:
    """Take the signals back from kopf, which claims them as it starts and would end without giving the Lease back."""
    await kopf_listens.wait()
    _hear_signals(stop)
    await asyncio.Event().wait()


async def _unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for *waiting*, or give it up when *stop* is set; return whether it came to its end."""
    task, stopped = asyncio.create_task(waiting), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    return False


def _installation(settings: ControllerSettings) -> Installation:
    return Installation(
        image=settings.image,
        engine_image=settings.engine_image,
        image_pull_policy=settings.image_pull_policy,
        cache_dir=settings.cache_dir,
        gateway_url=settings.gateway_url,
        recheck_ms=round(settings.weights_recheck * 1000) or None,
    )
