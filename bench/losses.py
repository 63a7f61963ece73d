"""No request is lost: a steady traffic, each answer checked byte for byte, while everything else comes and goes.

Every scenario sends at least two thousand requests, half of them streams, half over kept connections
(`bench/doors/traffic.py` says what counts as lost). Then come those in which something true may fail: a gateway that is
killed takes its own requests with it, a pod deleted by force those that it ran. Last, endpoints are deleted and made
again under their names with other weights, while the addresses of their old pods go to others.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.doors import strangers, upsets
from bench.doors.traffic import Asked, tell_lost
from bench.doors.upsets import Upset
from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.frame.stage import open_stage
from dev.cluster import HarnessError
from dev.cluster.progress import say
from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from tests.cluster.apiserver import ApiServer
from tests.cluster.space import Space

REQUESTS = 2000
Play = Callable[[Space, int], Awaitable[Upset]]
GRACEFUL: dict[str, Play] = {
    "scale-down": upsets.scale_down,
    "sleep": lambda space, count: upsets.sleep_and_wake(space, count, cycles=20),
    "engine roll-out": lambda space, count: upsets.roll_engine(space, count, times=3),
    "gateway roll-out": lambda space, count: upsets.roll_gateways(space, count, times=2),
    "no API server": lambda space, count: upsets.lose_api_server(space, count, seconds=30),
    "no controller": lambda space, count: upsets.lose_controllers(space, count, 60, wakes=5),
}
FORCED: dict[str, Play] = {
    "gateway killed": upsets.kill_one_gateway,
    "pod deleted by force": strangers.force_delete,
    "node gone": strangers.silence_node,
}
NAMESAKES = "made again"


def of_graceful(name: str, upset: Upset) -> list[Figure]:
    """Return the figures of what must lose nothing."""
    asked = upset.asked
    return [
        Figure(f"{name}: lost", _lost(asked), "", 0, exactly=True),
        Figure("  requests", len(asked), "", REQUESTS, at_least=True),
        Figure("  of these on a connection that was just closed, tried again", _raced(asked), ""),
        *(Figure(f"  {what}", number, "") for what, number in upset.proof.items()),
    ]


def of_forced(name: str, upset: Upset) -> list[Figure]:
    """Return the figures of what takes those with it that were under way, and hardly any others."""
    others = len(upset.asked) - upset.proof["of these not answered"]
    answered = sum(one.answered for one in upset.asked)
    return [
        Figure(f"{name}: others answered", 100 * answered / others, "%", 99, at_least=True),
        Figure("  requests", len(upset.asked), "", REQUESTS, at_least=True),
        Figure("  of those not answered", others - answered, ""),
        Figure("  answered at a second or third try", _again(upset.asked), ""),
        *(Figure(f"  {what}", number, "") for what, number in upset.proof.items()),
    ]


async def made_again(space: Space, count: int) -> list[Figure]:
    """Run the namesakes, with as many GPUs as there are endpoints, and return their figures."""
    other = space.weights.rstrip("/") + "-other/"
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), megabytes=1, seed=NAMESAKES)
        space.torpor.bucket.put(Path(folder), other)
    sources = (space.weights, other)
    first, second = (checksum_objects(dict(space.torpor.bucket.read(one))) for one in sources)
    try:
        with strangers.more_gpus(space.api, count):
            renewed = await strangers.make_again(
                space, sources, (first, second), count, at_once=count
            )
    finally:
        space.torpor.bucket.remove(other)
    faults = [asker.fault for asker in renewed.askers if asker.fault is not None]
    say(f"faults: {faults or 'none'}")
    answers = sum(len(asker.heard) for asker in renewed.askers)
    return [
        Figure(f"{NAMESAKES}: endpoints that a stranger answered for", len(faults), "", 0, True),
        Figure("  endpoints", count, "", 20, at_least=True),
        Figure("  answers", answers, ""),
        Figure("  addresses used again by others", renewed.reused, "", 1, at_least=True),
    ]


async def play(space: Space, name: str, given: argparse.Namespace) -> list[Figure]:
    """Run one scenario and return its figures."""
    say(f"{name}: {given.requests} requests")
    if name == NAMESAKES:
        return await made_again(space, given.endpoints)
    graceful = name in GRACEFUL
    upset = await (GRACEFUL | FORCED)[name](space, given.requests)
    lost = tell_lost(upset.asked)
    say(f"{name}: {len(upset.asked)} requests; lost: {lost}; {upset.proof}")
    return of_graceful(name, upset) if graceful else of_forced(name, upset)


def measure(given: argparse.Namespace) -> int:
    """Run all scenarios, each in a namespace of its own, and print the figures, whatever becomes of one of them."""
    chosen = given.only.split(",") if given.only else [*GRACEFUL, *FORCED, NAMESAKES]
    figures: list[Figure] = []
    for number, name in enumerate(chosen):
        with open_stage(f"losses-{number}") as stage:
            api = ApiServer(Path(str(stage.torpor.kube.kubeconfig)))
            try:
                space = Space(stage.namespace, api, stage.torpor, stage.source)
                figures += asyncio.run(play(space, name, given))
            except (HarnessError, AssertionError) as error:
                say(f"{name}: not played to its end: {error}")
                figures.append(Figure(f"{name}: broken off", 1, "", 0, exactly=True))
            finally:
                api.close()
    return report("losses", figures, check=given.check)


def _lost(asked: list[Asked]) -> int:
    return sum(one.lost for one in asked)


def _raced(asked: list[Asked]) -> int:
    return sum(bool(one.faults) and not one.lost for one in asked)


def _again(asked: list[Asked]) -> int:
    return sum(bool(one.faults) and one.answered for one in asked)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.losses", description=__doc__)
    options.add_argument("--requests", type=int, default=REQUESTS, help="requests of each scenario")
    options.add_argument("--endpoints", type=int, default=20, help="endpoints that are made again")
    options.add_argument("--only", default="", help="scenarios, with commas between them")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    end_with(lambda: measure(options.parse_args()))
