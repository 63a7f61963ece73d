"""One worker per endpoint: passes never overlap, and a touched worker runs once however often it was touched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from torpor import clock
from torpor.controller.pauses import Pauses
from torpor.controller.seen import Key

AT_ONCE = 16
"""Passes under way at a time. When the cluster is listed anew all endpoints are touched at once; unbounded, a thousand
passes would keep the Lease from being renewed and the probes from being answered until the last had its turn."""
QUIET_SECONDS = 300.0
"""Longest time without a pass: what no event told is found then."""

Pass = Callable[[Key], Awaitable[int | None]]


class Workers:
    """Sleeps until an endpoint is touched or wants to be looked at again, then runs its pass."""

    def __init__(self, run: Pass) -> None:
        """Run passes with *run*, which returns when to look again (epoch ms) or None."""
        self._run = run
        self._wake: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._stopped = False
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._pauses = Pauses("the pass")

    def touch(self, key: Key) -> None:
        """Say that something about the endpoint changed; its pass runs soon, unless everything has stopped."""
        if self._stopped:
            return
        if key not in self._tasks:
            self._wake[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(
                self._work(key), name=f"endpoint {'/'.join(key)}"
            )
        self._wake[key].set()

    def drop(self, key: Key) -> None:
        """End the worker of an endpoint that is gone."""
        self._wake.pop(key, None)
        self._pauses.over(key)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """End all workers for good and wait for them."""
        self._stopped = True
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self.drop(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: Key) -> None:
        event = self._wake[key]
        while True:
            try:
                async with self._turns:
                    event.clear()
                    again_ms = await self._run(key)
                self._pauses.over(key)
                wait = _seconds_until(again_ms)
            except Exception as error:
                wait = self._pauses.after(key, error)
            try:
                await asyncio.wait_for(event.wait(), wait)
            except TimeoutError:
                continue


def _seconds_until(at_ms: int | None) -> float:
    if at_ms is None:
        return QUIET_SECONDS
    return min(QUIET_SECONDS, max(0.0, (at_ms - clock.now_ms()) / 1000))
