"""What other policies would have cost an endpoint of yours: its own gaps, as its status remembers them.

Only the lengths of the gaps are remembered, in bins that fade, not the requests. So this is no replay: each remembered
gap costs what it would have cost under the time that a policy chooses *now*, knowing all of them. Within a bin a gap is
taken for its middle (`domain/gaps.py`). The user is told what the habits of the last 200 gaps come to, by the day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.faults import first_fault
from torpor.cluster.endpoints import Json, Unreadable
from torpor.domain.gaps import LONGEST_S, MIDS, Habits
from torpor.domain.keepalive import WEIGHTS, Bounds, cold_start, keep
from torpor.domain.keeping import UNSEEN_START_S, adaptive_policy
from torpor.domain.prewake import Price, gap_cost
from torpor.domain.remembering import memory_of

_DAY_S = 86_400
COLUMNS = (
    "policy",
    "keeps",
    "gaps that end with a wait",
    "mean wait",
    "GPU-seconds a gap",
    "a day",
)


@dataclass(frozen=True, slots=True)
class Would:
    """What a time would have come to, over the gaps that are remembered."""

    name: str
    keep_s: float
    delayed: float
    """Share of the gaps that end with a wait."""
    wait_s: float
    """Mean wait of a request that ends a gap."""
    gpu_s: float
    """Idle and starting, per gap."""


@dataclass(frozen=True, slots=True)
class Own:
    """The endpoint, what is known of it, and what each policy would have come to."""

    name: str
    gaps: float
    mean_gap_s: float
    cold_s: float
    micro_per_hour: int | None
    currency: str
    now: Would
    others: tuple[Would, ...]

    def a_day(self, would: Would) -> float | None:
        """Return what the idling and starting of a day would have cost; None if the price is unknown."""
        if self.micro_per_hour is None:
            return None
        return would.gpu_s * _DAY_S / self.mean_gap_s * self.micro_per_hour / 3.6e9


def study_own(obj: Json) -> Own:
    """Return what is remembered of an endpoint, judged by each profile.

    Raises:
        Unreadable: It cannot be read, or nothing is remembered yet.
    """
    name = f"{obj['metadata'].get('namespace', 'default')}/{obj['metadata']['name']}"
    try:
        endpoint = InferenceEndpoint.model_validate(obj)
    except ValidationError as error:
        raise Unreadable(f"{name} cannot be read: {first_fault(error)}") from error
    learned = memory_of(endpoint.status.keep_alive).learned
    habits = learned.habits
    if habits.seen < 1:
        raise Unreadable(
            f"{name} has not been asked twice yet: nothing is known of how its users come back"
        )
    cold_s = cold_start(learned, UNSEEN_START_S)
    seconds = endpoint.status.keep_alive.seconds
    kept_s = LONGEST_S if seconds is None else seconds
    policy = adaptive_policy(endpoint.spec.scaling.keep_alive)
    bounds = policy.bounds if policy else Bounds()
    others = [
        _would(
            f"adaptive:{p}", keep(learned, Price(cold_s, w), None, bounds).seconds, habits, cold_s
        )
        for p, w in WEIGHTS.items()
    ]
    others += [_would(f"fixed:{s}", s, habits, cold_s) for s in (60, 300, 1800)]
    spent = sum(count * mid for count, mid in zip(habits.gaps, MIDS, strict=True))
    price, currency = _price(endpoint)
    return Own(
        name,
        habits.seen,
        spent / habits.seen,
        cold_s,
        price,
        currency,
        _would("as it is", kept_s, habits, cold_s),
        tuple(others),
    )


def _would(name: str, keep_s: float, habits: Habits, cold_s: float) -> Would:
    """Weigh every bin by its gaps: idle time up to `keep_s`, and a start where it ends later."""
    billed = Price(cold_s, 0)
    gpu_s = delayed = 0.0
    for count, mid in zip(habits.gaps, MIDS, strict=True):
        gpu_s += count * gap_cost(mid, keep_s, None, billed)
        delayed += count * (mid > keep_s)
    seen = habits.seen
    return Would(name, keep_s, delayed / seen, delayed * cold_s / seen, gpu_s / seen)


def _price(endpoint: InferenceEndpoint) -> tuple[int | None, str]:
    """Return what its replica costs per hour, in micro-units, by the price it was placed at; None if unknown."""
    placed, cost = endpoint.status.placement, endpoint.status.cost
    row = next((row for row in cost.rows if row.price_id == placed.price_id), None)
    if row is None or row.per_gpu_hour is None:
        return None, cost.currency or "USD"
    part = row.fraction or 1
    return round(Fraction(row.per_gpu_hour) * 1_000_000 * part * (placed.gpus or 1)), row.currency


def as_table(own: Own) -> str:
    """Return a heading and aligned lines."""
    heading = (
        f"{own.name}: {own.gaps:.0f} gaps remembered, {own.mean_gap_s:.0f} s on average; "
        f"a start takes {own.cold_s:.1f} s"
    )
    lines = [COLUMNS, *(_cells(own, would) for would in (own.now, *own.others))]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    body = [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([heading, "", *body]) + "\n"


def _cells(own: Own, would: Would) -> tuple[str, ...]:
    cost = own.a_day(would)
    return (
        would.name,
        f"{would.keep_s:.0f} s",
        f"{100 * would.delayed:.0f} %",
        f"{would.wait_s:.1f} s",
        f"{would.gpu_s:.1f}",
        "-" if cost is None else f"{cost:.4f} {own.currency}",
    )


def as_json(own: Own) -> str:
    """Return the same as one JSON object."""
    words = {
        "endpoint": own.name,
        "gaps": round(own.gaps, 2),
        "meanGapSeconds": round(own.mean_gap_s, 3),
        "coldStartSeconds": round(own.cold_s, 3),
        "currency": own.currency,
        "policies": [_words(own, would) for would in (own.now, *own.others)],
    }
    return json.dumps(words, indent=2) + "\n"


def _words(own: Own, would: Would) -> dict[str, Any]:
    cost = own.a_day(would)
    return {
        "policy": would.name,
        "keepSeconds": round(would.keep_s, 1),
        "delayedShare": round(would.delayed, 4),
        "waitMeanSeconds": round(would.wait_s, 3),
        "gpuSecondsPerGap": round(would.gpu_s, 3),
        "costPerDay": None if cost is None else round(cost, 6),
    }
