"""What was spent in the last day and in this month: marks of the totals at the hours' edges.

A mark is a reading of the meter, so a window is the difference of two readings and nothing is added up. Marks are kept
for the hours in which something changed, which while the endpoint sleeps is none: sleep writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from torpor.domain.money import Exact, lowest
from torpor.domain.phases import NO_PHASES, Phases

HOUR_MS = 3_600_000
DAY_HOURS = 24


@dataclass(frozen=True, slots=True)
class Reading:
    """The totals since creation: GPU-ms by phase, cost in micro-units × ms per hour, tokens delivered."""

    phases: Phases = NO_PHASES
    spent: Exact | None = 0
    """None while a price is unknown."""
    prompt: int = 0
    completion: int = 0
    egress: Exact | None = 0
    """Part of `spent`: moving weights between regions. None while a price of that is unknown."""
    egress_bytes: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion

    def since(self, before: Reading) -> Reading:
        """Return what came after an earlier reading."""
        return Reading(
            self.phases.less(before.phases),
            _between(before.spent, self.spent),
            self.prompt - before.prompt,
            self.completion - before.completion,
            _between(before.egress, self.egress),
            self.egress_bytes - before.egress_bytes,
        )

    @property
    def marked(self) -> tuple[Phases, Exact | None, int]:
        """Give what a mark is made for.

        Tokens alone make none: they come from now, and would be put down to an hour of sleep up to a day ago.
        """
        return self.phases, self.spent, self.egress_bytes


def _between(before: Exact | None, after: Exact | None) -> Exact | None:
    return None if before is None or after is None else lowest(after - before)


@dataclass(frozen=True, slots=True)
class Mark:
    """A reading at an instant."""

    at_ms: int
    reading: Reading


@dataclass(frozen=True, slots=True)
class Windows:
    """The marks that are kept."""

    hours: tuple[Mark, ...] = ()
    """At edges of hours, ascending: those of the last day, and the latest before it."""
    month: Mark | None = None
    """At the beginning of this month (UTC)."""


ReadAt = Callable[[int], Reading]
"""The meter as it stood at an instant; tokens as they stand now, since nobody knows when they were counted."""


def kept(
    windows: Windows, read_at: ReadAt, since_ms: int, now_ms: int, read_ms: int | None = None
) -> Windows:
    """Return the windows with a mark at each edge that has passed.

    Args:
        windows: The marks so far.
        read_at: The meter at an instant; pods that have ended must not have been booked since the last pass.
        since_ms: When the endpoint was made.
        now_ms: The instant of this pass, epoch ms.
        read_ms: That of the pass which stored the marks so far. An edge before it that has no mark had nothing to
            tell, and is not read again: what was booked since then would be put down to it.
    """
    hours = windows.hours or (Mark(since_ms, Reading()),)
    latest = now_ms // HOUR_MS
    read = max(hours[-1].at_ms, read_ms or 0) // HOUR_MS
    first = max(read + 1, latest - DAY_HOURS)
    for edge in range(first, latest + 1):
        reading = read_at(edge * HOUR_MS)
        if reading.marked != hours[-1].reading.marked:
            hours = (*hours, Mark(edge * HOUR_MS, reading))
    return Windows(_within_a_day(hours, now_ms), _month(windows.month, read_at, since_ms, now_ms))


def day_before(windows: Windows, now_ms: int) -> Mark:
    """Return the reading of a day ago, or of the creation if that is later."""
    at = now_ms - DAY_HOURS * HOUR_MS
    old = [mark for mark in windows.hours if mark.at_ms <= at]
    return Mark(at, old[-1].reading) if old else windows.hours[0]


def month_start(now_ms: int) -> int:
    """Return the first instant of the calendar month (UTC), epoch ms."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()) * 1000


def next_month(now_ms: int) -> int:
    """Return the first instant of the next calendar month (UTC), epoch ms."""
    first = datetime.fromtimestamp(month_start(now_ms) / 1000, UTC)
    later = (first + timedelta(days=32)).replace(day=1)
    return int(later.timestamp()) * 1000


def _within_a_day(hours: tuple[Mark, ...], now_ms: int) -> tuple[Mark, ...]:
    """Only the last of those that are a day old is needed: nothing changed between it and the next."""
    old = [mark for mark in hours if mark.at_ms <= now_ms - DAY_HOURS * HOUR_MS]
    return (*old[-1:], *hours[len(old) :])


def _month(month: Mark | None, read_at: ReadAt, since_ms: int, now_ms: int) -> Mark:
    start = month_start(now_ms)
    if month is not None and month.at_ms >= start:
        return month
    if since_ms >= start:
        return Mark(since_ms, Reading())
    return Mark(start, read_at(start))
