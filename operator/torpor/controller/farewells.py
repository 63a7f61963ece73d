"""What is said of an endpoint that was deleted: what it has cost, since its status can be read no more.

The ledger goes with the object, so one Event and one line of the log tell its sum. It is counted up to the deletion;
what its pods use until they have ended is not in it. A controller that is down at that moment tells nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.cluster.objects import Objects
from torpor.controller.events import News, post
from torpor.domain import money
from torpor.domain.bookkeeping import meter_of
from torpor.domain.costing import cost_of
from torpor.domain.metering import accrue, totals
from torpor.domain.observation import Demand, PodSeen

Json = dict[str, Any]
log = logging.getLogger(__name__)

DELETED = "Deleted"
"""Reason of the Event; no condition has it, for there is no status left to have it in."""
COUNTED_IN_MILLIONS = 100_000
"""Tokens from which on they are told in millions."""
WRITE_SECONDS = 5.0
"""Longest time for one Event: the next ones must not wait for a server that does not answer."""


class Farewells:
    """Posts one Event for each endpoint that was deleted."""

    def __init__(self, objects: Objects, who: str) -> None:
        """Post with *objects*, in the name of *who*."""
        self._objects = objects
        self._who = who
        self._due: asyncio.Queue[tuple[Json, str]] = asyncio.Queue()

    def note(self, obj: Json, pods: Sequence[PodSeen]) -> None:
        """Take in an endpoint that was deleted, as it was last, with what is known of its pods."""
        metadata = obj["metadata"]
        try:
            said = last_words(obj, pods, clock.now_ms())
        except ValidationError as error:
            said = f"Deleted; what it cost cannot be read: {error}"
        log.info("%s/%s: %s", metadata["namespace"], metadata["name"], said)
        self._due.put_nowait((obj, said))

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            obj, said = await self._due.get()
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await post(self._objects, obj, [News(DELETED, said)], self._who)
            except TimeoutError:
                log.info("no Event within %g s: %s", WRITE_SECONDS, said)


def last_words(obj: Json, pods: Sequence[PodSeen], now_ms: int) -> str:
    """Return what an endpoint has cost and done in its life, in one sentence.

    Raises:
        ValidationError: its status is not one that this version knows.
    """
    status = EndpointStatus.model_validate(obj.get("status") or {})
    # Which part was busy makes no difference to the sum, so nobody needs be asked.
    meter = accrue(meter_of(status.cost), pods, Demand(), lambda _pod, _price: None, now_ms)
    rows = totals(meter, Demand(), now_ms)
    used = sum(row.phases.accrued for row in rows) + meter.settled.phases.accrued
    hours = money.rounded(money.gpu_hours(used), 3)
    cost = cost_of(rows, meter.settled, meter.egress.routes)
    done = _count(status.tokens.prompt + status.tokens.completion)
    if cost is None:
        return f"Deleted after {hours} GPU-hours, not all of known price, and {done} tokens"
    spent = f"{money.known_amount(cost.spent)} {status.cost.currency or 'USD'}"
    return f"Deleted after spending {spent} for {hours} GPU-hours and {done} tokens"


def _count(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} M" if tokens >= COUNTED_IN_MILLIONS else str(tokens)
