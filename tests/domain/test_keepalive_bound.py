"""On gaps that stay as they are, the chosen time is never worse than always or never, beyond what the bins cost.

The bound. A time-out at an edge splits real gaps exactly as it splits bins, and a gap differs from its bin's middle by
a factor of at most r = 1.2147 (the root of the bins' ratio), in the first bin by at most d = 0.7072 s. So of any
time-out, with c the mean cost on the real gaps and m that on the middles: c <= r*m + d and m <= r*c + d. The choice
minimises m over the real gaps (weight n) and the prior (2 gaps), so by at most 2/n times what the prior charges for
the alternative, it may be dearer than that in m. With B = C + w*C the cost of never keeping, A that of always keeping
and P = 13 230 s the mean of the middles, what the prior charges for always:

    c <= r*(B + 2*B/n) + d              against never: there m is B exactly
    c <= r*(r*A + d + 2*P/n) + d        against always
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.domain.keepalive_lives import GAPS, HOURS, PRICES
from torpor.domain.gaps import BINS, DECAY, EDGES, LONGEST_S, MIDS, Habits, curve, observe
from torpor.domain.keepalive import Bounds, Learned, cheapest, choose, keep, learn
from torpor.domain.prewake import Price, gap_cost

ROOT = (EDGES[1] / EDGES[0]) ** 0.5
FIRST = 0.7072
PRIOR_ALWAYS = sum(MIDS) / BINS


def mean_cost(gaps: list[float], seconds: float, price: Price) -> float:
    """What the gaps cost with a time-out, each weighing as much as it does in the memory."""
    weights = [DECAY ** (len(gaps) - 1 - k) for k in range(len(gaps))]
    costs = [gap_cost(gap, seconds, None, price) for gap in gaps]
    return sum(w * cost for w, cost in zip(weights, costs, strict=True)) / sum(weights)


@settings(deadline=None)
@given(st.lists(GAPS, min_size=1, max_size=60), PRICES)
def test_never_worse_than_always_or_never_by_more_than_the_bound(
    gaps: list[float], price: Price
) -> None:
    habits = Habits()
    for gap in gaps:
        habits = observe(habits, gap, 0.0)
    paid = mean_cost(gaps, cheapest(curve(habits), price.wake), price)
    n = habits.seen
    never = price.wake
    always = mean_cost(gaps, LONGEST_S, price)
    assert paid <= ROOT * never * (1 + 2 / n) + FIRST + 1e-6
    assert paid <= ROOT * (ROOT * always + FIRST + 2 * PRIOR_ALWAYS / n) + FIRST + 1e-6


@settings(deadline=None)
@given(st.lists(GAPS, max_size=40), PRICES, HOURS, st.floats(1, 3600), st.floats(0, 172_800))
def test_never_outside_what_the_spec_allows(
    gaps: list[float], price: Price, hour: float, least: float, more: float
) -> None:
    bounds, learned = Bounds(least, least + more), Learned()
    for gap in gaps:
        kept = choose(learned, price, hour, bounds)
        assert bounds.least_s <= kept.seconds <= bounds.most_s
        learned = learn(learned, gap, hour, price, kept)
    assert bounds.least_s <= keep(learned, price, hour, bounds).seconds <= bounds.most_s


@settings(deadline=None)
@given(st.lists(GAPS, max_size=40), HOURS, HOURS)
@example([1.1e-308], 0.0, 0.0)  # no time at all, so that the rate would be infinite
def test_a_curve_is_a_law_of_chances(gaps: list[float], seen_at: float, hour: float) -> None:
    habits = Habits()
    for gap in gaps:
        habits = observe(habits, gap, seen_at)
    found = curve(habits, hour)
    assert abs(sum(found.chance) - 1.0) < 1e-9
    assert all(p >= 0 for p in found.chance)
    assert all(a >= b for a, b in zip(found.left, found.left[1:], strict=False))
    assert found.left[-1] == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(GAPS, min_size=1, max_size=40), st.floats(1, 900), st.floats(0, 50))
def test_a_dearer_wait_never_shortens_the_time(
    gaps: list[float], cold_s: float, weight: float
) -> None:
    habits = Habits()
    for gap in gaps:
        habits = observe(habits, gap, 0.0)
    seen = curve(habits)
    cheap, dear = Price(cold_s, weight).wake, Price(cold_s, 2 * weight + 1).wake
    assert cheapest(seen, cheap) <= cheapest(seen, dear)
