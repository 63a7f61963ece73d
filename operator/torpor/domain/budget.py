"""The month's budget: how much of it is spent, where it will end, and whether a wake may still cost something.

Spent is the difference of two readings of the meter, so a restart, a replayed pass or a price that changed moves
nothing. An unknown cost is neither within nor beyond a budget, and never refuses a wake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from torpor.api.conditions import ConditionStatus, Reason
from torpor.domain import money
from torpor.domain.money import Exact
from torpor.domain.windows import (
    DAY_HOURS,
    HOUR_MS,
    Reading,
    Windows,
    day_before,
    month_start,
    next_month,
)

STEPS = (
    (100, Reason.OVER_BUDGET),
    (80, Reason.BUDGET_NEARLY_SPENT),
    (50, Reason.BUDGET_HALF_SPENT),
)
"""Percent of the budget from which on the condition has another reason, each with an Event (cost-policy §2.5)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a calendar month (UTC) may cost."""

    monthly: int
    """In micro-units × ms per hour, as a reading of the meter."""
    refuses: bool = False
    """Whether nothing is woken any more once it is spent."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the budget stands at an instant. Money is in micro-units × ms per hour; None is unknown."""

    budget: Budget
    spent: Exact | None
    forecast: Exact | None
    """What the month will have cost at its end, if it goes on as in the last 24 hours."""
    since_ms: int
    """Beginning of what is counted: of the month, or the endpoint's creation."""
    resets_ms: int
    """When the next month begins."""
    currency: str = "USD"

    @property
    def percent(self) -> int | None:
        """Whole percents that are spent."""
        return None if self.spent is None else self.spent * 100 // self.budget.monthly

    @property
    def refuses(self) -> bool:
        """Whether a wake is refused until the month is over."""
        return self.budget.refuses and (self.percent or 0) >= 100

    @property
    def verdict(self) -> tuple[ConditionStatus, Reason, str]:
        """Status, reason and message of the condition `WithinBudget`."""
        if self.percent is None:
            return (
                "Unknown",
                Reason.PRICE_UNKNOWN,
                f"what was spent of {self._money(self.budget.monthly)} is not known, because a price is not",
            )
        for least, reason in STEPS:
            if self.percent >= least:
                status: ConditionStatus = "False" if reason is Reason.OVER_BUDGET else "True"
                return status, reason, self.sentence
        return "True", Reason.WITHIN_BUDGET, self.sentence

    @property
    def sentence(self) -> str:
        """What is spent, what it leads to, and what happens then."""
        said = (
            f"{self._money(self.spent)} of {self._money(self.budget.monthly)} spent since "
            f"{_day(self.since_ms)} ({self.percent} %)"
        )
        if self.refuses:
            return (
                f"{said}; not woken before {_day(self.resets_ms)} or a higher cost.budget.monthly"
            )
        if self.forecast is not None:
            said += f"; {self._money(self.forecast)} by {_day(self.resets_ms)} at the rate of the last day"
        return said

    def _money(self, micro_ms: Exact | None) -> str:
        return f"{money.rounded(money.amount(micro_ms), 2 if self._coarse else 6)} {self.currency}"

    @property
    def _coarse(self) -> bool:
        return self.budget.monthly >= money.units(1)


def assess(
    budget: Budget, windows: Windows, reading: Reading, currency: str, now_ms: int
) -> Standing:
    """Return how the budget stands.

    Args:
        budget: What the month may cost.
        windows: Marks of the meter; those of this month and of the last day are read.
        reading: The meter now.
        currency: ISO 4217 code of the money on the meter.
        now_ms: Epoch ms.
    """
    month = windows.month
    began = month_start(now_ms) if month is None else month.at_ms
    spent = reading.since(month.reading).spent if month else reading.spent
    resets_ms = next_month(now_ms)
    return Standing(
        budget,
        spent,
        None if spent is None else _forecast(spent, windows, reading, resets_ms, now_ms),
        began,
        resets_ms,
        currency,
    )


def _forecast(
    spent: Exact, windows: Windows, reading: Reading, resets_ms: int, now_ms: int
) -> Exact | None:
    """Spent, and the mean rate of the last 24 hours for the rest of the month.

    Of an endpoint that is younger, the rate since its creation, but of an hour at least: the minutes of a first
    try are no rate of a month.
    """
    day = day_before(windows, now_ms)
    lately = reading.since(day.reading).spent
    if lately is None:
        return None
    elapsed = min(DAY_HOURS * HOUR_MS, max(HOUR_MS, now_ms - day.at_ms))
    return spent + lately * (resets_ms - now_ms) // elapsed


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
