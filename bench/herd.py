"""A herd at the door: a thousand first requests to one endpoint over three gateways, and a hundred endpoints at once.

The first round sends all of them in one moment: how many writes that takes (steps of the Deployment's generation), how
many replicas the first asks for, how long after the first request, and whether everybody is answered. The second sends
one each millisecond while the engine still loads, so that there is an order, and looks how far from it the answers
came: who came first is answered first, but for as many as are answered at once. The third wakes a hundred endpoints
together while the first holds every GPU: it is the writes that count, and no container starts on their cores. It is
repeated, and the medians are the figures: on two cores one such second differs from the next by a half.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
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
"""How long the first endpoint holds the GPUs after its second round, until it is told to keep them."""
REST_SECONDS = 20.0
"""Between two of the third rounds, so that none bears what the one before has left to do."""
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
    before = max(_generation(s) for s in eye.seen[:mark] if _name(s) == name)
    after = [s for s in eye.seen[mark:] if _name(s) == name and _generation(s) > before]
    steps = {_generation(s): s for s in reversed(after)}
    up = [steps[g] for g in sorted(steps) if _replicas(steps[g])]
    return Woken(len(up), _replicas(up[0]), up[0].at - began)


def _name(sight: Sight) -> str:
    return str(sight.obj["metadata"]["name"])


def _generation(sight: Sight) -> int:
    return int(sight.obj["metadata"]["generation"])


def _replicas(sight: Sight) -> int:
    return int(sight.obj["spec"].get("replicas") or 0)


def out_of_order(answers: list[Answer]) -> int:
    """Return by how many places the answer furthest from its turn came too late or too early."""
    turns = sorted(range(len(answers)), key=lambda n: answers[n].sent)
    came = {n: place for place, n in enumerate(sorted(turns, key=lambda n: answers[n].first_byte))}
    return max(abs(place - came[n]) for place, n in enumerate(turns))


async def asleep(eye: Eye, names: list[str]) -> None:
    """Return once all these Deployments are at zero and their pods are gone.

    Raises:
        HarnessError: some are not, after three minutes.
    """
    end = time.monotonic() + 180
    while awake := set(names) - {_name(s) for s in latest(eye).values() if _is_at_zero(s)}:
        if time.monotonic() > end:
            raise HarnessError(f"{len(awake)} do not fall asleep: {', '.join(sorted(awake)[:3])}")
        await asyncio.sleep(0.5)


def latest(eye: Eye) -> dict[str, Sight]:
    """Return the last that was seen of each Deployment, by name."""
    return {_name(sight): sight for sight in eye.seen}


def _is_at_zero(sight: Sight) -> bool:
    return not _replicas(sight) and not (sight.obj.get("status") or {}).get("replicas")


@dataclass(frozen=True)
class Fleet:
    """Many endpoints woken together, once; seconds are since the first request."""

    answered: list[float]
    """When the API server had answered each endpoint's write."""
    seen: float
    """When a watch had shown the last of them."""
    most_writes: int
    """Writes to one Deployment, the most of all."""


async def wake_all(stage: Stage, eye: Eye, doors: list[str], names: list[str]) -> Fleet:
    """Put all of *names* to sleep and wake them together.

    Those of the round before have no GPU, and a start that is under way is not given up by itself.
    """
    where = ("-n", stage.namespace)
    await asyncio.to_thread(
        stage.torpor.kube.run, *where, "scale", "deployment", *names, "--replicas=0"
    )
    await asleep(eye, names)
    await asyncio.sleep(REST_SECONDS)
    say(f"{len(names)} endpoints at once")
    mark, began = len(eye.seen), time.time() + 0.2
    waking = asyncio.create_task(ask_all(doors, names))
    last = await _all_written(eye, mark, names)
    answered = await _answered_at(stage, names, began)
    waking.cancel()
    await asyncio.gather(waking, return_exceptions=True)
    say(f"last write after {max(answered):.2f} s")
    each = [woken(eye, mark, name, began).writes for name in names]
    return Fleet(answered, last - began, max(each))


def figures_of(fleets: list[Fleet], count: int) -> list[Figure]:
    """Medians over the rounds; of the writes to one endpoint the most of all rounds."""
    last = median(max(fleet.answered) for fleet in fleets)
    half = median(percentile(fleet.answered, 0.5) for fleet in fleets)
    writes = max(fleet.most_writes for fleet in fleets)
    return [
        Figure(f"{count} endpoints woken together: last write", last, "s", 2.0),
        Figure("  in the worst round", max(max(fleet.answered) for fleet in fleets), "s"),
        Figure("  half of the writes", half, "s"),
        Figure("  last one seen by a watch", median(fleet.seen for fleet in fleets), "s"),
        Figure("  writes to each, most", writes, "writes", 1, exactly=True),
    ]


async def measure(given: argparse.Namespace) -> int:
    """Run the three rounds and print the figures."""
    with open_stage("herd", {"gateway": {"replicas": GATEWAYS}}) as stage:
        _fill(stage, given.endpoints)
        doors = [f"http://{ip}:{PUBLIC_PORT}" for ip in stage.torpor.gateway_pods()]
        api = await stage.connect()
        path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
        try:
            async with watch(api, path) as eye:
                await eye.first(lambda sight: _name(sight) == CROWD, 0)
                await asyncio.sleep(1)
                say(f"{given.herd} requests in one moment, at {len(doors)} gateways")
                mark, began = len(eye.seen), time.time() + 0.2
                at_once = await ask_all(doors, [CROWD] * given.herd)
                herd = woken(eye, mark, CROWD, began)
                await asleep(eye, [CROWD])
                say(f"{given.herd} requests, one each millisecond")
                in_turn = await ask_all(doors[:1], [CROWD] * given.herd, apart=0.001)
                _add_crowd(stage, minReplicas=MOST)
                names = [f"one-{n:03}" for n in range(given.endpoints)]
                fleets = [await wake_all(stage, eye, doors, names) for _ in range(given.rounds)]
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
        *figures_of(fleets, len(names)),
    ]
    return report("herd", figures, check=given.check, gateways=len(doors))


def _fill(stage: Stage, endpoints: int) -> None:
    _add_crowd(stage)
    say(f"{endpoints} endpoints more")
    for number in range(endpoints):
        stage.apply_endpoint(f"one-{number:03}")
    for number in range(endpoints):
        stage.wait_for(f"one-{number:03}")


def _add_crowd(stage: Stage, **scaling: Any) -> None:
    crowd = {"maxReplicas": MOST, "inFlightPerReplica": PER_REPLICA, "keepAlive": STAYS}
    loads = [{"name": "STANDIN_LOAD_SECONDS", "value": LOADS_SECONDS}]
    stage.add_endpoint(CROWD, {"engine": {"env": loads}}, **crowd, **scaling)


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
        return lambda sight: _name(sight) == name and _replicas(sight) > 0

    return max([(await eye.first(wakes(name), mark)).at for name in names])


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.herd", description=__doc__)
    options.add_argument("--herd", type=int, default=1000, help="first requests to one endpoint")
    options.add_argument("--rounds", type=int, default=5, help="of the endpoints woken together")
    options.add_argument("--endpoints", type=int, default=100, help="endpoints woken together")
    main(measure, options)
