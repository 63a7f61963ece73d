"""`spec.cost`: what the endpoint may cost, and what it is compared with."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from torpor.api.bounds import MoreThanZero
from torpor.api.quantities import Money
from torpor.api.words import Words, in_code


class BudgetAction(StrEnum):
    """What happens when a month's budget is spent."""

    WARN = "warn"
    REFUSE_WAKE = "refuseWake"


class Budget(Words):
    """What the endpoint may cost in a calendar month (UTC)."""

    monthly: Annotated[Money, MoreThanZero()]
    """Most that a month may cost, in the currency of the GPU class."""
    action: BudgetAction = Field(default=BudgetAction.WARN, json_schema_extra=in_code())
    """What happens when it is spent: warn, or refuseWake. Default: warn."""


class Offer(Words):
    """A price per token that the endpoint is compared with."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Name of the offer, as it appears in status."""
    input_per_million: Money
    """Price of a million prompt tokens."""
    output_per_million: Money
    """Price of a million answer tokens."""


class Cost(Words):
    """What the endpoint may cost, and what it is compared with."""

    budget: Budget | None = None
    """What the endpoint may cost."""
    compare_with: Offer | None = None
    """A price per token that the endpoint is compared with."""
