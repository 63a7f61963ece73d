"""`status.cost` and `status.tokens`: the meter. The ledger here is the only record there is.

Its rows hold integer GPU-milliseconds per phase and price, never money; money strings beside them are computed at
display and can be thrown away.
"""

from typing import Annotated

from pydantic import Field

from torpor.api.quantities import Count, Milliseconds, Timestamp
from torpor.api.status.egress import EgressStatus
from torpor.api.status.ledger import (
    ClosedPod,
    GpuMs,
    LedgerRow,
    LiveNode,
    LivePod,
    Mark,
    SettledRows,
)
from torpor.api.status.spending import BudgetStatus, ComparisonStatus
from torpor.api.words import SeenWords, by_key


class PhaseCosts(SeenWords):
    """`spent` by what it was spent on; with `egress.cost` the parts add up to it, but for the last digit."""

    starting: str
    """From scheduling to first readiness."""
    busy: str
    """Ready, with at least one request in flight."""
    idle: str
    """Ready, with none."""
    terminating: str
    """From deletion to the end."""
    rounding: str
    """What the provider rounds up."""
    failed_starts: str
    """Part of `starting` that belongs to pods that never got ready."""
    node: str | None = None
    """This endpoint's share of what nobody holds of nodes that are paid for as a whole. Absent: none."""
    unused_starts: str | None = None
    """Part of `starting` and `idle` that belongs to pods that were ready and have ended without a single request.

    They were started ahead of demand that did not come, by a schedule, or for a client that left. Absent: none.
    """


class CostWindow(SeenWords):
    """What was spent, and what for, since a time."""

    since: Timestamp
    """When the window begins."""
    spent: str | None = None
    """Cost since then, everything included."""
    per_million_tokens: str | None = None
    """The same per million tokens delivered since then."""
    prompt: Count = 0
    """Prompt tokens since then."""
    completion: Count = 0
    """Completion tokens since then."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase since then."""


class TokenPrices(SeenWords):
    """What a million tokens cost, by other ways of counting. The one to compare with an offer is `perMillionTokens`."""

    busy: str | None = None
    """Cost of busy GPUs alone, per million tokens: how well they are used, without idling and starting."""
    answer: str | None = None
    """Everything spent, per million answer tokens."""
    input: str | None = None
    """Everything spent, split: per million prompt tokens."""
    output: str | None = None
    """Everything spent, split: per million answer tokens."""
    method: str = ""
    """How it was split, such as "an answer token costs 4 prompt tokens"."""


class CostStatus(SeenWords):
    """What the endpoint costs and has cost. Money is a decimal string; absent means unknown."""

    currency: str | None = None
    """ISO 4217 code of all money here."""
    per_second: str | None = None
    """Cost of this second: GPUs held now, times their price."""
    per_hour: str | None = None
    """The same per hour."""
    spent: str | None = None
    """Cost since `since`, everything included."""
    saved: str | None = None
    """What an endpoint that never sleeps would have cost since `since`, less `spent`. May be negative."""
    per_million_tokens: str | None = None
    """`spent` per million tokens delivered, prompt and completion together."""
    token_prices: TokenPrices | None = None
    """What a million tokens cost, by other ways of counting."""
    last_day: CostWindow | None = None
    """The last 24 hours, to the hour."""
    month: CostWindow | None = None
    """This calendar month (UTC)."""
    budget: BudgetStatus | None = None
    """How `spec.cost.budget` stands."""
    comparison: ComparisonStatus | None = None
    """What the offer of `spec.cost.compareWith` would have cost."""
    by_phase: PhaseCosts | None = None
    """`spent` by what it was spent on, but for egress."""
    egress: EgressStatus | None = None
    """Weights moved between regions. Absent where that never happens, or a region is not known."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase, all prices together, as of `asOf`."""
    rows: Annotated[
        tuple[LedgerRow, ...],
        Field(json_schema_extra=by_key("priceId")),
    ] = ()
    """The ledger: what was used at each price, settled."""
    settled: SettledRows | None = None
    """Rows that were added up: beyond 16, the oldest."""
    live: Annotated[
        tuple[LivePod, ...],
        Field(json_schema_extra=by_key("uid")),
    ] = ()
    """Pods that may still add to the ledger."""
    nodes: Annotated[
        tuple[LiveNode, ...],
        Field(json_schema_extra=by_key("uid")),
    ] = ()
    """Nodes paid for as a whole that may still add to the ledger."""
    closed: Annotated[
        tuple[ClosedPod, ...],
        Field(json_schema_extra=by_key("uid")),
    ] = ()
    """Pods, and nodes, booked in the last 20 minutes."""
    hours: Annotated[
        tuple[Mark, ...],
        Field(json_schema_extra=by_key("atMs")),
    ] = ()
    """Readings at the hours of the last day in which something changed."""
    month_start: Mark | None = None
    """Reading at the beginning of this month, or at the endpoint's creation."""
    estimated_ms: Milliseconds = 0
    """GPU-milliseconds whose phase or end had to be estimated after an outage."""
    always_on_settled_ms: Milliseconds | None = None
    """Up to when `alwaysOnGpuMs` of the rows is counted, in milliseconds since 1970."""
    as_of: Timestamp | None = None
    """Time that the figures are true for."""
    since: Timestamp | None = None
    """Time from which `spent` and `saved` count: the endpoint's creation."""


class TokenSource(SeenWords):
    """Last counters read from one gateway or engine, so that only differences are added."""

    gateway: str
    """Name of the gateway's pod; of a direct endpoint also `engine/` and the name of an engine's pod."""
    started_at_ms: Milliseconds
    """When that program started; its counters began at 0 then."""
    prompt: Count = 0
    """Prompt tokens counted by it."""
    completion: Count = 0
    """Completion tokens counted by it."""
    cached: Count | None = None
    """Prompt tokens found in a cache counted by it. Absent: none."""


class TokensStatus(SeenWords):
    """Tokens delivered since the endpoint's creation, as the engine reported them."""

    prompt: Count = 0
    """Prompt tokens."""
    completion: Count = 0
    """Completion tokens."""
    cached: Count | None = None
    """Part of `prompt` that engines had in their prefix caches, as far as they say so. Absent: none, or nobody said.

    Every price per token counts them as any other token.
    """
    sources: Annotated[
        tuple[TokenSource, ...],
        Field(json_schema_extra=by_key("gateway")),
    ] = ()
    """Last counters of each gateway."""
