"""Schedules: when they are on, when that changes, and what the clocks' changes do to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.schedules import Floor, Schedule, floor_at

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000
OFFICE = Schedule("0 8 * * 1-5", "Europe/Berlin", 10 * HOUR, 2)


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def told(ms: int | None) -> str:
    assert ms is not None
    return datetime.fromtimestamp(ms / 1000, BERLIN).isoformat()


def test_without_schedules_the_floor_is_that_of_the_spec_for_ever() -> None:
    assert floor_at(1, (), at("2026-11-26T12:00")) == Floor(1)


@pytest.mark.parametrize(
    ("now", "replicas", "until"),
    [
        ("2026-11-26T07:59:59.999", 0, "2026-11-26T08:00:00+01:00"),
        ("2026-11-26T08:00", 2, "2026-11-26T18:00:00+01:00"),
        ("2026-11-26T08:00:30", 2, "2026-11-26T18:00:00+01:00"),
        ("2026-11-26T17:59:59.999", 2, "2026-11-26T18:00:00+01:00"),
        ("2026-11-26T18:00", 0, "2026-11-27T08:00:00+01:00"),
        ("2026-11-27T18:00", 0, "2026-11-30T08:00:00+01:00"),  # a week-end lies between
    ],
)
def test_it_is_on_from_its_start_until_its_time_is_over(
    now: str, replicas: int, until: str
) -> None:
    floor = floor_at(0, (OFFICE,), at(now))
    assert (floor.replicas, told(floor.until_ms)) == (replicas, until)


def test_it_says_which_schedule_keeps_how_many_and_until_when() -> None:
    floor = floor_at(0, (OFFICE,), at("2026-11-26T09:00"))
    assert floor.because == "the schedule 0 8 * * 1-5 (Europe/Berlin) keeps 2 until Thu 18:00"


def test_it_never_keeps_fewer_than_the_spec() -> None:
    assert floor_at(3, (OFFICE,), at("2026-11-26T09:00")) == Floor(3, "", at("2026-11-26T18:00"))


def test_of_several_the_one_that_keeps_most_speaks_and_the_first_change_is_looked_at() -> None:
    lunch = Schedule("0 12 * * *", "Europe/Berlin", HOUR, 5)
    floor = floor_at(0, (OFFICE, lunch), at("2026-11-26T12:30"))
    assert (floor.replicas, told(floor.until_ms)) == (5, "2026-11-26T13:00:00+01:00")
    assert "0 12 * * *" in floor.because


def test_it_lasts_over_midnight() -> None:
    night = Schedule("0 22 * * *", "Europe/Berlin", 8 * HOUR, 1)
    assert floor_at(0, (night,), at("2026-11-27T05:59")).replicas == 1
    assert floor_at(0, (night,), at("2026-11-27T06:00")).replicas == 0


def test_one_that_lasts_longer_than_its_period_is_always_on() -> None:
    always = Schedule("0 0 * * *", "UTC", 48 * HOUR, 1)
    assert floor_at(0, (always,), at("2026-11-27T05:59")).replicas == 1


def test_a_start_that_the_clocks_skip_falls_on_their_change() -> None:
    early = Schedule("30 2 * * *", "Europe/Berlin", HOUR, 1)  # 2026-03-29 02:00 becomes 03:00
    change = at("2026-03-29T03:00")
    assert floor_at(0, (early,), change - 1).replicas == 0
    assert floor_at(0, (early,), change).replicas == 1
    assert floor_at(0, (early,), change + HOUR).replicas == 0


def test_a_start_that_the_clocks_repeat_counts_once() -> None:
    early = Schedule(
        "30 2 * * *", "Europe/Berlin", 30 * 60_000, 1
    )  # 2026-10-25 03:00 becomes 02:00
    first = at("2026-10-25T02:30")
    assert floor_at(0, (early,), first).replicas == 1
    assert floor_at(0, (early,), first + HOUR).replicas == 0


def test_its_time_is_elapsed_time_on_the_day_the_clocks_change() -> None:
    night = Schedule("0 22 * * 6", "Europe/Berlin", 8 * HOUR, 1)
    begins = at("2026-10-24T22:00")
    assert floor_at(0, (night,), begins + 8 * HOUR - 1).replicas == 1
    assert floor_at(0, (night,), at("2026-10-25T05:00")).replicas == 0  # the night has an hour more


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(1, 30 * 60),
    st.integers(0, 400 * 24 * 60),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_nothing_changes_before_it_is_said_to(
    minute: int, hour: int, minutes: int, later: int, zone: str
) -> None:
    schedule = Schedule(f"{minute} {hour} * * *", zone, minutes * 60_000, 1)
    now = at("2026-01-01T00:00") + later * 60_000
    floor = floor_at(0, (schedule,), now)
    assert floor.until_ms is not None
    assert floor.until_ms > now
    assert floor.until_ms - now <= max(minutes * 60_000, 26 * HOUR)
    for part in (0.3, 0.7, 0.999):
        between = now + round((floor.until_ms - 1 - now) * part)
        assert floor_at(0, (schedule,), between).replicas == floor.replicas
    assert timedelta(milliseconds=floor.until_ms - now) > timedelta()
