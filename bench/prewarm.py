"""What weights on the node are worth: a wake that finds them against a wake that has to download them.

Two endpoints of the same checkpoint take turns. One has its weights on the node (a hostPath cache, filled by its Job).
The other keeps nothing (`prewarm.cache.kind: ephemeral`), so each of its wakes downloads into its own pod; how long
that took is what its init container reported. Everything else is the same: pod, engine, gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.frame.eye import ask, wait_for_no_pods
from bench.frame.figures import Figure, report
from bench.frame.stage import Stage, ask_endpoint, main, open_stage
from dev.cluster import HarnessError
from dev.cluster.progress import say
from dev.install.checkpoint import write_checkpoint
from torpor.cluster.connect import Api
from torpor.manifests.names import ENDPOINT_LABEL, WEIGHTS_CONTAINER

WARM, COLD = "warm", "cold"
PAUSE_SECONDS = 1.0

Json = dict[str, Any]


async def wake(stage: Stage, api: Api, name: str) -> tuple[float, Json]:
    """Ask a sleeping endpoint; returns the seconds to the first byte, and what its init container reported."""
    began = time.time()
    answered = await ask_endpoint(stage.torpor.gateway, name)
    found = await ask(api, "GET", f"/api/v1/namespaces/{stage.namespace}/pods")
    told = [
        json.loads(status["state"]["terminated"]["message"])
        for pod in found["items"]
        if pod["metadata"]["labels"].get(ENDPOINT_LABEL) == name
        for status in pod["status"].get("initContainerStatuses") or ()
        if status["name"] == WEIGHTS_CONTAINER and "terminated" in status["state"]
    ]
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{name}"
    while (await ask(api, "GET", path))["spec"].get("replicas"):
        await asyncio.sleep(0.1)
    await wait_for_no_pods(api, stage.namespace, f"{ENDPOINT_LABEL}={name}")
    await asyncio.sleep(PAUSE_SECONDS)
    if not told:
        raise HarnessError(f"the init container of {name} reported nothing")
    return answered - began, told[-1]


async def measure(given: argparse.Namespace) -> int:
    """Let both take turns and print the figures."""
    with open_stage("prewarm") as stage, tempfile.TemporaryDirectory() as folder:
        say(f"a checkpoint of {given.megabytes} MB …")
        write_checkpoint(Path(folder), megabytes=given.megabytes, seed="prewarm")
        stage.torpor.bucket.put(Path(folder), stage.source)
        stage.add_endpoint(WARM)
        stage.add_endpoint(COLD, spec={"prewarm": {"cache": {"kind": "ephemeral"}}})
        api = await stage.connect()
        taken: dict[str, list[float]] = {WARM: [], COLD: []}
        downloads: list[float] = []
        try:
            for number in range(given.rounds + 1):
                for name, seconds in taken.items():
                    waited, told = await wake(stage, api, name)
                    if number:  # round 0 is not counted: the first of everything
                        seconds.append(waited)
                        downloads += [told["seconds"]] if name == COLD else []
                say(
                    f"round {number}: "
                    + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in taken.items() if v)
                )
        finally:
            await api.close()
    figures = figures_of(taken, downloads)
    return report(
        "prewarm", figures, check=given.check, rounds=given.rounds, megabytes=given.megabytes
    )


def figures_of(taken: dict[str, list[float]], downloads: list[float]) -> list[Figure]:
    """Return medians, and what share of the download the prewarmed wake has saved."""
    warm, cold = statistics.median(taken[WARM]), statistics.median(taken[COLD])
    download = statistics.median(downloads)
    saved = (cold - warm) / download if download else 0.0
    return [
        Figure("wake, weights on the node, median", warm, "s"),
        Figure("wake, weights in the bucket, median", cold, "s"),
        Figure("  of which download, as reported", download, "s"),
        Figure("saved of the download", saved, "", 0.8, at_least=True),
    ]


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.prewarm", description=__doc__)
    options.add_argument("--rounds", type=int, default=6, help="rounds of both")
    options.add_argument("--megabytes", type=int, default=512, help="size of the checkpoint")
    main(measure, options)
