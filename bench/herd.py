"""A herd at the door: a thousand first requests to one endpoint over three gateways, and a hundred endpoints at once.

The first round sends all of them in one moment: how many writes that takes (steps of the Deployment's generation), how
many replicas the first asks for, how long after the first request, and whether everybody is answered. The second sends
one each millisecond while the engine still loads, so that there is an order, and looks how far from it the answers
came: who came first is answered first, but for as many as are answered at once. The third wakes a hundred endpoints
together while the first still holds every GPU: it is the writes that count, and no container starts on their cores.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.frame.eye import Eye, Sight, watch
from bench.frame.figures import Figure, percentile, report
from bench.frame.stage import MODEL_PATH, Stage, main, open_stage
from bench.frame.wakes import told_wakes
from dev.cluster import HarnessError
from dev.cluster.progress import say

Json = dict[str, Any]
CROWD = "crowd"
GATEWAYS = 3
PER_REPLICA, MOST = 32, 8
LOADS_SECONDS = "3"
"""Long enough for the second round to have come as a whole before anybody is answered."""
STAYS = {"policy": "fixed", "after": "20s"}
"""How long the first endpoint holds the GPUs after its second round."""
PUBLIC_PORT = 8080
_PATIENCE = aiohttp.ClientTimeout(total=180)


@dataclass(frozen=True)
class Answer:
    """One answer: its status, when it was asked for and when its first byte came (epoch seconds)."""

    status: int
    sent: float
    first_byte: float


async def ask_one(session: aiohttp.ClientSession, door: str, model: str, at: float) -> Answer:
    """Ask at an instant, over a connection of its own."""
    await asyncio.sleep(max(0.0, at - time.time()))
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    sent = time.time()
    async with session.post(f"{door}{MODEL_PATH}", json=body) as answer:
        first_byte = time.time()
        await answer.read()
        return Answer(answer.status, sent, first_byte)


async def ask_all(doors: list[str], models: list[str], apart: float = 0.0) -> list[Answer]:
    """Ask each of *models* at the doors in turn, so many seconds apart."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=_PATIENCE) as session:
        began = time.time() + 0.2
        return await asyncio.gather(
            *(
                ask_one(session, doors[n % len(doors)], model, began + n * apart)
                for n, model in enumerate(models)
            )
        )


@dataclass(frozen=True)
class Woken:
    """What a round has done to one Deployment."""

    writes: int
    first: int
    """Replicas that the first write asked for."""
    after: float
    """Seconds from the first request to that write."""


def woken(eye: Eye, mark: int, name: str, began: float) -> Woken:
    """Read off the watch what happened to one Deployment since it stood at *mark*."""
    own = [sight for sight in eye.seen if sight.obj["metadata"]["name"] == name]
    before = max(_generation(s) for s in own if s in eye.seen[:mark])
    steps = {_generation(s): s for s in reversed(own) if _generation(s) > before}
    up = [steps[g] for g in sorted(steps) if _replicas(steps[g])]
    return Woken(len(up), _replicas(up[0]), up[0].at - began)


def _generation(sight: Sight) -> int:
    return int(sight.obj["metadata"]["generation"])


def _replicas(sight: Sight) -> int:
    return int(sight.obj["spec"].get("replicas") or 0)


def out_of_order(answers: list[Answer]) -> int:
    """Return by how many places the answer furthest from its turn came too late or too early."""
    turns = sorted(range(len(answers)), key=lambda n: answers[n].sent)
    came = {n: place for place, n in enumerate(sorted(turns, key=lambda n: answers[n].first_byte))}
    return max(abs(place - came[n]) for place, n in enumerate(turns))


async def asleep(eye: Eye, name: str) -> None:
    """Return once a Deployment is at zero and its pods are gone."""
    await eye.first(
        lambda sight: (
            sight.obj["metadata"]["name"] == name
            and not _replicas(sight)
            and not (sight.obj.get("status") or {}).get("replicas")
        ),
        len(eye.seen) - 1,
        timeout=120,
    )


async def measure(given: argparse.Namespace) -> int:
    """Run the three rounds and print the figures."""
    with open_stage("herd", {"gateway": {"replicas": GATEWAYS}}) as stage:
        _fill(stage, given.endpoints)
        doors = [f"http://{ip}:{PUBLIC_PORT}" for ip in stage.torpor.gateway_pods()]
        api = await stage.connect()
        path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
        try:
            async with watch(api, path) as eye:
                await eye.first(lambda sight: sight.obj["metadata"]["name"] == CROWD, 0)
                await asyncio.sleep(1)
                say(f"{given.herd} requests in one moment, at {len(doors)} gateways")
                mark, began = len(eye.seen), time.time() + 0.2
                at_once = await ask_all(doors, [CROWD] * given.herd)
                herd = woken(eye, mark, CROWD, began)
                await asleep(eye, CROWD)
                say(f"{given.herd} requests, one each millisecond")
                in_turn = await ask_all(doors[:1], [CROWD] * given.herd, apart=0.001)
                say(f"{given.endpoints} endpoints at once")
                names = [f"one-{n:03}" for n in range(given.endpoints)]
                mark, began = len(eye.seen), time.time() + 0.2
                waking = asyncio.create_task(ask_all(doors, names))
                last = await _all_written(eye, mark, names)
                answered = await _answered_at(stage, names, began)
                waking.cancel()
                await asyncio.gather(waking, return_exceptions=True)
                each = [woken(eye, mark, name, began) for name in names]
        finally:
            await api.close()
    right = min(MOST, -(-given.herd // PER_REPLICA))
    figures = [
        Figure(f"writes for {given.herd} first requests", herd.writes, "writes", 1, exactly=True),
        Figure("  replicas in it", herd.first, "", right, exactly=True),
        Figure("  first request → write", herd.after, "s", 1.0),
        Figure("  answered", _answered(at_once), "", given.herd, exactly=True),
        Figure("one each ms: answered", _answered(in_turn), "", given.herd, exactly=True),
        Figure("  furthest out of turn", out_of_order(in_turn), "places", PER_REPLICA * MOST),
        Figure(f"{given.endpoints} endpoints woken together: last write", max(answered), "s", 2.0),
        Figure("  half of the writes", percentile(answered, 0.5), "s"),
        Figure("  last one seen by a watch", last - began, "s"),
        Figure(
            "  writes to each, most", max(one.writes for one in each), "writes", 1, exactly=True
        ),
    ]
    return report("herd", figures, check=given.check, gateways=len(doors))


def _fill(stage: Stage, endpoints: int) -> None:
    crowd = {"maxReplicas": MOST, "inFlightPerReplica": PER_REPLICA, "keepAlive": STAYS}
    loads = [{"name": "STANDIN_LOAD_SECONDS", "value": LOADS_SECONDS}]
    stage.add_endpoint(CROWD, {"engine": {"env": loads}}, **crowd)
    say(f"{endpoints} endpoints more")
    for number in range(endpoints):
        stage.apply_endpoint(f"one-{number:03}")
    for number in range(endpoints):
        stage.wait_for(f"one-{number:03}")


def _answered(answers: list[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


async def _answered_at(stage: Stage, names: list[str], began: float) -> list[float]:
    """Return when the API server had answered each endpoint's write, as its gateway tells (s after the first request).

    Raises:
        HarnessError: no gateway tells of some endpoint's wake.
    """
    told = await told_wakes(stage, names, began)
    found = {
        name: wake["patchedMs"] / 1000 - began
        for name, wakes in told.items()
        for wake in wakes
        if wake.get("patchedMs")
    }
    if missing := sorted(set(names) - set(found)):
        raise HarnessError(f"no gateway tells of the wakes of {', '.join(missing[:3])}")
    return [found[name] for name in names]


async def _all_written(eye: Eye, mark: int, names: list[str]) -> float:
    """Return when the last of them was asked to wake."""

    def wakes(name: str) -> Callable[[Sight], bool]:
        return lambda sight: sight.obj["metadata"]["name"] == name and _replicas(sight) > 0

    return max([(await eye.first(wakes(name), mark)).at for name in names])


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.herd", description=__doc__)
    options.add_argument("--herd", type=int, default=1000, help="first requests to one endpoint")
    options.add_argument("--endpoints", type=int, default=100, help="endpoints woken together")
    main(measure, options)
