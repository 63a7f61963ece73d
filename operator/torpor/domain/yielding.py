"""Who gives up a GPU that costs nothing to keep: owned and reserved GPUs are kept warm until somebody needs one.

At a marginal price of 0 no idle second is worth saving, so there is no time-out. What is scarce is the GPU itself: the
endpoint leaves whose absence will cost least, by how often it is woken times how long a wake takes, for each GPU that
it holds (GreedyDual's order without its ageing, since the rate already fades; cost-policy §4.1 and §4.5). GPUs of two
nodes do not add up for a pod, so whoever waits is looked for on each node that it may run on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PATIENCE_MS = 30_000
"""How long one may wait although enough GPUs seem to be free. A scheduler tries again within 10 s; after that
something that is not torpor's holds them."""
_UNKNOWN_TIMES, _UNKNOWN_HOURS = 1.0, 1.0
"""Of whom nothing is known yet: one return in an hour."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An endpoint whose replicas hold GPUs and have nothing to do."""

    name: str
    per_hour: float
    """How often somebody comes after an idle time."""
    cold_s: float
    """How long a wake takes, in seconds."""
    on: Mapping[str, int] = field(default_factory=dict[str, int])
    """GPUs that its going to sleep frees, by node."""

    @property
    def gpus(self) -> int:
        """All GPUs that its going to sleep frees."""
        return sum(self.on.values())

    @property
    def loss(self) -> float:
        """What its absence costs: seconds of cold start per hour and GPU."""
        return self.per_hour * self.cold_s / self.gpus


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pod for which the scheduler finds no GPU."""

    name: str
    """Its endpoint."""
    gpus: int
    nodes: frozenset[str]
    """On which it may run."""
    since_ms: int


@dataclass(slots=True)
class Room:
    """The GPUs of one node that nobody holds, those of pods on their way out included."""

    free: int
    leaving: bool = False
    """Whether some of them are still held by pods on their way out."""


def returns_per_hour(times: float, idle_hours: float, idle_now_hours: float) -> float:
    """Return how often somebody comes after an idle time, per idle hour.

    Args:
        times: Idle times that have ended.
        idle_hours: How long they lasted together.
        idle_now_hours: How long the one lasts that has not ended: who is not asked any more is missed less and less.
    """
    return (times + _UNKNOWN_TIMES) / (idle_hours + max(0.0, idle_now_hours) + _UNKNOWN_HOURS)


def in_order(holders: Iterable[Holder], node: str) -> list[Holder]:
    """Return those that hold a GPU of the node, the one to leave first at the head; equal ones by name."""
    there = (one for one in holders if one.on.get(node, 0) > 0)
    return sorted(there, key=lambda one: (one.loss, one.name))


def to_yield(holders: Iterable[Holder], node: str, gpus: int) -> tuple[Holder, ...]:
    """Return who must leave so that so many GPUs of the node are freed; nobody if all of them hold fewer there.

    Nobody leaves for nothing: one whose GPUs are not needed because later ones free enough is left out again.
    """
    leaving, freed = list[Holder](), 0
    for one in in_order(holders, node):
        if freed >= gpus:
            break
        leaving.append(one)
        freed += one.on[node]
    if freed < gpus:
        return ()
    for one in reversed(list(leaving)):
        if freed - one.on[node] >= gpus:
            leaving.remove(one)
            freed -= one.on[node]
    return tuple(leaving)


def givers(
    waiting: Iterable[Waiting], rooms: Mapping[str, Room], holders: Iterable[Holder], now_ms: int
) -> dict[str, str]:
    """Return who leaves now, and for whom; the one who has waited longest is served first.

    The same values give the same answer, so that every endpoint can decide for itself whether it is the one.

    Args:
        waiting: The pods that find no GPU.
        rooms: What is free on each node.
        holders: Who could leave.
        now_ms: The time (epoch ms).
    """
    left = {node: Room(room.free, room.leaving) for node, room in rooms.items()}
    there, leaving = list(holders), dict[str, str]()
    for one in sorted(waiting, key=lambda one: (one.since_ms, one.name)):
        options = [
            (sum(giver.loss * giver.gpus for giver in found), node, found)
            for node in sorted(one.nodes & left.keys())
            if (found := _on(one, node, left[node], there, now_ms)) is not None
        ]
        if not options:
            continue
        _, chosen, found = min(options, key=lambda option: option[:2])
        for giver in found:
            there.remove(giver)
            leaving[giver.name] = one.name
            for node, gpus in giver.on.items():
                if node in left:
                    left[node].free += gpus
                    left[node].leaving = True
        left[chosen].free = max(0, left[chosen].free - one.gpus)
    return leaving


def _on(
    one: Waiting, node: str, room: Room, holders: Sequence[Holder], now_ms: int
) -> tuple[Holder, ...] | None:
    """Return who leaves for it on this node: nobody if there is room; None if all of them would not be enough."""
    short = one.gpus - room.free
    if short <= 0:
        if room.leaving or now_ms < one.since_ms + PATIENCE_MS:
            return ()
        short = 1
    return to_yield(holders, node, short) or None
