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
SPREAD_SECONDS, SPREAD_AFTER, SPREAD_MOST_SECONDS = 0.15, 4, 3.0
"""From pass to pass of touched endpoints, how many in a row need not wait for that, and the longest that one waits. A
hundred that wake in one moment need nothing of the controller at first, but their passes, each over before the next
event is read, would take the cores from the gateways' wakes: one of these costs the API server 3 ms, the status that a
pass writes 13 to 22. And of what happens to one of them meanwhile one pass speaks instead of several."""
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
        self._next_turn = 0.0
        """When on the monotonic clock the next touched endpoint has its pass."""
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
        if (pause := self._pause(due - clock.monotonic())) > 0:
            await asyncio.sleep(pause)
        async with self._turns:
            yield

    def _pause(self, left: float) -> float:
        """Return how long one that is due in *left* seconds waits for its place in line, and take the place."""
        if left <= 0:
            return 0
        now = clock.monotonic()
        turn = max(self._next_turn, now - SPREAD_SECONDS * (SPREAD_AFTER - 1))
        self._next_turn = min(turn + SPREAD_SECONDS, now + SPREAD_MOST_SECONDS)
        return min(turn - now, left)


def _seconds_until(at_ms: int | None) -> float:
    if at_ms is None:
        return QUIET_SECONDS
    return min(QUIET_SECONDS, max(0.0, (at_ms - clock.now_ms()) / 1000))
