"""Who gives up a GPU that costs nothing to keep: owned and reserved GPUs are kept warm until somebody needs one.

At a marginal price of 0 no idle second is worth saving, so there is no time-out. What is scarce is the GPU itself: the
endpoint leaves whose absence will cost least, by how often it is woken times how long a wake takes, for each GPU that
it holds (GreedyDual's order without its ageing, since the rate already fades; cost-policy §4.1 and §4.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """An endpoint whose replicas hold GPUs and have nothing to do."""

    name: str
    gpus: int
    """That its going to sleep frees."""
    per_hour: float
    """How often somebody comes after an idle time."""
    cold_s: float
    """How long a wake takes, in seconds."""

    @property
    def loss(self) -> float:
        """What its absence costs: seconds of cold start per hour and GPU."""
        return self.per_hour * self.cold_s / self.gpus


def in_order(holders: Iterable[Holder]) -> list[Holder]:
    """Return those that hold a GPU, the one to leave first at the head; equal ones by name."""
    return sorted((one for one in holders if one.gpus > 0), key=lambda one: (one.loss, one.name))


def to_yield(holders: Iterable[Holder], gpus: int) -> tuple[Holder, ...]:
    """Return who must leave so that so many GPUs are free; nobody if all of them together hold fewer.

    Nobody leaves for nothing: one whose GPUs are not needed because later ones free enough is left out again.
    """
    leaving, freed = list[Holder](), 0
    for one in in_order(holders):
        if freed >= gpus:
            break
        leaving.append(one)
        freed += one.gpus
    if freed < gpus:
        return ()
    for one in reversed(list(leaving)):
        if freed - one.gpus >= gpus:
            leaving.remove(one)
            freed -= one.gpus
    return tuple(leaving)
