from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.status import CostStatus, GpuMs, LivePod, LivePrice, Mark
from torpor.domain.phases import Phases
from torpor.domain.remembering import moment
from torpor.domain.timeline import Day, day_of, first_hour
from torpor.domain.windows import HOUR_MS, Reading, Windows, kept

NOON = 489_000 * HOUR_MS
NOW = NOON + HOUR_MS // 2
MINUTE = 60_000


def cost(*marks: tuple[int, GpuMs], now: GpuMs, as_of: int = NOW, **more: object) -> CostStatus:
    hours = [Mark(at_ms=at, gpu_ms=held) for at, held in marks]
    return CostStatus.model_validate(
        {"hours": hours, "gpu_ms": now, "as_of": moment(as_of), **more}
    )


def told(day: Day) -> dict[int, tuple[int, int, int, int]]:
    """Hours from now → minutes by phase."""
    return {
        (hour.at_ms - NOON) // HOUR_MS: (
            hour.held.starting // MINUTE,
            hour.held.busy // MINUTE,
            hour.held.idle // MINUTE,
            hour.held.terminating // MINUTE,
        )
        for hour in day.hours
    }


def test_the_day_ends_with_the_hour_that_runs() -> None:
    assert first_hour(NOW) == NOON - 23 * HOUR_MS
    assert first_hour(NOON) == NOON - 23 * HOUR_MS


def test_hours_are_differences_of_marks_and_hours_without_one_slept() -> None:
    before = GpuMs(starting=5 * MINUTE, busy=600 * MINUTE, idle=60 * MINUTE)
    first = GpuMs(starting=7 * MINUTE, busy=640 * MINUTE, idle=70 * MINUTE, terminating=MINUTE)
    found = day_of(
        cost((NOON - 30 * HOUR_MS, before), (NOON - 4 * HOUR_MS, first), now=first), 1, NOW
    )
    assert told(found) == {-5: (2, 40, 10, 1)}


def test_what_came_after_the_last_mark_lies_in_the_hour_of_as_of() -> None:
    made, begun = (NOON - HOUR_MS // 3, GpuMs()), GpuMs(starting=MINUTE)
    found = day_of(
        cost(made, (NOON, begun), now=GpuMs(starting=2 * MINUTE, busy=20 * MINUTE)), 1, NOW
    )
    assert told(found) == {-1: (1, 0, 0, 0), 0: (1, 20, 0, 0)}


def test_figures_that_are_hours_old_stay_where_they_belong() -> None:
    made, used = (NOON - 40 * HOUR_MS, GpuMs()), GpuMs(busy=9 * MINUTE)
    found = day_of(cost(made, now=used, as_of=NOON - 3 * HOUR_MS + 10 * MINUTE), 1, NOW)
    assert told(found) == {-3: (0, 9, 0, 0)}
    assert told(day_of(cost(made, now=used, as_of=NOON - 30 * HOUR_MS), 1, NOW)) == {}


def test_totals_without_any_mark_lie_in_no_hour() -> None:
    """A ledger of a torpor that kept no marks: nobody knows when its hours were."""
    assert told(day_of(cost(now=GpuMs(busy=900 * MINUTE)), 1, NOW)) == {}


def test_an_endpoint_that_nobody_looked_at_yet_has_an_empty_day() -> None:
    assert day_of(CostStatus(), 1, NOW) == Day(1)


def test_a_correction_between_phases_takes_nothing_away() -> None:
    found = day_of(
        cost((NOON, GpuMs(idle=10 * MINUTE)), now=GpuMs(busy=4 * MINUTE, idle=8 * MINUTE)), 1, NOW
    )
    assert told(found)[0] == (0, 4, 0, 0)


@pytest.mark.parametrize(
    ("per_replica", "live", "held", "gpus"),
    [
        (1, 0, 30, 1),
        (4, 0, 30, 4),
        (1, 3, 30, 3),
        (1, 0, 150, 3),
    ],
    ids=["one", "a replica takes four", "three run now", "an hour held more than two"],
)
def test_a_full_hour_is_as_many_gpus_as_are_known(
    per_replica: int, live: int, held: int, gpus: int
) -> None:
    price = (LivePrice(price_id="l4", from_ms=0),)
    pods = [LivePod(uid="a", prices=price, gpus=live, start_ms=0)] if live else []
    ended = LivePod(uid="z", prices=price, gpus=9, start_ms=0, finished_ms=1)
    found = day_of(
        cost(
            (NOON - HOUR_MS, GpuMs()),
            (NOON, GpuMs(busy=held * MINUTE)),
            now=GpuMs(busy=held * MINUTE),
            live=[*pods, ended],
        ),
        per_replica,
        NOW,
    )
    assert found.gpus == gpus


@given(
    st.lists(st.integers(0, 60), min_size=24, max_size=24),
    st.integers(0, 40 * HOUR_MS),
    st.lists(st.integers(0, 30 * HOUR_MS), max_size=6),
)
def test_the_meters_own_marks_give_back_what_each_hour_held(
    minutes: list[int], age: int, passes: list[int]
) -> None:
    """Whenever the controller looked: the first minutes of each hour were busy, and that is what the day shows."""
    now, since = NOON + HOUR_MS - 1, NOON + HOUR_MS - 1 - age
    first = first_hour(now)

    def busy_until(at: int) -> int:
        began = max(since, first)
        full = sum(
            max(0, min(at, edge + length * MINUTE) - max(began, edge))
            for edge, length in ((first + n * HOUR_MS, long) for n, long in enumerate(minutes))
        )
        return max(0, full)

    def read(at: int) -> Reading:
        return Reading(Phases(busy=busy_until(at)))

    windows = Windows()
    for at in sorted({min(now, since + later) for later in passes} | {now}):
        windows = kept(windows, read, since, at)
    status = cost(
        *((mark.at_ms, GpuMs(busy=mark.reading.phases.busy)) for mark in windows.hours),
        now=GpuMs(busy=busy_until(now)),
        as_of=now,
    )
    expected = {
        edge: held
        for edge in range(first, first + 24 * HOUR_MS, HOUR_MS)
        if (held := busy_until(min(now, edge + HOUR_MS)) - busy_until(edge))
    }
    assert {hour.at_ms: hour.held.busy for hour in day_of(status, 1, now).hours} == expected
