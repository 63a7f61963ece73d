"""`status.cost.budget` and `status.cost.comparison`: the money in the light of what the spec says about money."""

from torpor.api.quantities import Count, Timestamp
from torpor.api.words import SeenWords


class BudgetStatus(SeenWords):
    """How this month's budget stands."""

    monthly: str
    """What a month may cost, as the spec says."""
    spent: str | None = None
    """Cost of this month so far. Absent while a price is unknown."""
    percent: int | None = None
    """The same in whole percents of the budget, rounded down."""
    forecast: str | None = None
    """Cost of the whole month, if it goes on as in the last 24 hours."""
    since: Timestamp
    """When the month began, or the endpoint was made."""
    resets: Timestamp
    """When the next month begins (UTC)."""


class ComparisonStatus(SeenWords):
    """What the endpoint's tokens cost here and at a price per token elsewhere."""

    name: str
    """Name of the offer."""
    since: Timestamp
    """When the compared day begins."""
    here: str | None = None
    """Cost of that day, everything included. Absent while a price is unknown."""
    there: str
    """What its tokens would have cost at the offer."""
    tokens: Count = 0
    """Prompt and completion tokens of that day."""
    ever_there: str
    """What all tokens since the endpoint was made would have cost at the offer; beside it stands `spent`."""
    break_even_tokens_per_day: Count | None = None
    """Tokens a day, mixed as on that day, for which the offer costs as much as replicas that never sleep: from there
    on it is cheaper here whatever sleeps. Absent while nothing was asked, or a price is unknown."""
