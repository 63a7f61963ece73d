"""What must not lose a request, each with a steady traffic through it: sleeps, roll-outs, outages, a kill."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from bench.doors.outages import kill_gateway, no_api_server, no_controllers, restart_gateways
from bench.doors.script import Script, learn
from bench.doors.traffic import Asked, Traffic, traffic
from dev.cluster.progress import say
from tests.cluster.apiserver import DEPLOYMENTS, PODS, Late, Seen
from tests.cluster.space import Space
from torpor.manifests.names import ENGINE_PORT

RATE = 35.0
SPEED = {"STANDIN_TOKENS_PER_SECOND": "60"}
KEEPS = "1h"
WAVES = 4
SLEEPY_SECONDS = 1.0
"""Keep-alive of the endpoint that is put to sleep over and over."""


@dataclass
class Upset:
    """What was asked while something was upset, and what shows that it was."""

    asked: list[Asked]
    proof: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """An endpoint that echoes, and what it says."""

    space: Space
    name: str
    script: Script

    @property
    def model(self) -> str:
        """What clients call it."""
        return f"{self.space.name}/{self.name}"

    @asynccontextmanager
    async def traffic(self, rate: float = RATE) -> AsyncIterator[Traffic]:
        """Open a traffic to it."""
        door = self.space.torpor.gateway
        async with traffic(door, self.model, self.script, rate) as made:
            yield made


async def make(space: Space, name: str, keep: str = KEEPS, **scaling: Any) -> Subject:
    """Apply an endpoint, wake it, and learn what it says."""
    spec = {"scaling": {"keepAlive": {"policy": "fixed", "after": keep}, **scaling}}
    await asyncio.to_thread(space.start, name, switches=SPEED, spec=spec)
    reply = await asyncio.to_thread(space.chat, name)
    assert reply.status == 200, reply.body
    (pod,) = [pod for pod in space.pods(name) if "deletionTimestamp" not in pod["metadata"]]
    return Subject(space, name, await learn(f"{pod['status']['podIP']}:{ENGINE_PORT}", name))


async def scale_down(space: Space, count: int, waves: int = WAVES) -> Upset:
    """From one replica to four and back while requests run, several times."""
    subject = await make(space, "stairs", keep="3s", maxReplicas=4, inFlightPerReplica=6)
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        async with subject.traffic() as load:
            for _ in range(waves):
                load.rate = RATE
                await load.send(count // waves)
                load.rate = 4.0
                async with load.flowing():
                    await wait_until("one replica", lambda: _now(deployments, "stairs") == 1, 90)
        numbers = [number for _, number in deployments.replicas("stairs")]
    downs = sum(max(0, a - b) for a, b in pairwise(numbers) if b)
    return Upset(load.asked, {"replicas taken": downs})


async def sleep_and_wake(space: Space, count: int, cycles: int) -> Upset:
    """To zero and back: each burst begins in the moment of the sleep, and single requests try to be in its way."""
    subject = await make(space, "sleepy", keep=f"{SLEEPY_SECONDS:g}s")
    random_ = random.Random(7)
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:

        def sleeps() -> int:
            return len(deployments.slept("sleepy"))

        async with subject.traffic(2 * RATE) as load:
            done = 0
            while done < cycles:
                await load.send(-(-count // cycles))
                await load.rest()
                await asyncio.sleep(SLEEPY_SECONDS + random_.uniform(-0.05, 0.3))
                await load.send(1)
                await wait_until("a sleep", lambda: sleeps() > done, 90)  # noqa: B023
                done = sleeps()
        return Upset(load.asked, {"sleeps": sleeps()})


async def roll_engine(space: Space, count: int, times: int) -> Upset:
    """Another pod template under `rollout: immediate`, several times."""
    subject = await make(space, "rolled", rollout="immediate")
    with space.api.watching(space.path(PODS)) as pods:
        async with subject.traffic() as load, load.flowing():
            for turn in range(times):
                await load.reach((turn * count) // times + int(RATE))
                spec = {
                    "scaling": {
                        "rollout": "immediate",
                        "keepAlive": {"policy": "fixed", "after": KEEPS},
                    }
                }
                switches = SPEED | {"STANDIN_LAST_WORDS": f"round {turn}"}
                changed = space.compose("rolled", switches=switches, spec=spec)
                await asyncio.to_thread(space.apply, changed)
                await wait_until("the old pod is gone", lambda: _gone(pods, "rolled") > turn, 120)  # noqa: B023
            await load.reach(count)
    return Upset(load.asked, {"pods replaced": _gone(pods, "rolled")})


async def roll_gateways(space: Space, count: int, times: int) -> Upset:
    """All gateways replaced, several times."""
    subject = await make(space, "through")
    async with subject.traffic() as load, load.flowing():
        for turn in range(times):
            await load.reach((turn * count) // times + int(RATE))
            await asyncio.to_thread(restart_gateways, space)
        await load.reach(count)
    return Upset(load.asked, {"roll-outs": times})


async def lose_api_server(space: Space, count: int, seconds: float) -> Upset:
    """No API server for so long; who asks for a sleeping endpoint then waits until it is back."""
    sleeper, subject = await asyncio.gather(make(space, "waiting", keep="1s"), make(space, "awake"))
    await wait_until("one asleep", lambda: not space.replicas("waiting"), 60)
    async with subject.traffic() as load, sleeper.traffic(1.0) as held, load.flowing():
        await load.reach(int(2 * RATE))
        with no_api_server():
            began = time.monotonic()
            await held.send(2)
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            waiting = held.under_way
        lasted = time.monotonic() - began
        await held.rest()
        await load.reach(count)
    say(f"the API server was away for {lasted:.0f} s")
    return Upset(load.asked + held.asked, {"waited for it": waiting, "seconds": int(lasted)})


async def lose_controllers(space: Space, count: int, seconds: float, wakes: int) -> Upset:
    """No controller for so long, in which sleeping endpoints are woken."""
    names = [f"asleep-{number}" for number in range(wakes)]
    subject, *sleepers = await asyncio.gather(
        make(space, "awake"), *(make(space, name, keep="1s") for name in names)
    )
    await wait_until("all asleep", lambda: not any(space.replicas(name) for name in names), 60)
    woken: list[Asked] = []
    async with subject.traffic() as load, load.flowing():
        with no_controllers(space):
            began = time.monotonic()
            for sleeper in sleepers:
                async with sleeper.traffic(10.0) as one:
                    await one.send(4)
                woken += one.asked
                await asyncio.sleep(seconds / (2 * len(sleepers)))
            answered = sum(not one.lost for one in woken)
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        await load.reach(count)
    return Upset(load.asked + woken, {"woken": len(names), "answered of those": answered})


async def kill_one_gateway(space: Space, count: int) -> Upset:
    """SIGKILL to a gateway; those that were under way with it get no answer."""
    subject = await make(space, "survivor")
    async with subject.traffic() as load, load.flowing():
        await load.reach(count // 2)
        killed = await asyncio.to_thread(kill_gateway, space)
        await load.reach(count)
    return Upset(load.asked, taken_by(load.asked, killed))


def taken_by(asked: list[Asked], at: float) -> dict[str, int]:
    """Return how many requests were under way at an instant, and how many of these got no answer."""
    running = [one for one in asked if one.began < at <= one.ended]
    return {
        "under way then": len(running),
        "of these not answered": sum(not one.answered for one in running),
    }


def _now(deployments: Seen, name: str) -> int:
    return deployments.replicas(name)[-1][1]


def _gone(pods: Seen, name: str) -> int:
    return sum(
        kind == "DELETED" and pod["metadata"]["labels"].get("torpor.dev/endpoint") == name
        for _, kind, pod in list(pods.events)
    )


async def wait_until(what: str, true: Callable[[], bool], timeout: float) -> None:
    """Return once it is true.

    Raises:
        Late: it was not in time.
    """
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {timeout:g} s")
        await asyncio.sleep(0.02)
