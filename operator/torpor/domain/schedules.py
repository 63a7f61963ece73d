"""Schedules: recurring times in which more replicas are kept than `minReplicas`, because people know what is coming.

A schedule begins when its cron expression is due in its time zone and lasts for its duration in elapsed time: ten hours
are ten hours on the day the clocks change as well. A start that a change of the clocks skips falls on the instant of
the change; one that it repeats counts once, the first time (the rules of Debian's cron, which cronsim follows).
Instants are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

_MINUTE_MS = 60_000
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Schedule:
    """One recurring time."""

    cron: str
    zone: str
    lasts_ms: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Floor:
    """How many replicas are kept whether or not anybody asks."""

    replicas: int
    because: str = ""
    """The schedule that says so, in a sentence; empty for `minReplicas`."""
    until_ms: int | None = None
    """When this may change by itself; None if it never does."""


def floor_at(min_replicas: int, schedules: Iterable[Schedule], now_ms: int) -> Floor:
    """Return the floor at an instant: of all schedules that are on, and `minReplicas`, the one that keeps most."""
    replicas, because, changes = min_replicas, "", list[int]()
    for schedule in schedules:
        minute = now_ms // _MINUTE_MS
        began = _start(schedule.cron, schedule.zone, minute, last=True)
        ends = None if began is None else began + schedule.lasts_ms
        if ends is None or now_ms >= ends:
            follows = _start(schedule.cron, schedule.zone, minute, last=False)
            changes += [] if follows is None else [follows]
            continue
        changes.append(ends)
        if schedule.replicas > replicas:
            replicas, because = schedule.replicas, _sentence(schedule, ends)
    return Floor(replicas, because, min(changes, default=None))


@lru_cache(_REMEMBERED)
def _start(cron: str, zone: str, minute: int, *, last: bool) -> int | None:
    """Return the last start up to a minute (counted since the epoch), or the first one after it."""
    now = datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(zone))
    if last:
        now += timedelta(minutes=1)
    found = next(CronSim(cron, now, reverse=last), None)
    return None if found is None else round(found.timestamp()) * 1000


def _sentence(schedule: Schedule, ends_ms: int) -> str:
    ends = datetime.fromtimestamp(ends_ms // 1000, UTC).astimezone(ZoneInfo(schedule.zone))
    until = f"{ends:%a %H:%M}"
    return f"the schedule {schedule.cron} ({schedule.zone}) keeps {schedule.replicas} until {until}"
