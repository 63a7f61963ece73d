"""The engine's heart: slots, speed, counters, and how it stops.

States follow vLLM: while it drains it answers /health with 200 and refuses generations; a killed
core leaves its streams open and silent; a dead one turns /health to 503.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from . import errors
from .histogram import Histogram, first_token_histogram, latency_histogram
from .switches import Switches


@dataclass(frozen=True)
class Plan:
    """One generation, known before it runs: the stand-in thinks nothing up on the way."""

    prompt_tokens: int
    tokens: list[str]
    finish_reason: str
    stop_reason: str | None = None
    copies: int = 1


@dataclass
class Counts:
    """What /metrics shows."""

    running: int = 0
    waiting: int = 0
    kv_tokens: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    first_token: Histogram = field(default_factory=first_token_histogram)
    latency: Histogram = field(default_factory=latency_histogram)
    queued: Histogram = field(default_factory=latency_histogram)


class Core:
    """Runs plans, `slots` sequences at a time, at the speed the switches ask for."""

    def __init__(self, switches: Switches, slots: int) -> None:
        self.counts = Counts()
        self.accepting = True
        self.dead = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.crash_due = asyncio.Event()
        self._switches = switches
        self._slots = asyncio.Semaphore(slots)
        self._stopped = asyncio.Event()
        self._aborting = False

    def check(self) -> None:
        """Refuse a generation that this engine cannot take.

        Raises:
            ApiError: it drains, or its core has died.
        """
        if self.dead:
            raise errors.refused_by_engine(errors.ENGINE_DEAD)
        if not self.accepting:
            raise errors.shutting_down()

    def abort(self) -> None:
        """End what runs with the finish reason `abort`, and take nothing new."""
        self.accepting = False
        self._aborting = True
        self._stopped.set()

    def kill(self) -> None:
        """Stop without a word: what runs gets no further byte."""
        self.accepting = False
        self._stopped.set()

    async def run(self, plan: Plan) -> AsyncIterator[str | None]:
        """Yield the plan's tokens in their time; `None` says that the run was aborted.

        Raises:
            ApiError: see `check`, or the core died on the way.
        """
        self.check()
        counts, arrived = self.counts, time.monotonic()
        self.idle.clear()
        counts.waiting += plan.copies
        started, sent, outcome = False, 0, "abort"
        try:
            await self._slots.acquire()
            started = True
            counts.waiting -= plan.copies
            counts.running += plan.copies
            counts.queued.observe(time.monotonic() - arrived)
            counts.prompt_tokens += plan.prompt_tokens
            counts.kv_tokens += plan.prompt_tokens
            async for token in self._pace(plan):
                if sent == 0:
                    counts.first_token.observe(time.monotonic() - arrived)
                sent += 1
                counts.generation_tokens += plan.copies
                counts.kv_tokens += plan.copies
                if sent == len(plan.tokens):
                    outcome = plan.finish_reason
                yield token
            if outcome == "abort":
                yield None
        except errors.ApiError:
            outcome = "error"
            raise
        finally:
            if started:
                self._slots.release()
                counts.running -= plan.copies
                counts.kv_tokens -= plan.prompt_tokens + sent * plan.copies
                counts.latency.observe(time.monotonic() - arrived)
            else:
                counts.waiting -= plan.copies
            counts.finished[outcome] += plan.copies
            if not counts.running and not counts.waiting:
                self.idle.set()

    async def _pace(self, plan: Plan) -> AsyncIterator[str]:
        """Give each token when it is due, counted from the start so that delays do not add up."""
        speed = self._switches.tokens_per_second
        start = time.monotonic() + self._switches.first_token_seconds
        for position, token in enumerate(plan.tokens):
            due = start + (position / speed if speed > 0 else 0.0)
            await self._wait_until(due)
            if self._stopped.is_set():
                if not self._aborting:
                    await asyncio.Event().wait()
                return
            yield token
            if self._switches.crash in ("on-request", "engine-dies"):
                self.crash_due.set()
                await asyncio.sleep(0)
                if self.dead:
                    raise errors.refused_by_engine(errors.ENGINE_DEAD)

    async def _wait_until(self, due: float) -> None:
        delay = due - time.monotonic()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(delay):
                await self._stopped.wait()
        except TimeoutError:
            return
