"""What all desks share: who writes, who probes, who counts, and the tasks they start."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from torpor.domain.waitroom import Written
from torpor.metrics import GatewayMetrics

log = logging.getLogger(__name__)


class Waker(Protocol):
    """Whoever can take a Deployment from zero to N."""

    async def wake(self, namespace: str, name: str, replicas: int) -> Written:
        """Write *replicas* if there are none now, and say how it went."""
        ...


class Prober(Protocol):
    """Whoever can find out that a starting pod answers."""

    async def probe(self, model: str, where: Callable[[], str | None]) -> bool:
        """Ask at the address that *where* gives until it serves *model*, or until *where* gives None."""
        ...

    async def serves(self, address: str, model: str) -> bool:
        """Ask once, and return whether it serves *model*."""
        ...


class Tools:
    """Shared by all desks of one gateway."""

    def __init__(
        self, waker: Waker, prober: Prober, metrics: GatewayMetrics, salt: int = 0
    ) -> None:
        """Keep them; *salt* tells this gateway from the others where they should not all choose alike."""
        self.salt = salt
        self.waker = waker
        self.prober = prober
        self.metrics = metrics
        self.next_ticket = itertools.count(1).__next__
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run *work* beside the requests: it outlives the client that caused it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """End everything that still runs."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the waiting room failed", exc_info=error)
