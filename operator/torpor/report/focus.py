"""A statement in the FinOps Open Cost and Usage Specification (FOCUS) 1.2: one row per endpoint and charge period.

The columns are the mandatory ones and those of the others that torpor knows something for; docs/report.md says what is
estimated and what is left out. Amounts are rounded so that the rows of an endpoint add up to its rounded total: each
row is the difference of two rounded running sums.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TypeVar

from torpor.api.quantities import format_timestamp
from torpor.domain import money
from torpor.domain.money import Exact
from torpor.domain.monthly import Month, Slice
from torpor.domain.phases import Phases
from torpor.domain.remembering import moment
from torpor.report.statement import Line, Statement

COLUMNS: tuple[str, ...] = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "EffectiveCost",
    "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
    "ServiceName", "ServiceSubcategory", "SubAccountId", "SubAccountName", "Tags",
    "x_CompletionTokens", "x_PromptTokens",
)  # fmt: skip
N = TypeVar("N", int, Exact)
UNIT = "GPU-Hours"
MOVED_UNIT = "GiB"
PROVIDER = "torpor"
"""Who says what it cost. No invoice stands behind these rows: the provider of the GPUs sends that."""
PREFIX = "torpor.dev/"
"""Of tags that torpor makes up; without it are those that a user chose: names, and the endpoint's labels."""


def as_focus(statement: Statement, account: str) -> str:
    """Return the rows as CSV. What has no known cost has no row, since BilledCost must not be null: see `omitted`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in statement.lines:
        writer.writerows(_rows(line, statement.month, account))
    return out.getvalue()


def omitted(statement: Statement) -> tuple[str, ...]:
    """Return a sentence for each endpoint of which something has no row because its cost is unknown."""
    found: list[str] = []
    for line in statement.lines:
        without = [piece for piece in line.use.slices if piece.use.spent is None]
        if without:
            hours = money.gpu_hours(sum(piece.use.phases.accrued for piece in without))
            moved = sum(piece.use.egress_bytes for piece in without)
            more = f" and {money.gib(moved)} GiB of egress" if moved else ""
            found.append(f"{line.key}: {hours} GPU-hours{more} of unknown cost have no row.")
    return tuple(found)


def _rows(line: Line, month: Month, account: str) -> Iterator[dict[str, str]]:
    """Return what GPUs cost in each period, and beside it what was moved between regions."""
    spent: Exact = 0
    used_ms = moved = 0
    for piece in line.use.slices:
        use = piece.use
        if use.spent is None or use.egress is None:
            continue
        for_gpus, held = use.spent - use.egress, use.phases.accrued
        if for_gpus or held or use.tokens or not use.egress_bytes:
            quantity = _step(money.gpu_hours, used_ms, held)
            amounts = _amounts(_step(money.known_amount, spent, for_gpus), quantity, UNIT)
            yield _row(line, piece, month, account) | amounts
        spent, used_ms = spent + for_gpus, used_ms + held
        if use.egress_bytes:
            quantity = _step(money.gib, moved, use.egress_bytes)
            amounts = _amounts(_step(money.known_amount, spent, use.egress), quantity, MOVED_UNIT)
            yield _row(line, piece, month, account) | amounts | _moved(line)
        spent, moved = spent + use.egress, moved + use.egress_bytes


def _amounts(cost: str, quantity: str, unit: str) -> dict[str, str]:
    return {
        "BilledCost": cost,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
    }


def _moved(line: Line) -> dict[str, str]:
    """Return what is different of a row of egress; the tokens and the phases are on the row of the GPUs."""
    named = {"namespace": line.namespace, "model_name": line.model}
    return {
        "ChargeDescription": f"Weights of {line.key} moved between regions",
        "ServiceCategory": "Networking",
        "ServiceName": "torpor egress of weights",
        "ServiceSubcategory": "Other (Networking)",
        "Tags": json.dumps({**line.labels, **named}, ensure_ascii=False),
        "x_CompletionTokens": "0",
        "x_PromptTokens": "0",
    }


def _step(text_of: Callable[[N], str], before: N, more: N) -> str:
    """Return how far a rounded running sum moves: the steps add up to the rounded sum."""
    return money.plain(Decimal(text_of(before + more)) - Decimal(text_of(before)))


def _row(line: Line, piece: Slice, month: Month, account: str) -> dict[str, str]:
    """Return one row without its amounts; a column that is not named has no value (null)."""
    return {
        "BillingAccountId": account,
        "BillingCurrency": line.currency,
        "BillingPeriodEnd": _time(month.end_ms),
        "BillingPeriodStart": _time(month.start_ms),
        "ChargeCategory": "Usage",
        "ChargeDescription": _description(line, piece.use.phases),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _time(piece.end_ms + 999),
        "ChargePeriodStart": _time(piece.start_ms),
        "InvoiceIssuerName": PROVIDER,
        "ProviderName": PROVIDER,
        "PublisherName": PROVIDER,
        "ResourceId": line.uid or line.key,
        "ResourceName": line.key,
        "ResourceType": "InferenceEndpoint",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "torpor inference endpoints",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": line.namespace,
        "SubAccountName": line.namespace,
        "Tags": _tags(line, piece.use.phases),
        "x_CompletionTokens": str(piece.use.completion),
        "x_PromptTokens": str(piece.use.prompt),
    }


def _description(line: Line, phases: Phases) -> str:
    parts = ", ".join(f"{name} {money.gpu_hours(used)}" for name, used in phases.named)
    return f"GPU time of {line.key}, in GPU-hours: {parts}"


def _tags(line: Line, phases: Phases) -> str:
    made = {f"{PREFIX}{name}-gpu-ms": used for name, used in phases.named}
    named = {"namespace": line.namespace, "model_name": line.model}
    return json.dumps({**line.labels, **named, **made}, ensure_ascii=False)


def _time(at_ms: int) -> str:
    return format_timestamp(moment(at_ms // 1000 * 1000))
