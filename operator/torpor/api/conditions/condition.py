"""Conditions: what is true of an endpoint, since when, and why."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from torpor.api.conditions.reasons import Reason
from torpor.api.quantities import Timestamp
from torpor.api.words import SeenWords

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """The conditions of an endpoint. The last two are present only while they are true."""

    _value_: str
    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Keep the word as the value, and its meaning beside it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = "Ready", "The endpoint will answer, asleep included."
    AWAKE = (
        "Awake",
        "A replica is ready (True), none is (False), or one is on its way (Unknown). Its reason is STATE.",
    )
    PLACED = "Placed", "A GPU class was found."
    WEIGHTS_READY = "WeightsReady", "The weights are where they are needed."
    WITHIN_BUDGET = (
        "WithinBudget",
        "This month's budget is not spent. Absent without cost.budget.",
    )
    CHEAPER_THAN_OFFER = (
        "CheaperThanOffer",
        "The last day's tokens cost less here than at the offer. Absent without cost.compareWith.",
    )
    RECONCILING = "Reconciling", "The cluster is being brought to what the spec says."
    STALLED = "Stalled", "Nothing happens until somebody changes something."


class Condition(SeenWords):
    """One condition, in the form that all of Kubernetes shares."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """Which condition: Ready, Awake, Placed, WeightsReady, WithinBudget, CheaperThanOffer, Reconciling or Stalled."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Why, in one word that programs can rely on."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Why, in one sentence for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """The `metadata.generation` that this was decided on."""

    @property
    def known_reason(self) -> Reason:
        """Give the reason as a member; `Unknown` for a word of a newer torpor."""
        return Reason.of(self.reason)

    @property
    def is_true(self) -> bool:
        """Say whether the status is True."""
        return self.status == "True"
