"""A direct endpoint through kube-proxy: straight to the engine while awake, held while asleep, nothing lost between."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.cluster.apiserver import DEPLOYMENTS, Seen, until
from tests.cluster.conftest import MakeSpace
from tests.cluster.space import HELLO, Space
from torpor.domain.leading import SETTLE_MS

pytestmark = pytest.mark.cluster

SERVICES = "/api/v1/namespaces/{}/services"
KEEP_ALIVE = 17
"""Seconds; a little more than twice the time to settle, so that sleep is due on time."""
DIRECT = {"access": {"direct": True}}
ROUNDS = 3
PACE = 0.1
"""Seconds between two looks, each on a connection of its own."""
AROUND = 20
"""Requests around the instant of sleep."""


@dataclass
class Look:
    """One GET of `/v1/models`, which wakes nothing and keeps nothing awake: who answered it."""

    at: float
    status: int
    engine: bool


@dataclass
class Client:
    """Whoever asks a Service by its address; every request on a new connection."""

    url: str
    model: str
    http: aiohttp.ClientSession
    looks: list[Look] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def chat(self, delay: float = 0.0) -> float:
        await asyncio.sleep(delay)
        asked = {"model": self.model, "messages": HELLO, "max_tokens": 4}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=asked) as answer:
            await answer.read()
            self.statuses.append(answer.status)
        return time.time()

    async def look_on(self, stop: asyncio.Event) -> None:
        """Look at a steady pace until told to stop; a connection that fails is a status of 0."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as pending:
            while not stop.is_set():
                pending.create_task(self._look())
                due += PACE
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _look(self) -> None:
        at = time.time()
        try:
            async with self.http.get(f"{self.url}/v1/models") as answer:
                listed = await answer.json()
                engine = listed["data"][0]["owned_by"] == "vllm"
                self.looks.append(Look(at, answer.status, engine))
        except (aiohttp.ClientError, OSError, TimeoutError, KeyError, IndexError) as error:
            print(f"at {at:.3f}: {error!r}")
            self.looks.append(Look(at, 0, False))

    async def led(self, engine: bool, seconds: float) -> float:
        """Wait until the five last looks were all answered by the same side."""
        await _until(
            lambda: [look.engine for look in self.looks[-5:]] == [engine] * 5,
            f"led to the {'engine' if engine else 'gateways'}",
            seconds,
        )
        return time.time()


@contextlib.asynccontextmanager
async def client_of(space: Space, name: str) -> AsyncIterator[Client]:
    service = space.api.get(space.path(SERVICES, f"{name}-direct"))
    assert service is not None
    url = f"http://{service['spec']['clusterIP']}"
    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Client(url, name, http)


async def _until(true: Callable[[], Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not {what} within {seconds:g} s"
        await asyncio.sleep(0.02)


def start_direct(space: Space, name: str, **composed: Any) -> None:
    """Apply a direct endpoint and wait until its Service leads somewhere."""
    space.start(name, keep_alive=f"{KEEP_ALIVE}s", spec=DIRECT, **composed)
    wait_led(space, name)


def wait_led(space: Space, name: str) -> None:
    own = f"http://{name}-direct.{space.name}.svc/v1"
    until("its Service leads anywhere", lambda: space.read(name).status.url == own or None, 20)


async def through_gateways(space: Space, name: str) -> int:
    """Return how many requests gateways have answered for an endpoint."""
    total = 0
    async with aiohttp.ClientSession() as http:
        for ip in await asyncio.to_thread(space.torpor.gateway_pods):
            async with http.get(f"http://{ip}:8081/internal/v1/demand") as answer:
                said = (await answer.json())["endpoints"].get(f"{space.name}/{name}", {})
                total += said.get("requests", {}).get("total", 0)
    return total


def test_nothing_is_lost_while_it_wakes_and_sleeps_under_its_own_address(space: Space) -> None:
    start_direct(space, "straight")
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        client, lags = asyncio.run(_play(space, deployments))
    statuses, looks = Counter(client.statuses), Counter(look.status for look in client.looks)
    sides = Counter(look.engine for look in client.looks)
    print(f"deadline → replicas 0: {', '.join(f'{lag:+.2f}' for lag in lags)} s")
    print(
        f"{len(client.statuses)} requests {dict(statuses)}, {len(client.looks)} looks {dict(looks)}"
    )
    print(f"{sides[True]} looks were answered by an engine, {sides[False]} by a gateway")
    assert set(statuses) == {200}
    assert set(looks) == {200}
    assert min(sides.values()) >= 50
    status = space.wait_asleep("straight").status
    print(f"tokens {status.tokens.prompt} + {status.tokens.completion}, {status.cost.gpu_ms}")
    assert status.cost.gpu_ms.busy > 0
    assert status.tokens.completion >= 4 * len(client.statuses)
    assert status.wakes.count >= ROUNDS


async def _play(space: Space, deployments: Seen) -> tuple[Client, list[float]]:
    lags = list[float]()
    async with client_of(space, "straight") as client:
        stop = asyncio.Event()
        looking = asyncio.create_task(client.look_on(stop))
        for number in range(ROUNDS):
            await asyncio.to_thread(_wait_gone, space)  # else the pod that drains still answers
            await client.led(engine=False, seconds=30)
            await client.chat()  # which wakes it
            last_byte = await _straight(space, client)
            slept = len(deployments.slept("straight"))
            turned = await client.led(engine=False, seconds=60)
            if number == 1:
                due = last_byte + KEEP_ALIVE
                await asyncio.sleep(max(0.0, due - 1.0 - time.time()))
                await asyncio.gather(*(client.chat(k * PACE) for k in range(AROUND)))
            zero = await _slept_again(deployments, slept)
            if number != 1:
                lags.append(zero - last_byte - KEEP_ALIVE)
                assert zero - turned >= SETTLE_MS / 1000 - 2  # five looks, and a proxy's delay
        stop.set()
        await looking
        return client, lags


async def _straight(space: Space, client: Client) -> float:
    """Ask an engine twenty times, past the gateways; return when its last answer ended.

    On a machine so busy that hardly anything of the keep-alive is left once the client is led to the engine, the
    gateways take over again meanwhile, as they should before a sleep; then it asks once more.
    """
    for _ in range(3):
        await client.led(engine=True, seconds=30)
        before, seen = await through_gateways(space, "straight"), len(client.looks)
        last = max([await client.chat() for _ in range(20)])
        await _until(lambda: client.looks[-1].at > last, "one more look", 30)  # noqa: B023
        if all(look.engine for look in client.looks[seen:]):
            assert await through_gateways(space, "straight") == before
            return last
    raise AssertionError("three times in a row the gateways took over while an engine was asked")


def _wait_gone(space: Space) -> None:
    until("its pods are gone", lambda: not space.pods("straight") or None, 60)


async def _slept_again(deployments: Seen, times: int) -> float:
    """Return when it went to sleep once more than so often."""
    await _until(lambda: len(deployments.slept("straight")) > times, "asleep", 90)
    return deployments.slept("straight")[times]


def test_an_older_namesake_elsewhere_is_not_woken(make_space: MakeSpace) -> None:
    elder, space = make_space("elder"), make_space("younger")
    elder.start("twin")
    start_direct(space, "twin")

    async def ask() -> list[int]:
        async with client_of(space, "twin") as client:
            await client.chat()
            return client.statuses

    assert asyncio.run(ask()) == [200]
    assert space.replicas("twin") == 1
    assert elder.replicas("twin") == 0


def test_two_replicas_become_one_without_losing_a_request(space: Space) -> None:
    scaling = {
        "maxReplicas": 2,
        "inFlightPerReplica": 4,
        "keepAlive": {"policy": "fixed", "after": f"{KEEP_ALIVE}s"},
    }
    switches = {"STANDIN_TOKENS_PER_SECOND": "10", "STANDIN_REPLY_TOKENS": "4"}
    space.start("pair", switches=switches, spec={**DIRECT, "scaling": scaling})
    wait_led(space, "pair")
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        statuses = asyncio.run(_load(space, deployments))
        steps = [number for _, number in deployments.replicas("pair")]
    print(f"{len(statuses)} requests {dict(Counter(statuses))}, replicas {steps}")
    assert set(statuses) == {200}
    assert steps[-1] == 1
    assert max(steps) == 2


async def _load(space: Space, deployments: Seen) -> list[int]:
    async with client_of(space, "pair") as client:
        wanted = 6

        async def ask_on(number: int) -> None:
            while number < wanted:
                await client.chat()

        asking = [asyncio.create_task(ask_on(number)) for number in range(wanted)]
        await _until(lambda: _ready(space, "pair") == 2, "two replicas", 60)
        await asyncio.sleep(3)
        wanted = 1
        await _until(lambda: deployments.replicas("pair")[-1][1] == 1, "one replica", 90)
        await asyncio.sleep(12)  # until the one that goes is gone, asked all the while
        wanted = 0
        await asyncio.gather(*asking)
        return client.statuses


def _ready(space: Space, name: str) -> int:
    return space.read(name).status.ready_replicas
