from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.metered_world import fixed
from torpor.domain.costing import always_on_micro_ms as always_on
from torpor.domain.costing import cost_of
from torpor.domain.ledger import MOST_ROWS, LivePod, Meter, Price, Row, Segment, folded
from torpor.domain.phases import Phases
from torpor.domain.pricing import Tariff, cut_by, rounded_up, stretches

OLD, NEW, NEWER, UNKNOWN = (
    Price(name, "l40s", micro_per_hour=rate)
    for name, rate in (("old", 1), ("new", 2), ("newer", 3), ("unknown", None))
)
TARIFF = Tariff(UNKNOWN, ((100, OLD), (200, NEW), (300, NEWER)))
POD = LivePod("a", "a", 1, 150, (Segment(OLD, 150),))


def prices_of(pod: LivePod) -> list[tuple[str, int]]:
    return [(segment.price.id, segment.from_ms) for segment in pod.segments]


@pytest.mark.parametrize(
    ("at", "price"), [(99, UNKNOWN), (100, OLD), (199, OLD), (200, NEW), (9_999, NEWER)]
)
def test_a_price_holds_from_its_date_on_and_before_the_first_none_is_known(
    at: int, price: Price
) -> None:
    assert TARIFF.at(at) == price


@pytest.mark.parametrize(
    ("until", "found"),
    [
        (199, [("old", 150)]),
        (200, [("old", 150), ("new", 200)]),
        (1_000, [("old", 150), ("new", 200), ("newer", 300)]),
    ],
)
def test_a_pod_is_cut_at_the_dates_that_it_lives_through(
    until: int, found: list[tuple[str, int]]
) -> None:
    assert prices_of(cut_by(POD, TARIFF, until)) == found
    once = cut_by(POD, TARIFF, until)
    assert cut_by(once, TARIFF, until) == once


def test_a_pod_that_has_ended_is_not_cut_after_its_end() -> None:
    assert prices_of(cut_by(replace(POD, finished_ms=250), TARIFF, 1_000)) == [
        ("old", 150),
        ("new", 200),
    ]
    assert cut_by(replace(POD, finished_ms=180), fixed(NEW), 1_000).price == OLD


def test_a_price_that_was_edited_holds_from_now_and_a_way_back_is_another_cut() -> None:
    pod = cut_by(cut_by(POD, fixed(NEW), 400), fixed(OLD), 500)
    assert prices_of(pod) == [("old", 150), ("new", 400), ("old", 500)]


def test_a_clock_that_went_backwards_cuts_nothing() -> None:
    assert cut_by(POD, fixed(NEW), 140) == POD


@given(st.lists(st.integers(150, 400), max_size=8).map(sorted))
def test_however_often_it_is_looked_at_the_cuts_are_the_same(looks: list[int]) -> None:
    pod = POD
    for at in [*looks, 400]:
        pod = cut_by(pod, TARIFF, at)
    assert pod == cut_by(POD, TARIFF, 400)


@pytest.mark.parametrize(
    ("lifetime", "step", "least", "extra"),
    [
        (1_001, 0, 0, 0), (1_001, 1, 0, 999), (60_000, 60, 0, 0), (60_001, 60, 0, 59_999),
        (10, 1, 60, 59_990), (61_000, 1, 60, 0), (0, 0, 60, 60_000),
    ],
)  # fmt: skip
def test_a_lifetime_is_billed_to_its_step_and_to_its_least(
    lifetime: int, step: int, least: int, extra: int
) -> None:
    price = replace(OLD, granularity_s=step, minimum_s=least)
    assert rounded_up(lifetime, price) == extra


def test_a_stretch_begins_at_what_was_known_then_and_follows_the_dates() -> None:
    assert stretches(TARIFF, None, 150, 250) == [(OLD, 50), (NEW, 50)]
    assert stretches(TARIFF, NEWER, 150, 250) == [(NEWER, 50), (NEW, 50)]
    assert stretches(TARIFF, None, 150, 150) == [(OLD, 0)]


def rows(*rates: int | None) -> tuple[Row, ...]:
    used = Phases(1, 2, 3, 4, 1)
    return tuple(
        Row(Price(str(n), "l40s", micro_per_hour=rate), used, always_on=n, rounding=5)
        for n, rate in enumerate(rates)
    )


@given(st.lists(st.integers(0, 10**7), max_size=40), st.integers(0, 3))
def test_folding_rows_changes_no_figure(rates: list[int], extra: int) -> None:
    meter = Meter(rows(*rates))
    less = folded(folded(meter), most=MOST_ROWS - extra)
    assert len(less.rows) <= max(1, MOST_ROWS - extra)
    assert less.rows == meter.rows[len(meter.rows) - len(less.rows) :]
    assert cost_of(less.rows, less.settled) == cost_of(meter.rows)
    assert always_on(less.rows, less.settled) == always_on(meter.rows)
    together = sum((row.phases for row in less.rows), start=less.settled.phases)
    assert together == sum((row.phases for row in meter.rows), start=Phases())
    assert less.settled.rows + len(less.rows) == len(meter.rows)


def test_rows_that_are_in_use_or_have_no_price_are_not_folded() -> None:
    made = rows(1, None, 3, 4, 5)
    live = (replace(POD, segments=(Segment(made[0].price, 0), Segment(made[4].price, 9))),)
    meter = folded(Meter(made, live), most=2)
    assert [row.price.id for row in meter.rows] == ["0", "1", "4"]
    assert (meter.settled.rows, meter.settled.cost.spent) == (2, 15 * (3 + 4))


def test_rows_of_another_currency_than_the_folded_ones_stay() -> None:
    made = rows(1, 2, 3)
    foreign = replace(made[1], price=replace(made[1].price, currency="EUR"))
    meter = folded(Meter((made[0], foreign, made[2])), most=1)
    assert meter.rows == (foreign, made[2])
    assert cost_of(meter.rows, meter.settled) is None
