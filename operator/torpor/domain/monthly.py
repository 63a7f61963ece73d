"""What an endpoint used in one calendar month (UTC), cut into the hours in which something changed.

Everything is a difference of two readings of the meter, so the parts add up to the whole exactly, in integers. Readings
exist at the endpoint's creation, at the beginning of the month in which its status was last written, at the hours of
the day before that, and at that moment itself. What lies between none of them is not told, and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from torpor.domain.windows import HOUR_MS, Mark, Reading, Windows, month_start, next_month

NOTHING = Reading()
UNKNOWN = Reading(spent=None, egress=None)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC): from its first instant, epoch ms, up to and without that of the next."""

    start_ms: int
    end_ms: int

    def __str__(self) -> str:
        """Give `2026-11`."""
        return f"{datetime.fromtimestamp(self.start_ms // 1000, UTC):%Y-%m}"


def month_named(text: str) -> Month:
    """Read `2026-11`.

    Raises:
        ValueError: It is not a month.
    """
    year, _, month = text.partition("-")
    if not (len(year) == 4 and len(month) == 2 and (year + month).isascii() and year.isdigit()):
        raise ValueError(f"{text!r} is not a month such as 2026-11")
    if not month.isdigit() or not 1 <= int(month) <= 12 or not 1970 <= int(year) <= 9998:
        raise ValueError(f"{text!r} is not a month such as 2026-11")
    first = datetime(int(year), int(month), 1, tzinfo=UTC)
    return month_of(round(first.timestamp()) * 1000)


def month_of(now_ms: int) -> Month:
    """Return the month that an instant lies in."""
    return Month(month_start(now_ms), next_month(now_ms))


@dataclass(frozen=True, slots=True)
class Metered:
    """An endpoint's meter as its status was last written."""

    windows: Windows
    total: Reading
    """As of `as_of_ms`."""
    since_ms: int
    """When the endpoint was made, and its meter read zero."""
    as_of_ms: int
    running: bool = False
    """A pod held GPUs then: what came after is not in these figures."""


class Reach(StrEnum):
    """How much of a month the readings cover."""

    WHOLE = "whole"
    """All that the endpoint used of it."""
    SO_FAR = "so far"
    """All up to `Use.until_ms`, when a pod ran and the status was last written."""
    PART = "part"
    """Only what came after `Use.since_ms`; the readings before are gone."""
    NONE = "none"
    """Nothing can be told."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What was used between two instants."""

    start_ms: int
    end_ms: int
    use: Reading


@dataclass(frozen=True, slots=True)
class Use:
    """What was used in a month."""

    reach: Reach
    since_ms: int
    until_ms: int
    slices: tuple[Slice, ...] = ()
    """Ascending and apart; hours, but for the first, which may be all that lies before them. None without any use."""
    total: Reading = NOTHING
    """What all slices add up to."""


def used_in(month: Month, metered: Metered, now_ms: int) -> Use | None:
    """Return what an endpoint used in *month* as it is known at *now_ms*; None if it did not exist then.

    1 made after it → None. 2 written before it → nothing, or untold if a pod ran. 3 no reading in or after it → untold.
    4 the first reading is later than the month's beginning → a part. 5 else all, up to the last reading.
    """
    now_ms = max(now_ms, metered.as_of_ms)  # the clock that wrote it may be ahead
    begin, end = max(month.start_ms, metered.since_ms), min(month.end_ms, now_ms)
    if metered.since_ms >= month.end_ms or begin > end:
        return None
    if metered.as_of_ms <= begin and metered.since_ms < metered.as_of_ms:
        reach = Reach.NONE if metered.running else Reach.WHOLE
        return Use(reach, begin, end, total=UNKNOWN if metered.running else NOTHING)
    written = metered.as_of_ms < month.end_ms
    last = Mark(metered.as_of_ms, metered.total) if written else _at(metered, month.end_ms)
    inside = [m for m in metered.windows.hours if begin < m.at_ms <= end]
    first = _at(metered, begin) or (inside[0] if inside else None)
    if first is None or last is None:
        return Use(Reach.NONE, begin, end, total=UNKNOWN)
    marks = [first, *(m for m in inside if first.at_ms < m.at_ms < last.at_ms), last]
    slices = tuple(_slices(marks, metered.windows))
    reach = Reach.WHOLE if first.at_ms == begin else Reach.PART
    if written and metered.running and reach is Reach.WHOLE:
        reach = Reach.SO_FAR
    until = last.at_ms if written and metered.running else end
    return Use(reach, first.at_ms, until, slices, last.reading.since(first.reading))


def _at(metered: Metered, at_ms: int) -> Mark | None:
    """Return the reading at an edge of an hour, or at the creation; None if it is not known any more."""
    windows = metered.windows
    if at_ms <= metered.since_ms:
        return Mark(metered.since_ms, NOTHING)
    if windows.month is not None and windows.month.at_ms == at_ms:
        return windows.month
    before = [mark for mark in windows.hours if mark.at_ms <= at_ms]
    # Between marks nothing changed: else there would be one.
    return replace(before[-1], at_ms=at_ms) if before else None


def _slices(marks: list[Mark], windows: Windows) -> Iterator[Slice]:
    """Cut between readings. What two marks of hours differ by was used in the hour that ends with the second."""
    told = windows.hours[0].at_ms if windows.hours else None
    for before, after in pairwise(marks):
        use = after.reading.since(before.reading)
        if before.reading == after.reading:
            continue
        start = before.at_ms
        if told is not None and start >= told:
            start = max(start, (after.at_ms - 1) // HOUR_MS * HOUR_MS)
        yield Slice(start, after.at_ms, use)
