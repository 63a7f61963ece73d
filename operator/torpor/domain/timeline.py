"""The last day hour by hour: what GPUs were held for, from the marks that a status keeps.

Marks are readings of the totals at the edges of hours in which something changed (`domain.windows`), so the reading at
any edge is the latest mark before it, and an hour is the difference of two of them. Where nothing changed the endpoint
slept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from torpor.api.status import CostStatus, GpuMs
from torpor.domain.remembering import epoch_ms
from torpor.domain.windows import DAY_HOURS, HOUR_MS


@dataclass(frozen=True, slots=True)
class Hour:
    """What was held in one hour, in GPU-milliseconds by phase."""

    at_ms: int
    """Its first instant, epoch ms."""
    held: GpuMs


@dataclass(frozen=True, slots=True)
class Day:
    """The hours in which GPUs were held; in all others the endpoint slept."""

    gpus: int
    """Most GPUs that are known to have been held at once: an hour full of them is 3.6e6 × this."""
    hours: tuple[Hour, ...] = ()


def first_hour(now_ms: int) -> int:
    """Return the first instant of a day's hours: those that have begun, this one included."""
    return (now_ms // HOUR_MS - DAY_HOURS + 1) * HOUR_MS


def day_of(cost: CostStatus, gpus_per_replica: int, now_ms: int) -> Day:
    """Return the last 24 hours of an endpoint, the present one included.

    Args:
        cost: Its meter; what came after `asOf` is not known yet.
        gpus_per_replica: How many GPUs one replica takes.
        now_ms: The present instant, epoch ms.
    """
    first, hours = first_hour(now_ms), list[Hour]()
    read_at = _reader(cost)
    for at in range(first, first + DAY_HOURS * HOUR_MS, HOUR_MS):
        held = _less(read_at(at + HOUR_MS), read_at(at))
        if held.total:
            hours.append(Hour(at, held))
    return Day(_most_gpus(cost, gpus_per_replica, hours), tuple(hours))


def _reader(cost: CostStatus) -> Callable[[int], GpuMs]:
    """Return the totals at an instant: the latest reading before it. Without a mark nobody knows when anything was."""
    as_of = epoch_ms(cost.as_of) or 0
    marks = sorted(
        ((mark.at_ms, mark.gpu_ms) for mark in cost.hours if mark.at_ms < as_of),
        key=lambda reading: reading[0],
    )
    readings = [(0, GpuMs()), *marks]
    if marks:
        readings.append((as_of, cost.gpu_ms))
    instants = [at for at, _ in readings]
    return lambda at: readings[bisect_right(instants, at) - 1][1]


def _less(later: GpuMs, before: GpuMs) -> GpuMs:
    """What was added. A correction may move a moment from one phase to another; an hour is never less than nothing."""
    return GpuMs(
        starting=max(0, later.starting - before.starting),
        busy=max(0, later.busy - before.busy),
        idle=max(0, later.idle - before.idle),
        terminating=max(0, later.terminating - before.terminating),
    )


def _most_gpus(cost: CostStatus, gpus_per_replica: int, hours: list[Hour]) -> int:
    """An hour's average bounds how many there were from below; what runs now, and what one replica takes, do too."""
    live = sum(pod.gpus for pod in cost.live if pod.finished_ms is None)
    averages = (-(-hour.held.total // HOUR_MS) for hour in hours)
    return max(1, gpus_per_replica, live, *averages)
