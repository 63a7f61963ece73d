"""The gateway on one core: latency it adds, most requests, CPU per streamed chunk, memory at rest and with waiters.

nginx stands for the engine and answers at once, on the other core together with the load. Latency is measured with
requests at a fixed pace, first straight to nginx and then through the gateway, several times in turn; most requests by
wrk; CPU and memory are the gateway process's own. A streamed chunk is one event of an engine, read, looked at for its
usage and written on. A relay that only moves bytes takes the same loads in turn with it: that much is the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import uvloop

from bench.doors.barerelay import running_relay
from bench.doors.gatewayprocess import GatewayProcess, running_gateway
from bench.doors.loads import STREAMS, ask_most, stream_all
from bench.doors.nginx import running_nginx
from bench.doors.pacing import Load
from bench.doors.streams import Pace
from bench.frame.ending import end_with
from bench.frame.figures import Figure, percentile, report
from dev.cluster import HarnessError
from dev.cluster.machine import ensure_packages
from dev.cluster.progress import say
from tests.gateway.world import World

Json = dict[str, Any]
PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
GATEWAY_CORE, OTHER_CORE = 0, 1
RATE = 1000
BODY = json.dumps(
    {"model": "llama", "messages": [{"role": "user", "content": "Hello there, how are you today?"}]}
).encode()
ENDPOINTS = 1000
WAITERS, WAITING_BODY = 1000, 16_384


class Door:
    """A gateway process with what it is measured against."""

    def __init__(self, world: World, gateway: GatewayProcess) -> None:
        """Measure *gateway*, which *world* tells of endpoints."""
        self.world = world
        self.gateway = gateway

    def awake(self, port: int) -> None:
        """Have an endpoint `llama` with one pod at *port*."""
        engine: Any = SimpleNamespace(port=port, names=[])
        self.world.endpoint(scaling={"maxReplicas": 1, "inFlightPerReplica": 10_000})
        self.world.deployment(replicas=1)
        self.world.pod(engine, ready=True)

    async def answers(self) -> None:
        """Return once the gateway's answer to a request is 200."""
        async with aiohttp.ClientSession() as session:
            for _ in range(200):
                url = f"{self.gateway.url}/v1/chat/completions"
                async with session.post(url, data=BODY) as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.05)
        raise HarnessError("the gateway does not answer")

    async def knows(self, name: str) -> None:
        """Return once the gateway lists a model."""
        async with aiohttp.ClientSession() as session:
            for _ in range(400):
                async with session.get(f"{self.gateway.url}/v1/models/{name}") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.05)
        raise HarnessError(f"the gateway does not know {name}")


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    """Run a gateway that knows no endpoint yet."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        await world.api.start()
        try:
            async with running_gateway(world, GATEWAY_CORE) as gateway:
                yield Door(world, gateway)
        finally:
            await world.http.close()
            await world.api.stop()


async def paced(port: int, seconds: float) -> list[float]:
    """Return how long each of 1000 requests a second took at a port, in ms."""
    load = Load(port, BODY)
    await load.run(RATE, seconds)
    if load.failed or load.lost:
        raise HarnessError(f"{load.failed} requests failed, {load.lost} connections were lost")
    return [1000 * took for took in load.seconds]


async def added_latency(door: Door, nginx: int, rounds: int, seconds: float) -> list[Figure]:
    """Measure straight and through the gateway in turn; what is added is the median of the rounds' differences."""
    added: dict[float, list[float]] = {0.5: [], 0.95: []}
    used = []
    for number in range(rounds):
        straight = await paced(nginx, seconds)
        before = door.gateway.cpu_seconds()
        through = await paced(door.gateway.port, seconds)
        used.append((door.gateway.cpu_seconds() - before) / seconds)
        for share, values in added.items():
            values.append(percentile(through, share) - percentile(straight, share))
        told = ", ".join(f"p{100 * s:.0f} +{v[-1]:.2f} ms" for s, v in added.items())
        say(f"paced, round {number + 1} of {rounds}: {told}, {100 * used[-1]:.0f} % of a core")
    return [
        Figure(f"added latency at {RATE} req/s, p50", statistics.median(added[0.5]), "ms", 1),
        Figure(f"added latency at {RATE} req/s, p95", statistics.median(added[0.95]), "ms", 5),
        Figure("  of a core", 100 * statistics.median(used), "%"),
    ]


async def most_requests(door: Door, nginx: int, rounds: int, seconds: int) -> list[Figure]:
    """Let wrk ask as fast as it is answered, the gateway and a bare relay in turn."""
    rates, each, least = [], [], []
    async with running_relay(GATEWAY_CORE, nginx) as relay:
        for number in range(rounds):
            _, bare = await ask_most(relay, BODY, seconds // 2, OTHER_CORE)
            rate, took = await ask_most(door.gateway, BODY, seconds, OTHER_CORE)
            rates.append(rate)
            each.append(took)
            least.append(bare)
            told = f"{rate:.0f} req/s, {took:.0f} µs each, a bare relay {bare:.0f} µs"
            say(f"wrk, round {number + 1} of {rounds}: {told}")
    return [
        Figure("most requests", statistics.median(rates), "req/s", 5000, at_least=True),
        Figure("  CPU per request", statistics.median(each), "µs"),
        Figure("  of a bare relay on this machine", statistics.median(least), "µs"),
    ]


async def streams(door: Door, seconds: float, rounds: int) -> list[Figure]:
    """Have 500 clients read streams, the gateway's and a bare relay's in turn; the engine is in this process."""
    pace = Pace()
    server = await pace.listen()
    port = int(server.sockets[0].getsockname()[1])
    door.awake(port)
    await asyncio.sleep(1)
    each, least = [], []
    async with running_relay(GATEWAY_CORE, port) as relay:
        for number in range(rounds):
            bare, _ = await stream_all(relay, pace, seconds / 2)
            took, kbytes = await stream_all(door.gateway, pace, seconds)
            each.append(took)
            least.append(bare)
            told = f"{took:.1f} µs per chunk, a bare relay {bare:.1f} µs"
            say(f"streams, round {number + 1} of {rounds}: {told}")
    server.close()
    return [
        Figure(f"CPU per streamed chunk, {STREAMS} streams", statistics.median(each), "µs", 40),
        Figure("  of a bare relay on this machine", statistics.median(least), "µs"),
        Figure("  per stream", kbytes, "KB/s"),
    ]


async def at_rest(door: Door) -> list[Figure]:
    """Tell the gateway of a thousand endpoints."""
    before = door.gateway.resident_mb()
    for number in range(ENDPOINTS):
        door.world.sleeping(f"model-{number:04}", namespace=f"team-{number % 20}")
    await door.knows(f"model-{ENDPOINTS - 1:04}")
    await asyncio.sleep(2)
    return [
        Figure(f"{ENDPOINTS} endpoints known", door.gateway.resident_mb(), "MB", 150),
        Figure("  without any", before, "MB"),
    ]


async def waiters(door: Door) -> list[Figure]:
    """Have a thousand requests with long bodies wait for an endpoint that does not come up."""
    door.world.sleeping("never", queue={"maxRequests": 2 * WAITERS})
    await door.knows("never")
    body = {"model": "never", "messages": [{"role": "user", "content": "x" * WAITING_BODY}]}
    before = door.gateway.resident_mb()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"{door.gateway.url}/v1/chat/completions"
        asked = [asyncio.create_task(_wait(session, url, body)) for _ in range(WAITERS)]
        for _ in range(400):
            said = (await door.gateway.demand()).get("shop/never") or {}
            if said.get("waiting") == WAITERS:
                break
            await asyncio.sleep(0.05)
        else:
            raise HarnessError(f"only {said.get('waiting')} of {WAITERS} wait")
        await asyncio.sleep(2)
        held = door.gateway.resident_mb()
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return [Figure(f"{WAITERS} waiters with 16 KB each", held - before, "MB", 60)]


async def _wait(session: aiohttp.ClientSession, url: str, body: Json) -> None:
    async with session.post(url, json=body) as answer:
        await answer.read()


async def measure(given: argparse.Namespace) -> int:
    """Run everything and print the figures."""
    ensure_packages(PACKAGES)
    os.sched_setaffinity(0, {OTHER_CORE})
    rounds = given.rounds
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        nginx = await stack.enter_async_context(running_nginx(OTHER_CORE))
        async with open_door() as door:
            door.awake(nginx)
            await door.answers()
            figures += await added_latency(door, nginx, rounds, given.seconds)
            figures += await most_requests(door, nginx, rounds, given.seconds)
        async with open_door() as door:
            figures += await streams(door, given.seconds, rounds)
        async with open_door() as door:
            figures += await at_rest(door)
            figures += await waiters(door)
    return report("gateway", figures, check=given.check, rounds=rounds)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="how often each load is run")
    options.add_argument("--seconds", type=int, default=8, help="how long each lasts")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    given_options = options.parse_args()
    end_with(lambda: uvloop.run(measure(given_options)))
