"""Starts ahead of demand: the best of all pairs, and only while they have paid."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.keepalive_lives import GAPS, HOURS, PRICES, lived
from torpor.domain.gaps import BINS, EDGES, MIDS, Curve, Habits, curve, observe
from torpor.domain.keepalive import MISSES, Keep, Learned, learn
from torpor.domain.prewake import BETTER, Prewake, Price, candidate, gap_cost

PRICE = Price(60.0, 5.0)
AHEAD = Prewake(540.0, 900.0)


@pytest.mark.parametrize(
    ("gap", "cost"),
    [
        pytest.param(20.0, 20.0, id="kept"),
        pytest.param(30.0, 30.0, id="kept to the last second"),
        pytest.param(31.0, 30 + 360.0, id="asleep: a wake on demand"),
        pytest.param(540.0, 30 + 360.0, id="the very instant at which the prewake starts"),
        pytest.param(560.0, 30 + 60 + 5 * 40.0, id="starting: waits for the rest"),
        pytest.param(600.0, 30 + 60.0, id="ready at this instant"),
        pytest.param(700.0, 30 + 160.0, id="waiting for it"),
        pytest.param(900.0, 30 + 360.0, id="at the last second"),
        pytest.param(901.0, 30 + 360 + 360.0, id="came too late: both were for nothing"),
    ],
)
def test_what_a_gap_costs(gap: float, cost: float) -> None:
    assert gap_cost(gap, 30.0, AHEAD, PRICE) == cost


def test_without_a_prewake_a_gap_costs_itself_or_a_wake() -> None:
    assert [gap_cost(gap, 30.0, None, PRICE) for gap in (30.0, 30.5, 1e6)] == [30.0, 390.0, 390.0]


def expected(found: Curve, keep_s: float, prewake: Prewake | None, price: Price) -> float:
    costs = [gap_cost(mid, keep_s, prewake, price) for mid in MIDS]
    return sum(p * cost for p, cost in zip(found.chance, costs, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(GAPS, min_size=1, max_size=30),
    PRICES,
    HOURS,
    st.sampled_from((0.0, 15.0, *EDGES[5:20])),
)
def test_the_walk_finds_the_best_of_all_pairs(
    gaps: list[float], price: Price, hour: float, keep_s: float
) -> None:
    habits = Habits()
    for gap in gaps:
        habits = observe(habits, gap, hour)
    found = curve(habits, hour)
    pairs = [
        Prewake(EDGES[ready] - price.cold_s, EDGES[until])
        for ready in range(BINS - 1)
        for until in range(ready + 1, BINS)
        if EDGES[ready] - price.cold_s > keep_s
    ]
    without = expected(found, keep_s, None, price)
    best = min((expected(found, keep_s, pair, price) for pair in pairs), default=without)
    chosen = candidate(found, keep_s, price)
    if chosen is None:
        assert best >= BETTER * without * (1 - 1e-9)
    else:
        assert expected(found, keep_s, chosen, price) == pytest.approx(best)
        assert best <= BETTER * without * (1 + 1e-9)


def judged(learned: Learned, gap: float) -> Learned:
    return learn(learned, gap, 0.0, PRICE, Keep(30.0, "", None, AHEAD))


def test_the_gate_sums_what_the_proposals_would_have_saved() -> None:
    hit = judged(Learned(), 700.0)
    assert (hit.worth, hit.prewakes) == (390.0 - 190.0, True)
    late = judged(hit, 901.0)
    assert late.worth == pytest.approx(0.97 * 200.0 - 360.0)
    assert not late.prewakes


def test_a_gap_that_a_proposal_does_not_touch_is_neither_hit_nor_miss() -> None:
    after = judged(Learned(worth=100.0, misses=2), 20.0)
    assert (after.worth, after.misses) == (97.0, 2)


def test_after_three_misses_in_a_row_it_is_only_tried_on_paper_until_one_would_have_hit() -> None:
    learned = Learned(worth=1e6)
    for misses in range(MISSES):
        assert (learned.prewakes, learned.misses) == (True, misses)
        learned = judged(learned, 1000.0)
    assert learned.worth > 0
    assert not learned.prewakes
    assert not judged(learned, 1000.0).prewakes
    assert judged(learned, 700.0).prewakes


def test_gaps_without_a_pattern_are_not_worth_a_prewake() -> None:
    chance = Random(3)
    _, decided = lived([chance.expovariate(1 / 3000) for _ in range(400)], PRICE)
    assert sum(kept.prewake is not None for kept in decided) < 0.1 * len(decided)


def test_a_decision_that_was_not_this_policys_is_not_judged() -> None:
    assert learn(Learned(worth=10.0), 5000.0, 0.0, PRICE, None).worth == pytest.approx(9.7)
