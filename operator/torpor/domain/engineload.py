"""How many replicas the engines' own counters ask for, where the number of requests does not show it.

Long prompts fill an engine's KV cache with few requests: it then queues what the gateway believes to be in work. Two
signals, and the larger counts:

    queue   ceil(requests that run or wait / what one replica runs at once), where the latter is what a replica was seen
            to run while it queued; it is remembered, or the replicas that ended the queue would look unneeded
    cache   ceil(sum of the replicas' KV-cache use / 0.90)

They count requests and cache, not replicas, so the same load asks for the same number while the new ones still start.
A look counts once the next one agrees: engines queue for a moment with every burst.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

KV_TARGET = 0.90
"""How full a KV cache may be. Above it vLLM soon preempts: it throws work away and does it again."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What one replica's engine says of itself."""

    running: int = 0
    waiting: int = 0
    kv_use: float = 0.0
    """Part of the KV cache that requests hold, 0 to 1."""

    @property
    def requests(self) -> int:
        """Requests that it runs or queues."""
        return self.running + self.waiting


@dataclass(frozen=True, slots=True)
class Asking:
    """So many replicas the engines ask for, and why."""

    replicas: int = 0
    why: str = ""


NOBODY = Asking()


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of an endpoint's engines so far."""

    at_once: int | None = None
    """What one replica runs at once; None while none was seen to queue."""
    last: Asking = NOBODY
    before: Asking = NOBODY

    @property
    def asking(self) -> Asking:
        """What the two latest looks agree on."""
        return min(self.before, self.last, key=lambda one: one.replicas)


def looked(seen: Looks, loads: Collection[EngineLoad]) -> Looks:
    """Return what is known after one more look at all replicas that are ready; without any, everything is forgotten."""
    if not loads:
        return Looks()
    at_once = _at_once(seen.at_once, loads)
    return Looks(at_once, _asking(at_once, loads), seen.last)


def _at_once(known: int | None, loads: Collection[EngineLoad]) -> int | None:
    """The latest queue tells: requests of other lengths leave room for more or fewer."""
    queueing = [load.running for load in loads if load.waiting and load.running]
    if queueing:
        return round(sum(queueing) / len(queueing))
    return None if known is None else max(known, *(load.running for load in loads))


def _asking(at_once: int | None, loads: Collection[EngineLoad]) -> Asking:
    requests = sum(load.requests for load in loads)
    full = sum(load.kv_use for load in loads)
    by_cache = Asking(
        math.ceil(round(full / KV_TARGET, 6)),
        f"the KV caches of {len(loads)} replicas are {100 * full / len(loads):.0f} % full",
    )
    if at_once is None:
        return by_cache
    by_queue = Asking(
        -(-requests // at_once),
        f"the engines have {requests} requests and run {at_once} per replica at once",
    )
    return max(by_queue, by_cache, key=lambda one: one.replicas)
