"""Statuses are written beside the passes: an API server that takes its time must not hold up a decision.

One write per endpoint is under way at a time, each on top of the version that its pass has seen. What a pass wants to
say meanwhile is not queued but said anew: when the write is done the endpoint is touched, and its next pass composes
the status of that moment. So nothing is written that is out of date already, and a slow API server is written to less
often, not later and later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.cluster.objects import Missing, Objects
from torpor.controller.events import post_events
from torpor.controller.pauses import Pauses
from torpor.controller.seen import Key, Seen
from torpor.controller.writing import matters, moves, patch_between
from torpor.domain.remembering import epoch_ms

Json = dict[str, Any]
log = logging.getLogger(__name__)

STATUS_MS = 1_000
"""Pause between two status writes that only move figures, for few endpoints; it grows with their number."""
WRITES_PER_SECOND = 5
SLOWEST_STATUS_MS = 30_000
WRITES_SHARE = 4
"""At most one part in so many of the time is spent on writing figures of one endpoint."""
COUNT_SECONDS = 1.0
AT_ONCE = 4
"""Writes under way at a time. They compete with the gateways' wakes for the API server: the slower it is, the smaller
is their part of it."""
WAITING = 28
"""Statuses that wait for their turn beside those being written. Beyond that passes wait: a thousand composed statuses
would fill the memory, and be out of date when their turn comes."""


class Said(NamedTuple):
    """What became of a status that a pass has composed."""

    due_ms: int | None
    """When figures that only move are to be written; None if they do not move, or if the endpoint is touched then."""
    stored: bool
    """Whether the status that is stored says all of it that matters; what it does not say yet may get lost."""


@dataclass(frozen=True, slots=True)
class _Write:
    """A status on its way: *obj* is the endpoint as the pass saw it, *quiet* says that only figures move."""

    key: Key
    obj: Json
    patch: Json
    before: EndpointStatus
    after: EndpointStatus
    quiet: bool
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it was tried, whatever came of it."""


class StatusWriter:
    """Knows what of a status is worth a write now, and carries it out."""

    def __init__(
        self, seen: Seen, objects: Objects, identity: str, touch: Callable[[Key], None]
    ) -> None:
        """Write with *objects*, put what was written into *seen*, and *touch* who has more to say by then."""
        self._seen = seen
        self._objects = objects
        self._identity = identity
        self._touch = touch
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._more_to_say: set[Key] = set()
        self._pauses = Pauses("writing its status")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._room = asyncio.Semaphore(AT_ONCE + WAITING)
        self._took_ms = 0.0
        self._awake, self._count_again = 0, 0.0

    async def write(
        self, obj: Json, before: EndpointStatus, after: EndpointStatus, *, wait: bool = False
    ) -> Said:
        """Begin to write the status if it matters now.

        While one is under way no other is begun: the endpoint is touched at its end. Who has nothing that must be put
        to sleep in time can *wait* until it was tried: passes then make no more work than the server takes.
        """
        said, to_say = obj.get("status") or {}, after.to_dict()
        awake, quiet = moves(to_say), not matters(said, to_say)
        key = _key(obj)
        free = key not in self._under_way
        due = (epoch_ms(before.cost.as_of) or 0) + self._pace_ms() if awake else None
        if quiet and (due is None or clock.now_ms() < due):
            return Said(due, stored=free)
        patch = patch_between(said, to_say)
        if not patch:
            return Said(due, stored=free)
        if not free:
            self._more_to_say.add(key)
            return Said(None, stored=False)
        write = _Write(key, obj, patch, before, after, quiet)
        await self._room.acquire()
        self._under_way[key] = asyncio.create_task(
            self._carry(write), name=f"status of {'/'.join(key)}"
        )
        if wait:
            await write.over.wait()
        return Said(clock.now_ms() + self._pace_ms() if awake else None, stored=quiet)

    async def write_now(self, obj: Json, before: EndpointStatus, after: EndpointStatus) -> None:
        """Write the status and wait for it, if it says anything new.

        Raises:
            Conflict: The endpoint has changed since this pass began; the pass runs again on what it is now.
            TorporError: The API server refused it, or did not answer.
        """
        key = _key(obj)
        if key in self._under_way:
            await asyncio.wait({self._under_way[key]})
        patch = patch_between(obj.get("status") or {}, after.to_dict())
        if patch:
            await self._send(_Write(key, obj, patch, before, after, quiet=False))

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way.values())

    async def close(self) -> None:
        """Give up what is under way; whoever acts next says it."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, write: _Write) -> None:
        """Write once; after a failure pause, so that a server that refuses is not asked in a loop."""
        key = write.key
        try:
            async with self._turns:
                pause = await self._tried(write)
            if pause is not None:
                self._more_to_say.add(key)
                await asyncio.sleep(pause)
        finally:
            self._room.release()
            del self._under_way[key]
        if key in self._more_to_say:
            self._more_to_say.discard(key)
            if key in self._seen.endpoints:
                self._touch(key)

    async def _tried(self, write: _Write) -> float | None:
        try:
            await self._send(write)
        except Missing:
            log.debug("%s/%s is gone", *write.key)
        except Exception as error:
            return self._pauses.after(write.key, error)
        finally:
            write.over.set()
        self._pauses.over(write.key)
        return None

    async def _send(self, write: _Write) -> None:
        began = clock.monotonic()
        written = await self._objects.write_status(write.obj, write.patch)
        self._took_ms += ((clock.monotonic() - began) * 1000 - self._took_ms) / 5
        self._seen.wrote(write.key, write.obj, written, quiet=write.quiet)
        await post_events(self._objects, written, write.before, write.after, self._identity)

    def _pace_ms(self) -> int:
        """The more endpoints are awake, the slower each one's figures move: the sum stays within the write budget."""
        now = clock.monotonic()
        if now >= self._count_again:  # a thousand are not counted anew for every write
            self._awake = sum(moves(o.get("status") or {}) for o in self._seen.endpoints.values())
            self._count_again = now + COUNT_SECONDS
        pace = max(
            STATUS_MS, self._awake * 1000 // WRITES_PER_SECOND, int(WRITES_SHARE * self._took_ms)
        )
        return min(SLOWEST_STATUS_MS, pace)


def _key(obj: Json) -> Key:
    return (obj["metadata"]["namespace"], obj["metadata"]["name"])
