"""The last day and the month as differences of readings: exact to the hour, whenever somebody looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.phases import Phases
from torpor.domain.windows import HOUR_MS, Mark, Reading, Windows, day_before, kept, month_start

MADE = datetime(2026, 11, 3, 10, 20, tzinfo=UTC)
T0 = int(MADE.timestamp()) * 1000
MINUTE = 60_000


def awake(*spans: tuple[int, int]) -> Meter:
    return Meter(tuple((T0 + start * MINUTE, T0 + end * MINUTE) for start, end in spans))


class Meter:
    """Accrues while it is awake, in closed form."""

    def __init__(self, spans: tuple[tuple[int, int], ...]) -> None:
        self.spans = spans

    def __call__(self, at_ms: int) -> Reading:
        used = sum(max(0, min(end, at_ms) - start) for start, end in self.spans)
        return Reading(Phases(idle=used), used * 7, prompt=used // 1000, completion=used // 4000)


def looks(meter: Meter, pauses: list[int]) -> Iterator[tuple[Windows, int]]:
    """The marks as of each pass, so many minutes after the one before."""
    windows, now = Windows(), T0
    for pause in pauses:
        now += pause * MINUTE
        windows = kept(windows, meter, T0, now)
        yield windows, now


def floor_hour(at_ms: int) -> int:
    return at_ms // HOUR_MS * HOUR_MS


SPANS = st.lists(st.tuples(st.integers(0, 6_000), st.integers(1, 900)), max_size=6).map(
    lambda spans: awake(*((start, start + lasts) for start, lasts in spans))
)


@given(SPANS, st.lists(st.integers(1, 3_000), min_size=1, max_size=30))
def test_a_day_is_exact_to_the_hour_however_seldom_it_is_looked_at(
    meter: Meter, pauses: list[int]
) -> None:
    for windows, now in looks(meter, pauses):
        assert kept(windows, meter, T0, now) == windows
        began = day_before(windows, now)
        if now - T0 < 24 * HOUR_MS:
            assert began == Mark(T0, Reading())
        else:
            assert began.at_ms == now - 24 * HOUR_MS
            assert began.reading == meter(max(T0, floor_hour(now - 24 * HOUR_MS)))
        assert len(windows.hours) <= 26


@given(SPANS, st.lists(st.integers(1, 9_000), min_size=1, max_size=10))
def test_a_month_begins_at_its_first_instant_or_with_the_endpoint(
    meter: Meter, pauses: list[int]
) -> None:
    for windows, now in looks(meter, pauses):
        start = month_start(now)
        assert windows.month is not None
        assert windows.month.at_ms == max(T0, start)
        assert windows.month.reading == meter(windows.month.at_ms)


def test_while_nothing_changes_no_mark_is_added() -> None:
    meter = awake((0, 90))
    windows = kept(Windows(), meter, T0, T0 + 3 * HOUR_MS)
    assert [mark.at_ms for mark in windows.hours] == [
        T0,
        floor_hour(T0) + HOUR_MS,
        floor_hour(T0) + 2 * HOUR_MS,
    ]
    assert kept(windows, meter, T0, T0 + 20 * HOUR_MS) == windows
    late = kept(windows, meter, T0, T0 + 200 * HOUR_MS)
    assert [mark.reading for mark in late.hours] == [meter(T0 + 90 * MINUTE)]


def test_tokens_of_a_wake_belong_to_its_hour_and_not_to_the_sleep_before() -> None:
    slept_long = 60 * 24 * 3
    meter = awake((0, 30), (slept_long, slept_long + 20))
    delivered = [0]

    def read_at(at_ms: int) -> Reading:
        return replace(meter(at_ms), prompt=delivered[0], completion=0)

    windows = Windows()
    for minutes in (*range(10, slept_long, 10), *range(slept_long, slept_long + 120, 10)):
        if minutes == slept_long + 10:
            delivered[0] = 5_000
        windows = kept(windows, read_at, T0, T0 + minutes * MINUTE)
    now = T0 + (slept_long + 110) * MINUTE
    assert day_before(windows, now).reading.prompt == 0
    assert windows.hours[-1].reading.prompt == 5_000
    assert windows.hours[-1].at_ms > T0 + slept_long * MINUTE


def test_what_was_booked_since_is_not_put_down_to_an_edge_that_had_nothing_to_tell() -> None:
    bare, booked = Reading(), Reading(Phases(idle=60_000), 420_000)
    edges = Windows((Mark(T0, bare),))
    before = T0 + 30 * HOUR_MS
    windows = kept(edges, lambda at_ms: bare, T0, before, before - MINUTE)
    now = before + 10 * MINUTE
    windows = kept(windows, lambda at_ms: booked, T0, now, before)
    assert windows.hours == edges.hours
    windows = kept(windows, lambda at_ms: booked, T0, now + HOUR_MS, now)
    assert windows.hours[-1] == Mark(floor_hour(now) + HOUR_MS, booked)


def test_a_clock_that_went_backwards_changes_nothing() -> None:
    meter = awake((0, 900))
    windows = kept(Windows(), meter, T0, T0 + 10 * HOUR_MS)
    assert kept(windows, meter, T0, T0 + 5 * HOUR_MS) == windows


@pytest.mark.parametrize(
    ("now", "start"),
    [
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2028, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_month_is_a_calendar_month_in_utc(now: datetime, start: datetime) -> None:
    assert month_start(int(now.timestamp() * 1000)) == int(start.timestamp() * 1000)
    assert month_start(int((now + timedelta(hours=1)).timestamp() * 1000)) >= int(
        start.timestamp() * 1000
    )


def test_what_came_since_a_reading_is_unknown_if_either_is() -> None:
    known, unknown = Reading(spent=5), Reading(Phases(idle=9), None, 4, 3)
    assert unknown.since(known) == Reading(Phases(idle=9), None, 4, 3)
    assert known.since(unknown).spent is None
    assert Reading(spent=9).since(known).spent == 4
