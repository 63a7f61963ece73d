"""Watches on the API server with the time at which each event came, and the few direct writes of a benchmark."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from dev.cluster import HarnessError
from torpor.cluster.connect import Api
from torpor.manifests.names import ENGINE_PORT

Json = dict[str, Any]
_SHORT = aiohttp.ClientTimeout(total=10)
_LOOK = aiohttp.ClientTimeout(total=1, sock_connect=0.05)
"""A pod whose network is not up yet is silent."""
_FOREVER = aiohttp.ClientTimeout(total=None, sock_read=None)


@dataclass(frozen=True)
class Sight:
    """One event, and when it reached this process (epoch seconds)."""

    at: float
    kind: str
    obj: Json


@dataclass
class Eye:
    """What a watch has seen so far, oldest first."""

    what: str
    seen: list[Sight] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, sight: Sight) -> None:
        """Take in one event."""
        async with self._news:
            self.seen.append(sight)
            self._news.notify_all()

    async def first(
        self, holds: Callable[[Sight], bool], since: int, timeout: float = 60.0
    ) -> Sight:
        """Return the first event from position `since` on for which `holds`; waits for it.

        Raises:
            HarnessError: none within `timeout` seconds.
        """
        at = since
        try:
            async with asyncio.timeout(timeout), self._news:
                while True:
                    while at < len(self.seen):
                        if holds(self.seen[at]):
                            return self.seen[at]
                        at += 1
                    await self._news.wait()
        except TimeoutError as late:
            raise HarnessError(f"{self.what}: not seen within {timeout:.0f} s") from late


@asynccontextmanager
async def watch(api: Api, path: str, *query: tuple[str, str]) -> AsyncIterator[Eye]:
    """Watch a collection while the block runs; the events of what was there already come first."""
    eye = Eye(path)
    asked = [("watch", "1"), *query]
    answer = await api.send("GET", path, query=asked, timeout=_FOREVER)
    if answer.status != 200:
        raise HarnessError(f"watch of {path}: {answer.status} {(await answer.text())[:300]}")
    reading = asyncio.create_task(_read(answer, eye))
    try:
        yield eye
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        answer.close()


async def _read(answer: aiohttp.ClientResponse, eye: Eye) -> None:
    rest = b""
    async for piece in answer.content.iter_any():
        at = time.time()
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            event = json.loads(line)
            await eye.note(Sight(at, event["type"], event["object"]))


async def ask(
    api: Api, method: str, path: str, body: Any = None, content_type: str = "application/json"
) -> Json:
    """Send one request to the API server.

    Raises:
        HarnessError: it was refused.
    """
    answer = await api.send(method, path, body=body, content_type=content_type, timeout=_SHORT)
    async with answer:
        text = await answer.text()
    if answer.status >= 300:
        raise HarnessError(f"{method} {path}: {answer.status} {text[:500]}")
    found: Json = json.loads(text)
    return found


async def scale(api: Api, namespace: str, name: str, replicas: int) -> None:
    """Write a Deployment's replicas, as `kubectl scale` does."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    await ask(api, "PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")


async def wait_for_no_pods(api: Api, namespace: str, selector: str, timeout: float = 120.0) -> None:
    """Return when no pod matches any more.

    Raises:
        HarnessError: not in time.
    """
    deadline = time.monotonic() + timeout
    path = f"/api/v1/namespaces/{namespace}/pods"
    while True:
        answer = await api.send("GET", path, query=[("labelSelector", selector)], timeout=_SHORT)
        async with answer:
            left = [pod["metadata"]["name"] for pod in (await answer.json())["items"]]
        if not left:
            return
        if time.monotonic() > deadline:
            raise HarnessError(f"pods {', '.join(left)} are still there after {timeout:.0f} s")
        await asyncio.sleep(0.1)


async def first_health(address: str, every: float, timeout: float = 60.0) -> tuple[float, float]:
    """Ask the engine at a pod's address for /health until it answers 200; returns between which instants it became so.

    That is when the last look that failed began, and when the first good answer was there, in epoch seconds.

    Raises:
        HarnessError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    url = f"http://{address}:{ENGINE_PORT}/health"
    failed = time.time()
    async with aiohttp.ClientSession(timeout=_LOOK) as session:
        while time.monotonic() < deadline:
            began = time.time()
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return failed, time.time()
            except (aiohttp.ClientError, TimeoutError):
                pass
            failed = began
            await asyncio.sleep(every)
    raise HarnessError(f"{url} was not healthy within {timeout:.0f} s")
