"""A month's use is cut into hours that add up to it, and what no reading tells is not told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.monthly import Metered, Month, Reach, Use, month_named, month_of, used_in
from torpor.domain.phases import Phases
from torpor.domain.windows import HOUR_MS, Mark, Reading, Windows, kept

MINUTE = 60_000


def at(text: str) -> int:
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1000


MADE = at("2026-10-30T10:20")
OCTOBER, NOVEMBER, DECEMBER = (month_named(f"2026-{number}") for number in (10, 11, 12))


class Meter:
    """Accrues while it is awake, in closed form: what really happened."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        self.spans = tuple((MADE + start * MINUTE, MADE + end * MINUTE) for start, end in spans)

    def __call__(self, at_ms: int) -> Reading:
        used = sum(max(0, min(end, at_ms) - start) for start, end in self.spans)
        return Reading(Phases(idle=used), used * 7, prompt=used // 1000, completion=used // 4000)

    def runs(self, at_ms: int) -> bool:
        return any(start <= at_ms < end for start, end in self.spans)


def passes(meter: Meter, pauses: list[int]) -> Iterator[Metered]:
    """What the status holds after each pass, so many minutes after the one before."""
    windows, now = Windows(), MADE
    for pause in pauses:
        now += pause * MINUTE
        windows = kept(windows, meter, MADE, now)
        yield Metered(windows, meter(now), MADE, now, meter.runs(now))


def last(meter: Meter, *pauses: int) -> Metered:
    return list(passes(meter, list(pauses)))[-1]


SPANS = st.lists(st.tuples(st.integers(0, 6_000), st.integers(1, 900)), max_size=6).map(
    lambda spans: Meter(*((start, start + lasts) for start, lasts in spans))
)


@given(SPANS, st.lists(st.integers(1, 3_000), min_size=1, max_size=20), st.integers(0, 50_000))
def test_every_slice_is_what_really_happened_in_it_and_all_add_up(
    meter: Meter, pauses: list[int], later: int
) -> None:
    for metered in passes(meter, pauses):
        now = metered.as_of_ms + later
        for month in (OCTOBER, NOVEMBER, DECEMBER):
            use = used_in(month, metered, now)
            if use is not None and use.reach is not Reach.NONE:
                check(use, month, meter, metered)


def check(use: Use, month: Month, meter: Meter, metered: Metered) -> None:
    told_to = min(use.until_ms, metered.as_of_ms)
    if use.slices:
        assert use.total == meter(told_to).since(meter(use.since_ms))
    assert sum(piece.use.spent or 0 for piece in use.slices) == use.total.spent
    phases = sum((piece.use.phases for piece in use.slices), start=Phases())
    assert phases == use.total.phases
    before = max(month.start_ms, MADE)
    for number, piece in enumerate(use.slices):
        assert before <= piece.start_ms < piece.end_ms <= month.end_ms
        assert piece.use == meter(piece.end_ms).since(meter(piece.start_ms))
        assert piece.use != Reading()
        assert number == 0 or piece.end_ms - piece.start_ms <= HOUR_MS
        before = piece.end_ms


@given(SPANS, st.lists(st.integers(1, 3_000), min_size=1, max_size=20))
def test_this_month_is_always_told_whole(meter: Meter, pauses: list[int]) -> None:
    for metered in passes(meter, pauses):
        use = used_in(month_of(metered.as_of_ms), metered, metered.as_of_ms)
        assert use is not None
        assert use.reach is (Reach.SO_FAR if metered.running else Reach.WHOLE)
        assert use.since_ms == max(MADE, month_of(metered.as_of_ms).start_ms)


def test_the_days_before_the_last_are_one_slice_and_hours_asleep_are_none() -> None:
    meter = Meter((60, 120), (2_500, 2_600), (3_000, 3_030), (5_765, 5_790))
    use = used_in(NOVEMBER, last(meter, *[30] * 200), MADE + 6_000 * MINUTE)
    assert use is not None
    assert [(piece.start_ms, piece.end_ms) for piece in use.slices] == [
        (NOVEMBER.start_ms, at("2026-11-01T13:00")),
        (at("2026-11-03T10:00"), at("2026-11-03T11:00")),
    ]


def test_a_month_that_the_endpoint_was_made_in_is_told_whole_in_the_next() -> None:
    meter = Meter((0, 6_000))
    metered = last(meter, *[20] * 200)
    assert month_of(metered.as_of_ms) == NOVEMBER
    use = used_in(OCTOBER, metered, metered.as_of_ms)
    assert use is not None
    assert (use.reach, use.since_ms, use.until_ms) == (Reach.WHOLE, MADE, OCTOBER.end_ms)
    assert use.total == meter(OCTOBER.end_ms)


def test_of_an_older_month_only_the_hours_before_its_end_are_told() -> None:
    november = [60] * 24 * 31
    meter = Meter((0, 100_000))
    metered = last(meter, *november, 600)
    assert month_of(metered.as_of_ms) == NOVEMBER
    late = last(meter, *november, *[60] * 30)
    assert month_of(late.as_of_ms) == DECEMBER
    use = used_in(NOVEMBER, late, late.as_of_ms)
    assert use is not None
    assert use.reach is Reach.PART
    assert use.since_ms == late.windows.hours[0].at_ms > NOVEMBER.start_ms
    assert use.total == meter(NOVEMBER.end_ms).since(meter(use.since_ms))
    gone = used_in(OCTOBER, late, late.as_of_ms)
    assert gone is not None
    assert (gone.reach, gone.total.spent, gone.slices) == (Reach.NONE, None, ())


def test_an_endpoint_that_slept_through_a_month_used_nothing_of_it() -> None:
    metered = last(Meter((0, 60)), 30, 60, 60)
    use = used_in(DECEMBER, metered, at("2026-12-05T00:00"))
    assert use is not None
    assert (use.reach, use.total, use.slices) == (Reach.WHOLE, Reading(), ())


def test_a_pod_that_ran_when_the_status_was_last_written_leaves_the_next_month_untold() -> None:
    metered = last(Meter((0, 60)), 30)
    use = used_in(DECEMBER, metered, at("2026-12-05T00:00"))
    assert use is not None
    assert (use.reach, use.total.spent) == (Reach.NONE, None)


def test_a_month_before_the_endpoint_was_made_is_none_of_it() -> None:
    assert used_in(month_named("2026-09"), last(Meter(), 30), at("2026-11-01T00:00")) is None


def test_a_clock_behind_the_writer_loses_nothing() -> None:
    metered = last(Meter((0, 60)), 30)
    use = used_in(OCTOBER, metered, metered.as_of_ms - 5_000)
    assert use is not None
    assert use.total == metered.total


def test_what_a_price_unknown_leaves_open_is_unknown_and_the_rest_is_not() -> None:
    edge = at("2026-10-30T11:00")
    hours = (Mark(MADE, Reading()), Mark(edge, Reading(Phases(idle=9), 63)))
    windows = Windows(hours, Mark(MADE, Reading()))
    metered = Metered(windows, Reading(Phases(idle=20), None), MADE, edge + MINUTE)
    use = used_in(OCTOBER, metered, edge + MINUTE)
    assert use is not None
    assert use.total.spent is None
    assert [piece.use.spent for piece in use.slices] == [63, None]
    assert use.total.phases.idle == 20


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-12", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("2028-02", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_a_month_has_its_first_instant_and_that_of_the_next(
    text: str, start: str, end: str
) -> None:
    assert month_named(text) == Month(at(start), at(end))
    assert str(month_named(text)) == text


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-00", "26-11", "2026-1", "2026-11-01", "x", "²026-11", ""]
)
def test_what_is_no_month_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month such as 2026-11"):
        month_named(text)
