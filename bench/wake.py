"""Request at zero → replicas written, one write whatever the herd, and engine healthy → first byte.

Measured from the moment before a client with a fresh connection sends its request to the moment at
which the API server's own watch tells this process of the written replicas: an upper bound that
nobody measured can flatter. Cross-check: the gateway's own times in its demand report.

Healthy is an engine from the moment of this process's last look at it that failed, one every 5 ms, so that the time to
the client's first byte may be told too long by as much and never too short.

A write is a step of the Deployment's metadata.generation, which the API server raises with each
change of a spec; the watch shows every one.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from typing import Any

from bench.frame.eye import Eye, Sight, first_health, wait_for_no_pods, watch
from bench.frame.figures import Figure, report, spread
from bench.frame.stage import Stage, ask_endpoint, main, open_stage
from bench.frame.wakes import told_wakes
from dev.cluster import HarnessError
from dev.cluster.progress import say
from torpor.cluster.connect import Api
from torpor.manifests.names import COMPONENT_ENGINE, COMPONENT_LABEL, ENDPOINT_LABEL

NAME = "sleeper"
PAUSE_SECONDS = 0.5
"""Between the end of one round and the next: the machine comes to rest."""
HEALTH_SECONDS = 0.005
"""Between two looks at a starting engine."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """One wake; times in ms after the client's send."""

    seen: float
    received: float | None
    acknowledged: float | None
    first_byte: float
    """From the last look at the engine that found it not healthy."""


@dataclass(frozen=True)
class Herd:
    """Many first requests at once."""

    writes: int
    replicas: int
    answered: int
    seen: float


def asked_replicas(sight: Sight) -> int:
    """Return the replicas that a Deployment's event shows."""
    return int(sight.obj["spec"].get("replicas") or 0)


def is_awake(sight: Sight) -> bool:
    """Say whether an event shows replicas."""
    return asked_replicas(sight) > 0


class Sleeper:
    """The endpoint that is woken over and over."""

    def __init__(self, stage: Stage, api: Api, eye: Eye, pods: Eye) -> None:
        self._stage = stage
        self._api = api
        self._eye = eye
        self._pods = pods

    async def wake_once(self) -> Round:
        """Ask it once while it sleeps, and return when it is asleep again."""
        mark = len(self._eye.seen)
        looking = asyncio.create_task(self._health(len(self._pods.seen)))
        sent = time.time()
        asked = asyncio.create_task(ask_endpoint(self._stage.torpor.gateway, NAME))
        written = await self._eye.first(is_awake, mark)
        healthy, first_byte = await looking, await asked
        wake = await self._own_times(sent)
        await self._rest(mark)
        return Round(
            (written.at - sent) * 1000,
            _after(sent, wake.get("atMs")),
            _after(sent, wake.get("patchedMs")),
            (first_byte - healthy) * 1000,
        )

    async def _health(self, mark: int) -> float:
        """Return when the pod that comes next was last seen not to be healthy yet (epoch seconds)."""
        pod = await self._pods.first(lambda s: bool((s.obj.get("status") or {}).get("podIP")), mark)
        return (await first_health(pod.obj["status"]["podIP"], HEALTH_SECONDS))[0]

    async def stampede(self, number: int) -> Herd:
        """Send many first requests at once, and return when all were answered and it sleeps again."""
        before = self._eye.seen[-1].obj["metadata"]["generation"]
        mark = len(self._eye.seen)
        sent = time.time()
        gateway = self._stage.torpor.gateway
        asked = [asyncio.create_task(ask_endpoint(gateway, NAME)) for _ in range(number)]
        written = await self._eye.first(is_awake, mark)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        seen = self._eye.seen[mark:]
        awake = [s for s in seen if s.obj["metadata"]["generation"] > before and is_awake(s)]
        writes = max(s.obj["metadata"]["generation"] for s in awake) - before
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failed[:3]:
            say(f"not answered: {failure}")
        most = max(asked_replicas(s) for s in awake)
        await self._rest(mark)
        return Herd(writes, most, number - len(failed), (written.at - sent) * 1000)

    async def _rest(self, mark: int) -> None:
        woken = next(at for at in range(mark, len(self._eye.seen)) if is_awake(self._eye.seen[at]))
        await self._eye.first(lambda sight: not is_awake(sight), woken)
        await wait_for_no_pods(self._api, self._stage.namespace, f"{ENDPOINT_LABEL}={NAME}")
        await asyncio.sleep(PAUSE_SECONDS)

    async def _own_times(self, sent: float) -> Json:
        """Return what the gateway that woke it says of this wake."""
        wakes = (await told_wakes(self._stage, [NAME], sent))[NAME]
        return wakes[0] if wakes else {}


def _after(sent: float, at_ms: float | None) -> float | None:
    return None if at_ms is None else at_ms - sent * 1000


async def measure(given: argparse.Namespace) -> int:
    """Run all rounds and print the figures."""
    with open_stage("wake") as stage:
        stage.add_endpoint(NAME)
        api = await stage.connect()
        path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
        try:
            pods = f"/api/v1/namespaces/{stage.namespace}/pods"
            async with (
                watch(api, path, ("fieldSelector", f"metadata.name={NAME}")) as eye,
                watch(
                    api, pods, ("labelSelector", f"{COMPONENT_LABEL}={COMPONENT_ENGINE}")
                ) as born,
            ):
                await eye.first(lambda _: True, 0)
                sleeper = Sleeper(stage, api, eye, born)
                await sleeper.wake_once()  # not counted: the first of everything
                say(f"{given.wakes} wakes, one at a time")
                rounds = [await sleeper.wake_once() for _ in range(given.wakes)]
                say(f"{given.herds} herds of {given.herd}")
                herds = [await sleeper.stampede(given.herd) for _ in range(given.herds)]
        finally:
            await api.close()
    return report(
        "wake", figures_of(rounds, herds, given.herd), check=given.check, wakes=len(rounds)
    )


def figures_of(rounds: list[Round], herds: list[Herd], herd: int) -> list[Figure]:
    """Return the figures of all rounds, with the bars they are held to."""
    figures = spread("request → replicas written", [r.seen for r in rounds], "ms", p50=20, p95=45)
    received = [r.received for r in rounds if r.received is not None]
    acknowledged = [r.acknowledged for r in rounds if r.acknowledged is not None]
    if not acknowledged or not received:
        raise HarnessError(
            "no gateway reported any of these wakes: the cross-check has nothing to say"
        )
    figures += spread("  cross-check, gateway: request began to wait", received, "ms")
    figures += spread("  cross-check, gateway: write acknowledged", acknowledged, "ms")
    figures += spread("engine healthy → first byte", [r.first_byte for r in rounds], "ms", p95=100)
    if herds:
        worst = max(herds, key=lambda h: h.writes)
        figures += [
            Figure(
                f"writes for {herd} concurrent first requests, most",
                worst.writes,
                "writes",
                1,
                True,
            ),
            Figure("  replicas asked, most", max(h.replicas for h in herds), ""),
            Figure("  answered, fewest", min(h.answered for h in herds), "", herd, True),
            Figure("  first request → write, largest", max(h.seen for h in herds), "ms"),
        ]
    return figures


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.wake", description=__doc__)
    options.add_argument("--wakes", type=int, default=40, help="single wakes")
    options.add_argument("--herds", type=int, default=5, help="how often a herd comes")
    options.add_argument("--herd", type=int, default=100, help="requests of a herd")
    main(measure, options)
