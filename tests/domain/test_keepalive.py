"""The keep-alive policy on the gaps that break simpler ones, and what it says of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.keepalive_lives import ANY, GAPS, PRICES, lived
from torpor.domain.gaps import BINS, DECAY, EDGES, LONGEST_S, Habits, bin_of, hour_factors, observe
from torpor.domain.keepalive import (
    MISSES,
    Bounds,
    Keep,
    Learned,
    choose,
    cold_start,
    keep,
    learn,
    learn_cold_start,
)
from torpor.domain.prewake import Price, gap_cost

BALANCED = Price(60.0, 5.0)
DAY_S = 86_400.0


def test_an_endpoint_of_which_nothing_is_known_is_kept_as_the_prior_says() -> None:
    assert keep(Learned(), BALANCED, 9.0) == Keep(
        seconds=EDGES[10], why="keeps 49 s: 34 % of gaps end before; a wake costs 60 s"
    )


def test_what_is_allowed_shows_in_the_words() -> None:
    said = keep(Learned(), BALANCED, None, Bounds(60.0, 90.0)).why
    assert said == "keeps 60 s (the least allowed): 38 % of gaps end before; a wake costs 60 s"
    said = keep(Learned(), BALANCED, None, Bounds(15.0, 20.0)).why
    assert said.startswith("keeps 20 s (the most allowed):")


def test_a_spent_budget_leaves_the_shortest_time_and_nothing_ahead_of_demand() -> None:
    learned, _ = lived([7200.0] * 60, BALANCED)
    kept = keep(replace(learned, worth=1e6), BALANCED, 3.0, thrifty=True)
    assert kept == Keep(15.0, "keeps 15 s: the month's budget is spent")


def test_constant_gaps_shorter_than_a_wake_are_slept_through_awake() -> None:
    _, decided = lived([40.0] * 100, BALANCED)
    assert all(kept.seconds >= 40.0 for kept in decided[5:])


def test_constant_gaps_much_longer_than_a_wake_are_not_waited_for() -> None:
    _, decided = lived([7200.0] * 100, BALANCED)
    assert all(kept.seconds < 60.0 for kept in decided[5:])


def test_constant_gaps_are_met_by_a_prewake_once_it_has_proved_itself() -> None:
    learned, decided = lived([600.0] * 100, BALANCED)
    first = next(k for k, kept in enumerate(decided) if kept.prewake)
    assert decided[first - 1].proposed, "it is judged on paper before it is carried out"
    for kept in decided[first + 1 :]:
        assert kept.prewake is not None
        assert kept.prewake.start_s + 60.0 <= 600.0 <= kept.prewake.until_s
    assert learned.worth > 0
    assert keep(learned, BALANCED, 0.0).why == (
        "keeps 15 s (the least allowed): 1 % of gaps end before; a wake costs 60 s; "
        "wakes again after 7 min until 12 min, when 98 % more end"
    )


def test_bimodal_gaps_are_kept_for_the_short_and_not_for_the_long() -> None:
    chance = Random(1)
    gaps = [chance.choice((20.0, 20_000.0)) for _ in range(200)]
    _, decided = lived(gaps, BALANCED)
    assert all(20.0 <= kept.seconds <= 120.0 for kept in decided[20:])


def test_bursts_cost_less_than_always_and_than_never() -> None:
    chance = Random(2)
    gaps = list[float]()
    for _ in range(40):
        gaps += [chance.expovariate(1 / 5) for _ in range(20)] + [chance.uniform(3600, 40_000)]
    _, decided = lived(gaps, BALANCED, Bounds())
    paid = sum(
        gap_cost(gap, kept.seconds, kept.prewake, BALANCED)
        for gap, kept in zip(gaps, decided, strict=True)
    )
    assert paid < 0.5 * sum(gaps)
    assert paid < 0.5 * len(gaps) * BALANCED.wake


def test_an_hour_in_which_people_come_is_waited_for_longer() -> None:
    habits = Habits()
    for _ in range(8):
        for _ in range(10):
            habits = observe(habits, 300.0, 9.0)
        habits = observe(habits, DAY_S - 3000.0, 9.9)
    factors = hour_factors(habits)
    assert factors[9] > 2.0
    assert factors[22] < 0.7
    learned = Learned(habits)
    morning = choose(learned, BALANCED, 9.0, ANY)
    night = choose(learned, BALANCED, 22.0, ANY)
    assert morning.seconds > night.seconds


def test_nothing_known_of_the_day_means_no_factor() -> None:
    assert hour_factors(Habits()) == [1.0] * 24


@pytest.mark.parametrize("gap", [-1.0, -1e12, math.nan, math.inf, -math.inf])
def test_a_clock_that_went_back_teaches_nothing(gap: float) -> None:
    learned, _ = lived([40.0, 500.0], BALANCED)
    assert learn(learned, gap, 3.0, BALANCED, keep(learned, BALANCED, 3.0)) is learned


def test_a_clock_that_jumped_years_ahead_is_one_long_gap() -> None:
    learned, _ = lived([40.0] * 50, BALANCED)
    after = learn(learned, 1e9, 3.0, BALANCED)
    assert after.habits.gaps[-1] == 1.0
    assert sum(after.habits.idle_h) <= 50 * 40 / 3600 + LONGEST_S / 3600 + 1e-6
    assert keep(after, BALANCED, 3.0).seconds == keep(learned, BALANCED, 3.0).seconds


def test_the_edges_are_those_of_the_table_and_belong_to_the_bin_below() -> None:
    assert (EDGES[0], len(EDGES)) == (1.0, BINS)
    assert EDGES[-1] == pytest.approx(LONGEST_S)
    assert [bin_of(gap) for gap in (0.0, 1.0, 1.01, EDGES[5], 1e9)] == [0, 0, 1, 5, 31]


def test_old_habits_fade() -> None:
    learned, _ = lived([7200.0] * 300 + [30.0] * 300, BALANCED)
    assert learned.habits.seen == pytest.approx(1 / (1 - DECAY), rel=0.06)
    assert keep(learned, BALANCED, None).seconds > 30.0


def test_a_gap_is_spread_over_the_hours_it_lasted() -> None:
    habits = observe(Habits(), 2.5 * 3600, 22.75)
    assert {h: pytest.approx(v) for h, v in enumerate(habits.idle_h) if v} == {
        22: 0.25,
        23: 1.0,
        0: 1.0,
        1: 0.25,
    }
    assert habits.events[1] == 1.0


@settings(deadline=None)
@given(GAPS, st.floats(0, 24))
def test_the_idle_hours_are_the_gap(gap: float, hour: float) -> None:
    habits = observe(Habits(), gap, hour)
    assert sum(habits.idle_h) * 3600 == pytest.approx(gap, abs=1e-6)
    assert sum(habits.events) == 1.0


def test_the_mean_of_the_cold_starts_leans_to_the_newest() -> None:
    learned = learn_cold_start(Learned(), 60.0)
    assert (cold_start(Learned(), 45.0), cold_start(learned, 45.0)) == (45.0, 60.0)
    assert learn_cold_start(learned, 160.0).cold_s == pytest.approx(90.0)
    for wrong in (0.0, -5.0, math.nan, math.inf):
        assert learn_cold_start(learned, wrong) is learned


@settings(deadline=None)
@given(st.lists(GAPS, max_size=30), PRICES)
def test_the_same_question_has_the_same_answer(gaps: list[float], price: Price) -> None:
    learned, _ = lived(gaps, price)
    again, _ = lived(gaps, price)
    assert keep(learned, price, 4.0) == keep(again, price, 4.0)
    assert 0 <= learned.misses <= MISSES
