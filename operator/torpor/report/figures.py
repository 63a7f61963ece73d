"""A statement as named figures, for programs: the same rows as the table, in CSV and in JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass

from torpor.domain import money
from torpor.domain.money import Exact
from torpor.domain.monthly import Reach
from torpor.report.statement import Line, Statement, instant

UNKNOWN = "unknown"

Figure = str | int | None


@dataclass(frozen=True, slots=True)
class Total:
    """What all endpoints of one currency used; of those whose cost is known."""

    currency: str
    micro_ms: Exact
    endpoints: int
    unknown: int
    """Endpoints of which it is not known what they spent: the amount is without them."""


def totals_of(lines: Iterable[Line]) -> tuple[Total, ...]:
    """Return a total per currency; currencies are never added together."""
    found: dict[str, Total] = {}
    for line in lines:
        before = found.get(line.currency, Total(line.currency, 0, 0, 0))
        spent = line.use.total.spent
        found[line.currency] = Total(
            line.currency,
            before.micro_ms + (spent or 0),
            before.endpoints + 1,
            before.unknown + (spent is None),
        )
    return tuple(found[currency] for currency in sorted(found))


def figures_of(line: Line, month: str) -> dict[str, Figure]:
    """Return a line by machine-readable names: amounts as decimal text, None for what is not known."""
    use, total = line.use, line.use.total
    untold = use.reach is Reach.NONE
    phases = total.phases
    return {
        "month": month,
        "namespace": line.namespace,
        "endpoint": line.endpoint,
        "model": line.model,
        "currency": line.currency,
        "spent": money.amount(total.spent),
        "per_million_tokens": money.per_million_tokens(total.spent, total.tokens),
        "starting_gpu_hours": None if untold else money.gpu_hours(phases.starting),
        "busy_gpu_hours": None if untold else money.gpu_hours(phases.busy),
        "idle_gpu_hours": None if untold else money.gpu_hours(phases.idle),
        "terminating_gpu_hours": None if untold else money.gpu_hours(phases.terminating),
        "prompt_tokens": None if untold else total.prompt,
        "completion_tokens": None if untold else total.completion,
        "egress": None if untold else money.amount(total.egress),
        "egress_gib": None if untold else money.gib(total.egress_bytes),
        "cold_starts_since_creation": line.wakes,
        "saved_since_creation": line.saved,
        "created": instant(line.since_ms),
        "counted_from": None if untold else instant(use.since_ms),
        "counted_to": None if untold else instant(use.until_ms),
        "reach": use.reach.value,
    }


NAMES: tuple[str, ...] = (
    "month", "namespace", "endpoint", "model", "currency", "spent", "per_million_tokens",
    "starting_gpu_hours", "busy_gpu_hours", "idle_gpu_hours", "terminating_gpu_hours",
    "prompt_tokens", "completion_tokens", "egress", "egress_gib", "cold_starts_since_creation", "saved_since_creation",
    "created", "counted_from", "counted_to", "reach",
)  # fmt: skip
"""Columns of the CSV, and keys of the JSON; a test holds that they are those of `figures_of`."""


def as_csv(statement: Statement) -> str:
    """Return the lines as CSV.

    A figure that is not known is the word unknown, since an empty cell would be read as 0; a rate per token is empty
    where there were no tokens.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, NAMES, lineterminator="\n")
    writer.writeheader()
    for line in statement.lines:
        figures = figures_of(line, str(statement.month))
        if line.use.total.spent is not None and not line.use.total.tokens:
            figures["per_million_tokens"] = ""
        writer.writerow({k: UNKNOWN if v is None else v for k, v in figures.items()})
    return out.getvalue()


def as_json(statement: Statement) -> str:
    """Return the whole statement as JSON; what is unknown is null."""
    month = str(statement.month)
    document = {
        "month": month,
        "read_at": instant(statement.now_ms),
        "endpoints": [figures_of(line, month) for line in statement.lines],
        "totals": [
            {
                "currency": total.currency,
                "spent": money.known_amount(total.micro_ms),
                "endpoints": total.endpoints,
                "endpoints_of_unknown_cost": total.unknown,
            }
            for total in totals_of(statement.lines)
        ],
        "notes": list(statement.notes),
        "left_out": list(statement.faults),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
