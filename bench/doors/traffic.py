"""A steady traffic of plain and streamed requests, as OpenAI's clients send it, with every byte of the answers checked.

Half of the requests go over connections that are kept as httpx keeps them for the `openai` package (five seconds), half
over a new one each. What fails before its answer began is tried twice more after half a second and a second, as that
package does it; what has begun is never asked again, and another status than 200 is never forgiven.

A request is *lost* if it was not answered to its last byte, or if a new connection of it was refused or cut. Only a
connection that had been used before and that the other side was just closing is not counted: HTTP/1.1 leaves that race
to the client. Such a request is *raced*.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.doors.script import CHAT, Script, compose

TRIES = 3
PAUSE_SECONDS = 0.5
"""Before the second try; twice that before the third."""
AT_ONCE = 500
"""Most requests under way: what is due beyond them waits for one to end."""
KEPT_SECONDS = 5.0
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Fault:
    """One try that failed before its answer began."""

    used: bool
    """The connection had carried an answer before."""
    words: str


@dataclass
class Asked:
    """One request, from when it was sent to how it ended (epoch seconds)."""

    model: str
    number: int
    stream: bool
    began: float
    ended: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    objection: str | None = "not ended"
    """Why the answer does not count; None for one that is right to the last byte."""

    @property
    def answered(self) -> bool:
        """Whether the client has its answer, tries included."""
        return self.objection is None

    @property
    def lost(self) -> bool:
        """Whether it counts as lost: see the module."""
        return not self.answered or any(not fault.used for fault in self.faults)

    @property
    def reason(self) -> str:
        """What went wrong, in a word that can be counted."""
        words = [fault.words for fault in self.faults if not fault.used]
        return self.objection or (words[0] if words else "closed a used connection")


def tell_lost(asked: list[Asked]) -> str:
    """Return the reasons of the lost ones, each with its number."""
    lost = Counter(one.reason for one in asked if one.lost)
    return "; ".join(f"{number} × {reason}" for reason, number in lost.most_common(6)) or "none"


class Traffic:
    """Sends requests to one model, so many a second, until it is ended."""

    def __init__(self, door: str, model: str, script: Script, rate: float) -> None:
        """Ask *model* at *door*, *rate* times a second; `rate` may be changed while it runs."""
        self.rate = rate
        self.asked: list[Asked] = []
        self._door = door
        self._model = model
        self._script = script
        self._clients = [_client(keep) for keep in (100, 0)]
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def under_way(self) -> int:
        """Requests that were sent and have not ended."""
        return len(self._running)

    async def send(self, count: int) -> None:
        """Send so many at the present rate; returns when the last is sent."""
        due = time.monotonic()
        for _ in range(count):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._room.acquire()
            task = asyncio.create_task(self._ask(len(self.asked)))
            self._running.add(task)
            task.add_done_callback(self._ended)
            due = max(due + 1 / self.rate, time.monotonic() - 1.0)  # no catching up of a long pause

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Send all the while the block runs."""
        sending = asyncio.create_task(self.send(1_000_000))
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def reach(self, count: int) -> None:
        """Return once so many were sent."""
        while len(self.asked) < count:
            await asyncio.sleep(0.05)

    async def rest(self) -> None:
        """Return when every request has ended."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Close the clients."""
        await self.rest()
        for client in self._clients:
            await client.aclose()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()

    async def _ask(self, number: int) -> None:
        stream, client = number % 2 == 0, self._clients[number // 2 % 2]
        one = Asked(self._model, number, stream, time.time())
        self.asked.append(one)
        body = compose(self._model, f"{number:08}", stream)
        for turn in range(TRIES):
            if turn:
                await asyncio.sleep(PAUSE_SECONDS * turn * random.uniform(0.75, 1.0))
            if await self._try(client, one, body):
                break
        one.ended = time.time()

    async def _try(self, client: httpx.AsyncClient, one: Asked, body: Any) -> bool:
        """Ask once; returns whether that settled it."""
        used, began = True, False

        async def trace(event: str, _: object) -> None:
            nonlocal used
            used = used and event != "connection.connect_tcp.started"

        got = b""
        try:
            asked = client.build_request(
                "POST", self._door + CHAT, json=body, extensions={"trace": trace}
            )
            answer = await client.send(asked, stream=True)
            began = True
            try:
                async for chunk in answer.aiter_raw():
                    got += chunk
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            words = f"{type(error).__name__}: {error}"
            if began:
                one.objection = f"cut off after {len(got)} bytes ({words})"
                return True
            one.faults.append(Fault(used, words))
            one.objection = words
            return False
        if answer.status_code != 200:
            one.objection = f"{answer.status_code} {got[:200]!r}"
        else:
            one.objection = self._script.objection(one.number, one.stream, got)
        return True


@asynccontextmanager
async def traffic(door: str, model: str, script: Script, rate: float) -> AsyncIterator[Traffic]:
    """Open a traffic for the block; at its end everything that was sent has ended."""
    made = Traffic(door, model, script, rate)
    try:
        yield made
    finally:
        await made.close()


def _client(kept: int) -> httpx.AsyncClient:
    limits = httpx.Limits(
        max_connections=1000, max_keepalive_connections=kept, keepalive_expiry=KEPT_SECONDS
    )
    return httpx.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits, trust_env=False, verify=False)
