"""Figures made of readings of the meter: windows of time, and what a million tokens cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torpor.api.status import (
    BudgetStatus,
    ComparisonStatus,
    CostWindow,
    PhaseCosts,
    TokenPrices,
    TokensStatus,
)
from torpor.domain import money
from torpor.domain.bookkeeping import gpu_ms
from torpor.domain.budget import Standing
from torpor.domain.comparing import Comparison
from torpor.domain.costing import cost_of, moved_cost
from torpor.domain.egress import Route
from torpor.domain.ledger import Cost, Meter, Row, Settled
from torpor.domain.metering import totals
from torpor.domain.observation import Demand
from torpor.domain.remembering import moment
from torpor.domain.windows import Mark, Reading

ANSWER_WEIGHT = 4
"""Prompt tokens that an answer token costs as much as, where nobody measured it: what GKE's own price lists assume
(cost-policy §2.5)."""


def read_meter(meter: Meter, demand: Demand, tokens: TokensStatus, at_ms: int) -> Reading:
    """Return the totals as of an instant."""
    rows, moved = totals(meter, demand, at_ms), meter.egress.until(at_ms)
    return read_rows(rows, meter.settled, cost_of(rows, meter.settled, moved), tokens, moved)


def read_rows(
    rows: Iterable[Row],
    settled: Settled,
    cost: Cost | None,
    tokens: TokensStatus,
    moved: Sequence[Route] = (),
) -> Reading:
    """Return the same of rows whose cost is known already."""
    return Reading(
        sum((row.phases for row in rows), start=settled.phases),
        None if cost is None else cost.spent,
        tokens.prompt,
        tokens.completion,
        moved_cost(moved),
        sum(route.bytes for route in moved),
    )


def window(now: Reading, began: Mark) -> CostWindow:
    """Return what was spent since a mark."""
    used = now.since(began.reading)
    return CostWindow(
        since=moment(began.at_ms),
        spent=money.amount(used.spent),
        per_million_tokens=money.per_million_tokens(used.spent, used.tokens),
        prompt=used.prompt,
        completion=used.completion,
        gpu_ms=gpu_ms(used.phases),
    )


def token_prices(cost: Cost | None, prompt: int, completion: int) -> TokenPrices | None:
    """Return what a million tokens cost by other ways of counting; None while nothing is known or delivered."""
    if cost is None or prompt + completion <= 0:
        return None
    weighed = prompt + ANSWER_WEIGHT * completion
    return TokenPrices(
        busy=money.per_million_tokens(cost.busy, prompt + completion),
        answer=money.per_million_tokens(cost.spent, completion),
        input=money.per_million_tokens(cost.spent, weighed),
        output=money.per_million_tokens(cost.spent * ANSWER_WEIGHT, weighed),
        method=f"an answer token costs as much as {ANSWER_WEIGHT} prompt tokens",
    )


def phase_costs(cost: Cost | None) -> PhaseCosts | None:
    """Return what was spent by what it was spent on."""
    if cost is None:
        return None
    return PhaseCosts(
        starting=money.known_amount(cost.starting),
        busy=money.known_amount(cost.busy),
        idle=money.known_amount(cost.idle),
        terminating=money.known_amount(cost.terminating),
        rounding=money.known_amount(cost.rounding),
        failed_starts=money.known_amount(cost.failed_starting),
        node=money.known_amount(cost.node) if cost.node else None,
        unused_starts=money.known_amount(cost.unused) if cost.unused else None,
    )


def budget_words(standing: Standing | None) -> BudgetStatus | None:
    """Return how the budget stands, as the status says it."""
    if standing is None:
        return None
    return BudgetStatus(
        monthly=money.known_amount(standing.budget.monthly),
        spent=money.amount(standing.spent),
        percent=standing.percent,
        forecast=money.amount(standing.forecast),
        since=moment(standing.since_ms),
        resets=moment(standing.resets_ms),
    )


def comparison_words(comparison: Comparison | None) -> ComparisonStatus | None:
    """Return both sides of the comparison, as the status says them."""
    if comparison is None:
        return None
    return ComparisonStatus(
        name=comparison.offer.name,
        since=moment(comparison.since_ms),
        here=money.amount(comparison.here),
        there=money.known_amount(comparison.there),
        tokens=comparison.tokens,
        ever_there=money.known_amount(comparison.ever_there),
        break_even_tokens_per_day=comparison.break_even,
    )
