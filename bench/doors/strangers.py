"""Pods that are gone while a gateway may still think of them: made again under their names, force-deleted, silent."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from bench.doors.lending import lent
from bench.doors.script import CHAT
from bench.doors.upsets import Upset, make, taken_by, wait_until
from dev.cluster.node import GPUS
from dev.cluster.places import NODE
from tests.cluster.apiserver import ENDPOINTS, PODS, ApiServer, Json
from tests.cluster.space import HELLO, Space
from torpor.manifests.names import ENDPOINT_LABEL

GPU = "nvidia.com/gpu"
KEEPS: Json = {"keepAlive": {"policy": "fixed", "after": "1h"}}
QUICK: Json = {
    "spec": {
        "containers": [{"name": "engine", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
        "initContainers": [{"name": "weights", "resources": {"requests": {"cpu": "10m"}}}],
    }
}
"""Pods that end soon, and that fit on two cores by the score."""
OLD, NEW = "old", "new"


@dataclass
class Asker:
    """Asks one gateway for one endpoint over and over, and notes who answered."""

    door: str
    model: str
    name: str
    prints: tuple[str, str]
    """`system_fingerprint` of the weights before and after."""
    heard: list[str] = field(default_factory=list)
    """Of each answer: OLD, NEW, the code of an error, or who it was that should not have answered."""

    async def run(self, client: httpx.AsyncClient) -> None:
        """Ask until cancelled."""
        asked = {"model": self.model, "messages": HELLO, "max_tokens": 4}
        while True:
            answer = await client.post(f"{self.door}{CHAT}", json=asked)
            self.heard.append(self._read(answer.status_code, answer.json()))
            await asyncio.sleep(0.1)

    def _read(self, status: int, body: Any) -> str:
        if status != 200:
            return f"{status} {body['error']['code']}"
        if body["model"] != self.name:
            return f"answered by {body['model']}"
        known = dict(zip(self.prints, (OLD, NEW), strict=True))
        return known.get(body["system_fingerprint"], "answered by strange weights")

    @property
    def fault(self) -> str | None:
        """Return what it should not have heard: anything but old answers, then errors, then new ones."""
        rest = [one for one in self.heard if one not in (OLD, NEW)]
        wrong = [one for one in rest if not one.startswith("404 ")]
        if wrong:
            return wrong[0]
        ranks = [{OLD: 0, NEW: 2}.get(one, 1) for one in self.heard]
        return None if ranks == sorted(ranks) else f"out of order: {self.heard}"


@dataclass
class Renewed:
    """What askers heard while endpoints were deleted and made again, and how many addresses were used again."""

    askers: list[Asker]
    reused: int


async def make_again(
    space: Space,
    sources: tuple[str, str],
    prints: tuple[str, str],
    count: int,
    at_once: int,
) -> Renewed:
    """Delete so many awake endpoints at once and make them again with other weights, while all are asked.

    Args:
        space: Where.
        sources: Two checkpoints; each endpoint has one of them before and the other one afterwards.
        prints: What engines with these weights are recognised by.
        count: How many.
        at_once: How many are made again together. One by one, none is in another's way for a free address.
    """
    names = [f"again-{number}" for number in range(count)]

    def apply(number: int, turn: int) -> None:
        spec = {"scaling": KEEPS, "template": QUICK}
        source = sources[(number + turn) % 2]
        space.apply(space.compose(names[number], spec=spec, source=source))

    def pods() -> dict[str, tuple[str, str]]:
        """Of each pod by its uid: its endpoint, and its address or nothing."""
        return {
            pod["metadata"]["uid"]: (
                pod["metadata"]["labels"][ENDPOINT_LABEL],
                pod["status"].get("podIP", ""),
            )
            for pod in space.pods()
        }

    for number in range(count):
        await asyncio.to_thread(apply, number, 0)
    for name in names:
        await asyncio.to_thread(space.wait_weights, name)
    askers = [
        Asker(
            f"http://{ip}:8080",
            f"{space.name}/{name}",
            name,
            prints if number % 2 == 0 else prints[::-1],
        )
        for number, name in enumerate(names)
        for ip in space.torpor.gateway_pods()
    ]
    async with asking(askers):
        await wait_until("all answer", lambda: all(OLD in one.heard for one in askers), 120)
        old = await asyncio.to_thread(pods)
        owners = {address: name for name, address in old.values()}

        def waiting() -> dict[str, str]:
            return {uid: name for uid, (name, address) in pods().items() if not address}

        async with lent(owners, waiting):
            for name in names:
                await asyncio.to_thread(space.api.delete, space.path(ENDPOINTS, name))
            async with asyncio.timeout(120):  # until most of their addresses are free
                while len(old.keys() & (await asyncio.to_thread(pods)).keys()) > count // 4:
                    await asyncio.sleep(0.2)
            for first in range(0, count, at_once):
                batch = range(first, min(first + at_once, count))
                for number in batch:
                    await asyncio.to_thread(apply, number, 1)
                again = {names[number] for number in batch}
                await wait_until("all answer anew", partial(_renewed, askers, again), 240)
        new = await asyncio.to_thread(pods)
    after = [one for uid, one in new.items() if uid not in old]
    reused = sum(owners.get(address, name) != name for name, address in after)
    return Renewed(askers, reused)


def _renewed(askers: list[Asker], names: set[str]) -> bool:
    return all(NEW in one.heard for one in askers if one.name in names)


async def force_delete(space: Space, count: int) -> Upset:
    """A pod that is deleted without any grace: what ran on it is told so, everything else is answered."""
    subject = await make(space, "forced")
    (pod,) = space.pods("forced")
    path = f"{space.path(PODS)}/{pod['metadata']['name']}"
    async with subject.traffic() as load, load.flowing():
        await load.reach(count // 2)
        deleted = time.time()
        await asyncio.to_thread(space.api.delete, path, 0)
        await load.reach(count)
    return Upset(load.asked, taken_by(load.asked, deleted))


async def silence_node(space: Space, count: int) -> Upset:
    """A node that is gone: one of two pods hears and says nothing any more, and nobody has told the API server."""
    subject = await make(space, "silent")
    space.api.patch(
        space.path(ENDPOINTS, "silent"), {"spec": {"scaling": {"minReplicas": 2, "maxReplicas": 2}}}
    )

    def ready() -> list[Json]:
        return [pod for pod in space.pods("silent") if _is_ready(pod)]

    async with subject.traffic() as load:
        async with load.flowing():
            await wait_until("two pods", lambda: len(ready()) == 2, 60)
            address = ready()[0]["status"]["podIP"]
            await load.reach(len(load.asked) + count // 2)
        gone = time.time()
        with silent(address):
            async with load.flowing():
                await load.reach(len(load.asked) + count)
            await load.rest()
    return Upset(load.asked, taken_by(load.asked, gone))


@contextmanager
def silent(address: str) -> Iterator[None]:
    """Drop every packet to and from a pod while the block runs."""
    rules = [("FORWARD", side, address, "-j", "DROP") for side in ("-d", "-s")]
    for rule in rules:
        subprocess.run(["iptables", "-w", "10", "-I", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run(["iptables", "-w", "10", "-D", *rule], check=True)


@contextmanager
def more_gpus(api: ApiServer, count: int) -> Iterator[None]:
    """Let the node show so many GPUs while the block runs."""
    path = f"/api/v1/nodes/{NODE}/status"

    def show(number: int) -> None:
        gpus = {GPU: str(number)}
        api.patch(path, {"status": {"capacity": gpus, "allocatable": gpus}})

    show(max(count, GPUS))
    try:
        yield
    finally:
        show(GPUS)


@asynccontextmanager
async def asking(askers: Sequence[Asker]) -> AsyncIterator[None]:
    """Have all of them ask while the block runs."""
    async with httpx.AsyncClient(timeout=300, trust_env=False, verify=False) as client:
        tasks = [asyncio.create_task(asker.run(client)) for asker in askers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


def _is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
