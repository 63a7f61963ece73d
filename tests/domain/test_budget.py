"""A month's budget: the figures, the steps of the condition, the next month."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain import money
from torpor.domain.budget import Budget, Standing, assess
from torpor.domain.windows import HOUR_MS, Mark, Reading, Windows, next_month


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


MONTH = at("2026-11-01T00:00")
NOW = at("2026-11-21T00:00")
FIVE_HUNDRED = Budget(money.units(500))


def read(spent: int | None) -> Reading:
    return Reading(spent=None if spent is None else money.units(spent))


def stand(
    spent: int | None,
    *,
    before: int | None = 0,
    yesterday: int | None = 0,
    budget: Budget = FIVE_HUNDRED,
    now_ms: int = NOW,
) -> Standing:
    """A standing with `spent` in all, of which `before` the month and `yesterday` a day ago."""
    marks = (Mark(now_ms - 24 * HOUR_MS, read(yesterday)),)
    windows = Windows(marks, Mark(MONTH, read(before)))
    return assess(budget, windows, read(spent), "USD", now_ms)


@pytest.mark.parametrize(
    ("spent", "status", "reason"),
    [
        (0, "True", "WithinBudget"),
        (249, "True", "WithinBudget"),
        (250, "True", "BudgetHalfSpent"),
        (399, "True", "BudgetHalfSpent"),
        (400, "True", "BudgetNearlySpent"),
        (499, "True", "BudgetNearlySpent"),
        (500, "False", "OverBudget"),
        (5000, "False", "OverBudget"),
    ],
)
def test_the_condition_has_a_reason_for_half_most_and_all(
    spent: int, status: str, reason: str
) -> None:
    assert stand(spent).verdict[:2] == (status, reason)


def test_only_what_this_month_cost_counts() -> None:
    standing = stand(700, before=450, yesterday=640)
    assert (standing.percent, standing.since_ms) == (50, MONTH)
    assert standing.spent == money.units(250)


def test_the_forecast_goes_on_as_in_the_last_day() -> None:
    standing = stand(200, yesterday=170)  # 30 a day, ten days left
    assert standing.forecast == money.units(500)
    assert standing.sentence == (
        "200 USD of 500 USD spent since 2026-11-01 (40 %); 500 USD by 2026-12-01 at the rate of the last day"
    )


def test_the_first_minutes_of_an_endpoint_are_no_rate_of_a_month() -> None:
    made = NOW - 60_000
    windows = Windows((Mark(made, Reading()),), Mark(made, Reading()))
    standing = assess(FIVE_HUNDRED, windows, read(1), "USD", NOW)
    assert standing.forecast == money.units(1 + 240)  # 1 an hour, not 1 a minute, for ten days
    assert standing.since_ms == made


@pytest.mark.parametrize(("spent", "before"), [(None, 0), (5, None)])
def test_an_unknown_price_is_neither_within_nor_beyond_and_refuses_nothing(
    spent: int | None, before: int | None
) -> None:
    standing = stand(spent, before=before, budget=Budget(1, refuses=True))
    assert standing.verdict[:2] == ("Unknown", "PriceUnknown")
    assert (standing.refuses, standing.percent, standing.forecast) == (False, None, None)


def test_the_rate_may_be_unknown_where_the_sum_is_known() -> None:
    standing = stand(5, yesterday=None)
    assert standing.forecast is None
    assert standing.sentence == "5 USD of 500 USD spent since 2026-11-01 (1 %)"


@pytest.mark.parametrize(
    ("spent", "refuses", "refused"),
    [(499, True, False), (500, True, True), (500, False, False)],
)
def test_a_wake_is_refused_only_if_the_spec_says_so(
    spent: int, refuses: bool, refused: bool
) -> None:
    standing = stand(spent, budget=Budget(money.units(500), refuses))
    assert standing.refuses is refused
    assert ("not woken before 2026-12-01" in standing.sentence) is refused


def test_a_small_budget_is_told_to_the_last_digit() -> None:
    small = Budget(money.units(1) // 1000)
    standing = assess(
        small, Windows((Mark(MONTH, Reading()),)), Reading(spent=small.monthly // 2), "EUR", NOW
    )
    assert standing.sentence.startswith("0.0005 EUR of 0.001 EUR spent since 2026-11-01 (50 %)")


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-01T00:00", "2026-12-01T00:00"),
        ("2026-12-31T23:59", "2027-01-01T00:00"),
        ("2028-01-31T12:00", "2028-02-01T00:00"),
        ("2028-02-29T12:00", "2028-03-01T00:00"),
    ],
)
def test_a_month_ends_when_the_next_begins(now: str, then: str) -> None:
    assert next_month(at(now)) == at(then)


@given(
    spent=st.integers(0, 10**20),
    yesterday=st.integers(0, 10**20),
    monthly=st.integers(1, 10**18),
    left_ms=st.integers(1, 30 * 24 * HOUR_MS),
)
def test_percent_step_and_refusal_agree(
    spent: int, yesterday: int, monthly: int, left_ms: int
) -> None:
    now = at("2026-12-01T00:00") - left_ms
    yesterday = min(yesterday, spent)
    windows = Windows((Mark(now - 24 * HOUR_MS, Reading(spent=yesterday)),), Mark(MONTH, Reading()))
    standing = assess(Budget(monthly, refuses=True), windows, Reading(spent=spent), "USD", now)
    assert standing.refuses is (spent >= monthly)
    assert (standing.verdict[0] == "False") is standing.refuses
    assert standing.forecast is not None
    assert standing.forecast >= spent
