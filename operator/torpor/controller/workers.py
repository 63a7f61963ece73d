"""One worker per endpoint: passes never overlap, and a touched worker runs once however often it was touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from torpor import clock
from torpor.controller.pauses import Pauses
from torpor.controller.seen import Key

AT_ONCE = 16
"""Passes under way at a time. When the cluster is listed anew all endpoints are touched at once; unbounded, a thousand
passes would keep the Lease from being renewed and the probes from being answered until the last had its turn."""
SPREAD_SECONDS, SPREAD_MOST_SECONDS = 0.1, 3.0
"""Pause of a touched endpoint for each one that waits or has its pass already, and the longest. A hundred that wake in
one moment need nothing of the controller at first, but their passes would take the API server's time from the gateways'
wakes; and of what happens to each of them meanwhile one pass speaks instead of several."""
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
        self._busy = 0
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
        due = float("inf")
        while True:
            try:
                async with self._turn(due):
                    event.clear()
                    again_ms = await self._run(key)
                self._pauses.over(key)
                wait = _seconds_until(again_ms)
            except Exception as error:
                wait = self._pauses.after(key, error)
            due = clock.monotonic() + wait
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), wait)

    @asynccontextmanager
    async def _turn(self, due: float) -> AsyncGenerator[None]:
        """Wait in line and hold a turn while the block runs; what is *due* by the clock is not late for others."""
        left = due - clock.monotonic()
        pause = min(SPREAD_SECONDS * self._busy, SPREAD_MOST_SECONDS, left)
        self._busy += 1
        try:
            if pause > 0:
                await asyncio.sleep(pause)
            async with self._turns:
                yield
        finally:
            self._busy -= 1


def _seconds_until(at_ms: int | None) -> float:
    if at_ms is None:
        return QUIET_SECONDS
    return min(QUIET_SECONDS, max(0.0, (at_ms - clock.now_ms()) / 1000))
