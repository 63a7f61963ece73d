"""The metrics of an endpoint: their names, and what one status adds to each.

Who reads the status of an endpoint and who scrapes it must see the same, so everything here is a figure of the status;
what is unknown there (a cost without a price) has no sample here, and is never 0. docs/metrics.md explains each one to
people; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torpor.api.conditions import ConditionType
from torpor.api.status import CostStatus, EndpointStatus, GpuMs
from torpor.domain.ledger import Row, Settled

PHASES = ("starting", "busy", "idle", "terminating")
WEIGHTS_STATES = ("Queued", "Fetching", "Ready", "Failed")
WAKE_PARTS = ("queue", "schedule", "image", "weights", "engine")
SETTLED_ROWS = "settled"
"""Stands for the price of old ledger rows that were added up: it is not kept."""


class Family(NamedTuple):
    """One metric: every sample of it has the endpoint's own labels and these."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


GPU_SECONDS = Family(
    "torpor_endpoint_gpu_seconds_total", "counter", "GPU-seconds by phase.", ("phase",)
)
PRICED_SECONDS = Family(
    "torpor_endpoint_priced_gpu_seconds_total",
    "counter",
    "GPU-seconds by the price they were used at and by phase, what the provider rounds up included.",
    ("gpu_class", "capacity_type", "price_id", "phase"),
)
PRICE = Family(
    "torpor_endpoint_price_per_gpu_hour",
    "gauge",
    "What one GPU-hour costs, for each price of the ledger; of a class of parts, one hour of such a part.",
    ("gpu_class", "capacity_type", "price_id", "currency"),
)
RATE = Family(
    "torpor_endpoint_cost_per_hour", "gauge", "What the GPUs held now cost an hour.", ("currency",)
)
SPENT = Family(
    "torpor_endpoint_cost_total", "counter", "Cost since creation, all included.", ("currency",)
)
PHASE_COST = Family(
    "torpor_endpoint_phase_cost_total",
    "counter",
    "Cost since creation by what it was spent on; with egress the phases add up to the cost.",
    ("phase", "currency"),
)
EGRESS_COST = Family(
    "torpor_endpoint_egress_cost_total",
    "counter",
    "Cost since creation of moving weights between regions; with the phases it adds up to the cost.",
    ("currency",),
)
EGRESS_BYTES = Family(
    "torpor_endpoint_egress_bytes_total",
    "counter",
    "Bytes of weights that were moved between regions.",
)
FAILED_COST = Family(
    "torpor_endpoint_failed_starts_cost_total",
    "counter",
    "Part of the cost of starting that went into pods which never became ready.",
    ("currency",),
)
FAILED_SECONDS = Family(
    "torpor_endpoint_failed_starts_gpu_seconds_total",
    "counter",
    "Part of the GPU-seconds of starting that went into pods which never became ready.",
)
UNUSED_COST = Family(
    "torpor_endpoint_unused_starts_cost_total",
    "counter",
    "Part of the cost of starting and idling of pods that were ready and ended without a request.",
    ("currency",),
)
UNUSED_SECONDS = Family(
    "torpor_endpoint_unused_starts_gpu_seconds_total",
    "counter",
    "Part of the GPU-seconds of starting and idling of pods that were ready and ended without a request.",
)
SAVED = Family(
    "torpor_endpoint_saved",
    "gauge",
    "What one that never sleeps would have cost since creation, less the cost; may be negative.",
    ("currency",),
)
MONTH = Family(
    "torpor_endpoint_month_cost",
    "gauge",
    "Cost of this calendar month (UTC) so far.",
    ("currency",),
)
BUDGET = Family(
    "torpor_endpoint_month_budget",
    "gauge",
    "What a calendar month may cost, as the spec says.",
    ("currency",),
)
FORECAST = Family(
    "torpor_endpoint_month_forecast",
    "gauge",
    "Cost of the whole month if it goes on as in the last 24 hours, where there is a budget.",
    ("currency",),
)
PER_MILLION = Family(
    "torpor_endpoint_cost_per_million_tokens",
    "gauge",
    "Cost of a million tokens delivered, everything included.",
    ("window", "currency"),
)
TOKENS = Family("torpor_endpoint_tokens_total", "counter", "Tokens delivered.", ("kind",))
CACHED_TOKENS = Family(
    "torpor_endpoint_cached_prompt_tokens_total",
    "counter",
    "Part of the prompt tokens that engines had in their prefix caches, as far as they say so.",
)
ESTIMATED = Family(
    "torpor_endpoint_estimated_gpu_seconds_total",
    "counter",
    "GPU-seconds whose phase or end had to be estimated after an outage.",
)
COLD_STARTS = Family("torpor_endpoint_cold_starts_total", "counter", "Wakes from zero replicas.")
COLD_START_SECONDS = Family(
    "torpor_endpoint_cold_start_seconds",
    "gauge",
    "How long recent wakes took, from the request to the first healthy answer.",
    ("percentile",),
)
COLD_START_PARTS = Family(
    "torpor_endpoint_last_cold_start_seconds", "gauge", "Parts of the latest wake.", ("part",)
)
FAILURES = Family(
    "torpor_endpoint_failures_in_a_row",
    "gauge",
    "Starts that failed since the last one that did not.",
)
REPLICAS = Family("torpor_endpoint_replicas", "gauge", "Pods of the endpoint that exist.")
READY = Family("torpor_endpoint_replicas_ready", "gauge", "Ready replicas.")
STATE = Family(
    "torpor_endpoint_state",
    "gauge",
    "1 for the state that `kubectl get` shows, the reason of the condition Awake.",
    ("state",),
)
WEIGHTS_NODES = Family(
    "torpor_endpoint_weights_nodes",
    "gauge",
    "Nodes that should have the weights, by how they stand there.",
    ("state",),
)
WEIGHTS_BYTES = Family(
    "torpor_endpoint_weights_bytes",
    "gauge",
    "Bytes of the weights that lie on nodes, all nodes together.",
)
WEIGHTS_RATE = Family(
    "torpor_endpoint_weights_bytes_per_second",
    "gauge",
    "Rate of the downloads under way, all nodes together.",
)

FAMILIES = (
    GPU_SECONDS, PRICED_SECONDS, PRICE, RATE, SPENT, PHASE_COST, EGRESS_COST, EGRESS_BYTES, FAILED_COST, FAILED_SECONDS,
    UNUSED_COST, UNUSED_SECONDS, SAVED, MONTH, BUDGET, FORECAST, PER_MILLION, TOKENS, CACHED_TOKENS, ESTIMATED,
    COLD_STARTS, COLD_START_SECONDS, COLD_START_PARTS, FAILURES, REPLICAS, READY, STATE, WEIGHTS_NODES, WEIGHTS_BYTES,
    WEIGHTS_RATE,
)  # fmt: skip
"""All of them, in the order in which they are shown."""


class Sample(NamedTuple):
    """One value of a family, with the values of the family's labels."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()


def samples(status: EndpointStatus, rows: Sequence[Row], settled: Settled) -> list[Sample]:
    """Return what a status says; *rows* and *settled* are its ledger as of that status, live pods included."""
    return [
        *_used(status.cost.gpu_ms, rows, settled),
        *(sample for row in rows for sample in _at_price(row)),
        *_folded(settled),
        *_money(status.cost),
        *_worked(status),
        *_standing(status),
    ]


def _used(gpu_ms: GpuMs, rows: Sequence[Row], settled: Settled) -> list[Sample]:
    failed = settled.phases.failed_starting + sum(row.phases.failed_starting for row in rows)
    by_phase = (gpu_ms.starting, gpu_ms.busy, gpu_ms.idle, gpu_ms.terminating)
    return [
        *(Sample(GPU_SECONDS, ms / 1000, (p,)) for p, ms in zip(PHASES, by_phase, strict=True)),
        Sample(FAILED_SECONDS, failed / 1000),
        Sample(UNUSED_SECONDS, (settled.unused + sum(row.unused for row in rows)) / 1000),
    ]


def _at_price(row: Row) -> list[Sample]:
    price, found = row.price, _priced(row, row.price.gpu_class, row.price.capacity_type)
    unit = price.micro_per_unit
    if unit is not None:
        labels = (price.gpu_class, price.capacity_type, price.id, price.currency)
        found.append(Sample(PRICE, float(unit / 1_000_000), labels))
    return found


def _folded(settled: Settled) -> list[Sample]:
    return _priced(settled) if settled.rows else []


def _priced(row: Row | Settled, gpu_class: str = "", capacity_type: str = "") -> list[Sample]:
    price_id = row.price.id if isinstance(row, Row) else SETTLED_ROWS
    return [
        Sample(PRICED_SECONDS, ms / 1000, (gpu_class, capacity_type, price_id, phase))
        for phase, ms in (*row.phases.named, ("rounding", row.rounding), *_node(row.node))
    ]


def _node(gpu_ms: int) -> list[tuple[str, int]]:
    return [("node", gpu_ms)] if gpu_ms else []


def _money(cost: CostStatus) -> list[Sample]:
    """What is known in money; an amount that the status does not have gives no sample."""
    windows, parts = {"day": cost.last_day, "month": cost.month}, cost.by_phase
    budget = cost.budget
    per_million = {"lifetime": cost.per_million_tokens} | {
        name: window.per_million_tokens for name, window in windows.items() if window is not None
    }
    said: list[tuple[Family, str | None, tuple[str, ...]]] = [
        (RATE, cost.per_hour, ()),
        (SPENT, cost.spent, ()),
        (EGRESS_COST, cost.egress.cost if cost.egress else None, ()),
        (SAVED, cost.saved, ()),
        (MONTH, cost.month.spent if cost.month else None, ()),
        (BUDGET, budget.monthly if budget else None, ()),
        (FORECAST, budget.forecast if budget else None, ()),
        *((PER_MILLION, amount, (window,)) for window, amount in per_million.items()),
    ]
    if parts is not None:
        said.append((FAILED_COST, parts.failed_starts, ()))
        said.append((UNUSED_COST, parts.unused_starts or "0", ()))
        amounts = (parts.starting, parts.busy, parts.idle, parts.terminating, parts.rounding)
        named = zip((*PHASES, "rounding"), amounts, strict=True)
        said.extend((PHASE_COST, amount, (phase,)) for phase, amount in named)
        said.append((PHASE_COST, parts.node, ("node",)))
    currency = cost.currency or ""
    return [
        Sample(family, float(amount), (*labels, currency))
        for family, amount, labels in said
        if amount is not None
    ]


def _worked(status: EndpointStatus) -> list[Sample]:
    wakes, tokens, moved = status.wakes, status.tokens, status.cost.egress
    seconds = (("50", wakes.p50_seconds), ("95", wakes.p95_seconds))
    parts = wakes.last.to_dict().items() if wakes.last else ()
    return [
        Sample(TOKENS, tokens.prompt, ("prompt",)),
        Sample(TOKENS, tokens.completion, ("completion",)),
        Sample(CACHED_TOKENS, tokens.cached or 0),
        *([Sample(EGRESS_BYTES, moved.bytes)] if moved else []),
        Sample(ESTIMATED, status.cost.estimated_ms / 1000),
        Sample(COLD_STARTS, wakes.count),
        *(Sample(COLD_START_SECONDS, float(took), (p,)) for p, took in seconds if took is not None),
        *(Sample(COLD_START_PARTS, float(took), (p,)) for p, took in parts if p in WAKE_PARTS),
        Sample(FAILURES, status.failure.count if status.failure else 0),
    ]


def _standing(status: EndpointStatus) -> list[Sample]:
    nodes = status.weights.nodes
    awake = status.condition(ConditionType.AWAKE.value)
    counts = {state: sum(node.state == state for node in nodes) for state in WEIGHTS_STATES}
    return [
        Sample(REPLICAS, status.replicas),
        Sample(READY, status.ready_replicas),
        *([Sample(STATE, 1, (awake.reason,))] if awake else []),
        *(Sample(WEIGHTS_NODES, count, (state,)) for state, count in counts.items()),
        Sample(WEIGHTS_BYTES, sum(node.bytes or 0 for node in nodes)),
        Sample(WEIGHTS_RATE, sum(node.bytes_per_second or 0 for node in nodes)),
    ]
