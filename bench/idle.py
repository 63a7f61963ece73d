"""Idle deadline → replicas 0, over many cycles: with two gateways, one restarted meanwhile, one cut off at last.

Measured from the last byte of the last answer, plus the keep-alive, to the moment at which the API server's own watch
tells this process that replicas are 0. The last answer of a cycle comes from a pod that Kubernetes already calls Ready,
since its Ready moves the clock too. A cut-off gateway is one whose packets from everybody else are dropped: while it
exists and is silent nobody knows that an endpoint is idle, and it must not sleep.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.frame.eye import Eye, Sight, ask, watch
from bench.frame.figures import Figure, report
from bench.frame.stage import Stage, ask_endpoint, main, open_stage
from dev.cluster.progress import say
from torpor.cluster.connect import Api
from torpor.manifests.names import ENDPOINT_LABEL

Json = dict[str, Any]
ENDPOINTS = ("idle-0", "idle-1", "idle-2", "idle-3")
KEEP_SECONDS = 2
CUT_OFF = "cut-off"
CUT_OFF_KEEPS_SECONDS = 4
SILENT_SECONDS = 15.0
"""How long a gateway is cut off: several times the keep-alive."""
SYSTEM = "torpor-system"
GATEWAYS = f"/api/v1/namespaces/{SYSTEM}/pods"
PORT = 8081
_DROP = ("FORWARD", "-p", "tcp", "--dport", str(PORT), "-j", "DROP", "-d")


@dataclass
class Measured:
    """What happened; seconds."""

    lags: list[float] = field(default_factory=list)
    """From the deadline to replicas 0, of all cycles."""
    restarts: int = 0
    slept_while_silent: int = 0
    after_silence: float = 0.0
    """From the end of the silence to replicas 0."""
    after_it_was_gone: float = 0.0
    """From the deletion of the silent gateway to replicas 0."""


class Sleepers:
    """The endpoints, by the two watches that tell of them."""

    def __init__(self, stage: Stage, api: Api, deployments: Eye, pods: Eye) -> None:
        self._stage = stage
        self._deployments = deployments
        self._pods = pods
        self.api = api

    async def cycle(self, name: str, keep_seconds: float) -> float:
        """Wake one, and return by how much replicas 0 came after the deadline."""
        since = len(self._pods.seen)
        mark, last_byte = await self.warm(name)
        slept = await self._deployments.first(lambda sight: _is_asleep(sight, name), mark)
        await self._pods.first(lambda sight: _is_gone(sight, name), since)
        return slept.at - last_byte - keep_seconds

    async def warm(self, name: str) -> tuple[int, float]:
        """Have one answered by a pod that is Ready; return where the watch stands and when the answer ended."""
        gateway, since = self._stage.torpor.gateway, len(self._pods.seen)
        await ask_endpoint(gateway, name)
        await self._pods.first(lambda sight: _is_ready(sight, name), since)
        mark = len(self._deployments.seen)
        await ask_endpoint(gateway, name)
        return mark, time.time()

    async def asleep(self, name: str, since: int) -> float:
        """Return when replicas 0 of one was seen."""
        return (await self._deployments.first(lambda sight: _is_asleep(sight, name), since)).at

    def seen(self) -> int:
        """Return where the watch of the Deployments stands."""
        return len(self._deployments.seen)

    def slept_since(self, name: str, mark: int) -> int:
        """Return how often one was put to sleep since then."""
        return sum(_is_asleep(sight, name) for sight in self._deployments.seen[mark:])


def _is_asleep(sight: Sight, name: str) -> bool:
    return sight.obj["metadata"]["name"] == name and not sight.obj["spec"].get("replicas")


def _is_of(sight: Sight, name: str) -> bool:
    return bool((sight.obj["metadata"].get("labels") or {}).get(ENDPOINT_LABEL) == name)


def _is_gone(sight: Sight, name: str) -> bool:
    return _is_of(sight, name) and sight.kind == "DELETED"


def _is_ready(sight: Sight, name: str) -> bool:
    conditions = (sight.obj.get("status") or {}).get("conditions") or ()
    return (
        _is_of(sight, name)
        and not sight.obj["metadata"].get("deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    )


@contextmanager
def cut_off(address: str) -> Iterator[None]:
    """Drop what is sent to a gateway's internal port while the block runs."""
    subprocess.run(["iptables", "-w", "10", "-I", *_DROP, address], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "10", "-D", *_DROP, address], check=True)


async def gateways(api: Api) -> list[Json]:
    """Return the gateway pods that run, the oldest first."""
    found = (await ask(api, "GET", GATEWAYS))["items"]
    ours = [
        pod
        for pod in found
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "gateway"
        and pod["status"].get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return sorted(ours, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


async def many_cycles(sleepers: Sleepers, cycles: int) -> Measured:
    """Go round with all endpoints at once; one gateway is restarted after a third of the cycles."""
    measured = Measured()
    each = -(-cycles // len(ENDPOINTS))

    async def go_round(name: str) -> None:
        for _ in range(each):
            lag = await sleepers.cycle(name, KEEP_SECONDS)
            measured.lags.append(lag)
            say(f"cycle {len(measured.lags)} of {each * len(ENDPOINTS)}: {name} {lag:+.3f} s")

    async def restart() -> None:
        while len(measured.lags) < cycles / 3:
            await asyncio.sleep(0.2)
        old = (await gateways(sleepers.api))[0]["metadata"]["name"]
        say(f"deleting gateway {old}")
        await ask(sleepers.api, "DELETE", f"{GATEWAYS}/{old}")
        measured.restarts += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(restart())
        for name in ENDPOINTS:
            group.create_task(go_round(name))
    return measured


async def silence(sleepers: Sleepers, measured: Measured) -> None:
    """Cut a gateway off while an endpoint idles: first for a while, then until it is deleted."""
    silent = (await gateways(sleepers.api))[0]
    with cut_off(silent["status"]["podIP"]):
        mark = await _silent(sleepers, measured)
    ended = time.time()
    measured.after_silence = await sleepers.asleep(CUT_OFF, mark) - ended
    say(f"asleep {measured.after_silence:.2f} s after the silence ended")
    await asyncio.sleep(5)
    with cut_off(silent["status"]["podIP"]):
        mark = await _silent(sleepers, measured)
        name = silent["metadata"]["name"]
        say(f"deleting gateway {name} at once")
        ended = time.time()
        await ask(sleepers.api, "DELETE", f"{GATEWAYS}/{name}", {"gracePeriodSeconds": 0})
        measured.after_it_was_gone = await sleepers.asleep(CUT_OFF, mark) - ended
    say(f"asleep {measured.after_it_was_gone:.2f} s after the silent gateway was deleted")


async def _silent(sleepers: Sleepers, measured: Measured) -> int:
    mark, _ = await sleepers.warm(CUT_OFF)
    say(f"{SILENT_SECONDS:g} s of silence")
    await asyncio.sleep(SILENT_SECONDS)
    measured.slept_while_silent += sleepers.slept_since(CUT_OFF, mark)
    return mark


@asynccontextmanager
async def looking_at(stage: Stage) -> AsyncIterator[Sleepers]:
    """Watch the namespace's Deployments and pods while the block runs."""
    api = await stage.connect()
    namespace = stage.namespace
    try:
        async with (
            watch(api, f"/apis/apps/v1/namespaces/{namespace}/deployments") as deployments,
            watch(api, f"/api/v1/namespaces/{namespace}/pods") as pods,
        ):
            yield Sleepers(stage, api, deployments, pods)
    finally:
        await api.close()


async def measure(given: argparse.Namespace) -> int:
    """Run all cycles and print the figures."""
    with open_stage("idle") as stage:
        fixed = {"policy": "fixed"}
        for name in ENDPOINTS:
            stage.add_endpoint(name, keepAlive=fixed | {"after": f"{KEEP_SECONDS}s"})
        stage.add_endpoint(CUT_OFF, keepAlive=fixed | {"after": f"{CUT_OFF_KEEPS_SECONDS}s"})
        async with looking_at(stage) as sleepers:
            measured = await many_cycles(sleepers, given.cycles)
            await silence(sleepers, measured)
    late = sorted(measured.lags)
    figures = [
        Figure("deadline → replicas 0, latest", late[-1], "s", 1.0),
        Figure("  earliest", late[0], "s", -1.0, at_least=True),
        Figure("  median", late[len(late) // 2], "s"),
        Figure("  cycles", len(late), "", 50, at_least=True),
        Figure("  gateways restarted meanwhile", measured.restarts, "", 1, exactly=True),
        Figure(
            "sleeps while a gateway was silent", measured.slept_while_silent, "", 0, exactly=True
        ),
        Figure("  end of the silence → replicas 0", measured.after_silence, "s"),
        Figure("  silent gateway deleted → replicas 0", measured.after_it_was_gone, "s"),
    ]
    return report("idle", figures, check=given.check, silence_s=SILENT_SECONDS)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    options.add_argument("--cycles", type=int, default=50, help="sleeps that are timed")
    main(measure, options)
