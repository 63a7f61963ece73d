"""What a cold start through torpor costs over a bare scale of the same pod.

Three ways to a first healthy answer take turns, so that what the machine does beside hits all alike:

- *bare*: a Deployment with torpor's own pod template, scaled by one call to the API server; its pod
  is found by a watch and asked /health every 10 ms. Nobody can be quicker with this pod.
- *bare, no init container*: the same without the init container that looks for the weights.
- *torpor*: a request through the gateway to a sleeping endpoint, to the first byte of the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.frame.eye import ask, first_health, scale, wait_for_no_pods, watch
from bench.frame.figures import Figure, report
from bench.frame.stage import Stage, ask_endpoint, main, open_stage
from dev.cluster.progress import say
from torpor.cluster.connect import Api
from torpor.manifests.names import ENDPOINT_LABEL

NAME = "cold"
BARE, LEAN = "bare", "bare-lean"
LABEL = "torpor-bench"
PAUSE_SECONDS = 1.0
PROBE_SECONDS = 0.01
START_SECONDS = 60.0

Json = dict[str, Any]


def strip_template(template: Json, name: str, *, init: bool) -> Json:
    """Return a pod template that torpor does not know as its own: other labels, otherwise the same pod."""
    spec = {
        key: value for key, value in template["spec"].items() if init or key != "initContainers"
    }
    return {"metadata": {"labels": {LABEL: name}}, "spec": spec}


def bare_deployment(template: Json, name: str, namespace: str, *, init: bool) -> Json:
    """Return a Deployment of that pod, at zero."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {LABEL: name}},
            "template": strip_template(template, name, init=init),
        },
    }


class Ways:
    """The three ways, each from nothing to nothing again."""

    def __init__(self, stage: Stage, api: Api) -> None:
        self._stage = stage
        self._api = api

    async def make_bare(self) -> None:
        """Make both bare Deployments from the endpoint's own."""
        path = f"/apis/apps/v1/namespaces/{self._stage.namespace}/deployments"
        template = (await ask(self._api, "GET", f"{path}/{NAME}"))["spec"]["template"]
        for name, init in ((BARE, True), (LEAN, False)):
            body = bare_deployment(template, name, self._stage.namespace, init=init)
            await ask(self._api, "POST", path, body)

    async def bare(self, name: str) -> float:
        """Scale up, wait for the first healthy answer, scale down; returns the seconds to that answer."""
        namespace, selector = self._stage.namespace, f"{LABEL}={name}"
        path = f"/api/v1/namespaces/{namespace}/pods"
        async with watch(self._api, path, ("labelSelector", selector)) as pods:
            began = time.time()
            await scale(self._api, namespace, name, 1)
            seen = await pods.first(lambda s: bool(s.obj["status"].get("podIP")), 0, START_SECONDS)
            _, healthy = await first_health(seen.obj["status"]["podIP"], PROBE_SECONDS)
        await scale(self._api, namespace, name, 0)
        await self._rest(selector)
        return healthy - began

    async def torpor(self) -> float:
        """Ask the sleeping endpoint; returns the seconds to the answer's first byte."""
        began = time.time()
        answered = await ask_endpoint(self._stage.torpor.gateway, NAME)
        path = f"/apis/apps/v1/namespaces/{self._stage.namespace}/deployments/{NAME}"
        while (await ask(self._api, "GET", path))["spec"].get("replicas"):
            await asyncio.sleep(0.1)
        await self._rest(f"{ENDPOINT_LABEL}={NAME}")
        return answered - began

    async def _rest(self, selector: str) -> None:
        await wait_for_no_pods(self._api, self._stage.namespace, selector)
        await asyncio.sleep(PAUSE_SECONDS)


async def measure(given: argparse.Namespace) -> int:
    """Let the ways take turns and print the figures."""
    with open_stage("coldstart") as stage:
        stage.add_endpoint(NAME)
        api = await stage.connect()
        try:
            ways = Ways(stage, api)
            await ways.make_bare()
            turns: dict[str, Callable[[], Awaitable[float]]] = {
                BARE: lambda: ways.bare(BARE),
                LEAN: lambda: ways.bare(LEAN),
                "torpor": ways.torpor,
            }
            taken: dict[str, list[float]] = {name: [] for name in turns}
            for number in range(given.rounds + 1):
                for name, turn in turns.items():
                    seconds = await turn()
                    if number:  # round 0 is not counted: the first of everything
                        taken[name].append(seconds)
                say(
                    f"round {number}: "
                    + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in taken.items() if v)
                )
        finally:
            await api.close()
    return report("coldstart", figures_of(taken), check=given.check, rounds=given.rounds)


def figures_of(taken: dict[str, list[float]]) -> list[Figure]:
    """Return medians, differences and ratio, with the bars they are held to, and the quickest round of each way."""
    ways = (BARE, LEAN, "torpor")
    bare, lean, torpor = (statistics.median(taken[name]) for name in ways)
    quick_bare, quick_lean, quick_torpor = (min(taken[name]) for name in ways)
    return [
        Figure("bare scale → healthy, no init container, median", lean, "s"),
        Figure("bare scale → healthy, same pod, median", bare, "s"),
        Figure("torpor: request → first byte, median", torpor, "s"),
        Figure("  the init container costs", bare - lean, "s"),
        Figure("  torpor costs over the same pod", torpor - bare, "s", 0.15),
        Figure("  torpor / the same pod", torpor / bare, ""),
        Figure("quickest: bare, no init container", quick_lean, "s"),
        Figure("quickest: bare, same pod", quick_bare, "s"),
        Figure("quickest: torpor", quick_torpor, "s"),
    ]


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.coldstart", description=__doc__)
    options.add_argument("--rounds", type=int, default=10, help="rounds of the three ways")
    main(measure, options)
