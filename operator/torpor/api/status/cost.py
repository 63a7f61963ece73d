"""`status.cost` and `status.tokens`: the meter. The ledger here is the only record there is.

Rows hold integer GPU-milliseconds per phase and price, never money; money strings beside them are computed at
display and can be thrown away. Restarting the controller loses nothing, and replaying a pass adds nothing,
because what is not yet in a row follows from the live pods' own times.
"""

from typing import Annotated

from pydantic import Field

from torpor.api.quantities import Count, Milliseconds, Money, Timestamp
from torpor.api.status.spending import BudgetStatus, ComparisonStatus
from torpor.api.words import SeenWords, by_key


class GpuMs(SeenWords):
    """GPU-milliseconds by phase; their sum is what was accrued, exactly."""

    starting: Milliseconds = 0
    """From the pod's scheduling to its first readiness."""
    busy: Milliseconds = 0
    """Ready, with at least one request in flight."""
    idle: Milliseconds = 0
    """Ready, with none."""
    terminating: Milliseconds = 0
    """From the pod's deletion to the end of its last container."""

    @property
    def total(self) -> int:
        """Give the sum of the phases."""
        return self.starting + self.busy + self.idle + self.terminating


class PhaseCosts(SeenWords):
    """`spent` by what it was spent on; the parts add up to it, but for the last digit."""

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


class LedgerRow(SeenWords):
    """What was used at one price, settled."""

    price_id: str
    """Which price: made from the GPU class, its price and its currency."""
    gpu_class: str = ""
    """GPU class the price belongs to."""
    capacity_type: str = ""
    """How the GPU was paid for."""
    per_gpu_hour: Annotated[Money | None, Field(alias="perGPUHour")] = None
    """The price. Absent when it is unknown; the row's cost is then unknown too."""
    currency: str = "USD"
    """ISO 4217 code of the price."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase."""
    failed_start_gpu_ms: Milliseconds = 0
    """Part of `starting` that belongs to pods that never got ready."""
    always_on_gpu_ms: Milliseconds = 0
    """GPU-milliseconds that an endpoint which never sleeps would have used at this price."""
    rounding_gpu_ms: Milliseconds = 0
    """GPU-milliseconds billed beyond the phases, because the provider rounds a lifetime up."""
    granularity_seconds: int | None = None
    """Step to which the provider bills a lifetime."""
    minimum_seconds: int | None = None
    """Shortest lifetime that the provider bills."""


class SettledCost(SeenWords):
    """Cost of the settled rows, exactly: millionths of the currency per GPU-hour times GPU-milliseconds."""

    starting: str = "0"
    """As of `gpuMs`, and so are the next three."""
    busy: str = "0"
    """Ready, with requests."""
    idle: str = "0"
    """Ready, with none."""
    terminating: str = "0"
    """After deletion."""
    failed_start: str = "0"
    """Part of `starting`."""
    rounding: str = "0"
    """What was rounded up."""
    always_on: str = "0"
    """What an endpoint that never sleeps would have cost."""


class SettledRows(SeenWords):
    """The oldest rows, added up so that the ledger stays short."""

    rows: int = 0
    """How many there were."""
    currency: str = "USD"
    """ISO 4217 code of their prices."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase."""
    failed_start_gpu_ms: Milliseconds = 0
    """As of a row."""
    always_on_gpu_ms: Milliseconds = 0
    """As of a row."""
    rounding_gpu_ms: Milliseconds = 0
    """As of a row."""
    cost: SettledCost = Field(default_factory=SettledCost)
    """What they cost; their prices are not kept."""


class LivePrice(SeenWords):
    """A stretch of a pod's life at one price."""

    price_id: str
    """Row that this stretch adds to."""
    from_ms: Milliseconds
    """When the stretch begins; it ends where the next begins."""
    busy_ms: Milliseconds = 0
    """Milliseconds with requests in flight, counted up to `busyThroughMs`."""


class LivePod(SeenWords):
    """A pod that may still add to the ledger. Times are milliseconds since 1970, UTC."""

    uid: str
    """UID of the pod."""
    name: str = ""
    """Name of the pod."""
    prices: tuple[LivePrice, ...]
    """Its prices, one after the other; the last is that of now."""
    gpus: int = 1
    """GPUs of the pod."""
    start_ms: Milliseconds
    """When the pod was scheduled."""
    first_ready_ms: Milliseconds | None = None
    """When the pod was first ready."""
    deleted_ms: Milliseconds | None = None
    """When the pod was told to end."""
    finished_ms: Milliseconds | None = None
    """When its last container ended."""
    busy_through_ms: Milliseconds = 0
    """Up to when `busyMs` is counted; what came later is still with the gateways."""


class ClosedPod(SeenWords):
    """A pod whose bill is in its row; remembered for a while so that it is never booked twice."""

    uid: str
    """UID of the pod."""
    at_ms: Milliseconds
    """When it was booked."""


class Mark(SeenWords):
    """A reading of the meter at the edge of an hour or of a month, from which windows are counted."""

    at_ms: Milliseconds
    """When, in milliseconds since 1970."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase until then."""
    failed_start_gpu_ms: Milliseconds = 0
    """Part of `starting`."""
    spent: str | None = None
    """Cost until then, exactly: millionths of the currency per GPU-hour times GPU-milliseconds. Absent if unknown."""
    prompt: Count = 0
    """Prompt tokens until then."""
    completion: Count = 0
    """Completion tokens until then."""


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
    """`spent` by what it was spent on."""
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
    closed: Annotated[
        tuple[ClosedPod, ...],
        Field(json_schema_extra=by_key("uid")),
    ] = ()
    """Pods booked in the last 20 minutes."""
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
    """Last counters read from one gateway, so that only differences are added."""

    gateway: str
    """Name of the gateway's pod."""
    started_at_ms: Milliseconds
    """When that gateway started; its counters began at 0 then."""
    prompt: Count = 0
    """Prompt tokens counted by it."""
    completion: Count = 0
    """Completion tokens counted by it."""


class TokensStatus(SeenWords):
    """Tokens delivered since the endpoint's creation, as the engine reported them."""

    prompt: Count = 0
    """Prompt tokens."""
    completion: Count = 0
    """Completion tokens."""
    sources: Annotated[
        tuple[TokenSource, ...],
        Field(json_schema_extra=by_key("gateway")),
    ] = ()
    """Last counters of each gateway."""
