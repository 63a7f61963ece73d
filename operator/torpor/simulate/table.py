"""What the replays came to, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from torpor.simulate.hindsight import Point
from torpor.simulate.replay import Outcome
from torpor.simulate.traffic import Trace

COLUMNS = (
    "policy", "GPU-seconds", "of always-on", "delayed", "wait p50", "wait p95", "cost", "starts",
    "best fixed, as often delayed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One policy, and the fixed time-out that delays as many requests."""

    outcome: Outcome
    best_fixed: Point | None = None
    """None where there is none, or nothing to compare."""


@dataclass(frozen=True, slots=True)
class Study:
    """All that a call of the simulator found out."""

    trace: Trace
    cold_s: float
    price: float
    """Of a GPU and hour."""
    rows: tuple[Row, ...]
    bound: Outcome
    """The clairvoyant's."""

    def cost(self, gpu_s: float) -> float:
        """Return what so many GPU-seconds cost."""
        return gpu_s * self.price / 3600

    def share(self, gpu_s: float) -> float:
        """Return the part of a fleet that never sleeps."""
        return gpu_s / self.trace.always_on_s


def as_table(study: Study) -> str:
    """Return a heading and aligned lines."""
    trace = study.trace
    heading = (
        f"{trace.name}: {len(trace.endpoints)} endpoints, {trace.requests} requests, "
        f"{trace.length_s / 3600:.1f} h; cold start {study.cold_s:g} s, {study.price:g} per GPU and hour; "
        f"always on: {trace.always_on_s:.0f} GPU-seconds, {study.cost(trace.always_on_s):.2f}"
    )
    lines = [COLUMNS, *(_cells(study, row) for row in study.rows)]
    lines.append(_cells(study, Row(study.bound)))
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    body = [
        "  ".join(
            cell.ljust(width) if k in (0, len(COLUMNS) - 1) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([heading, "", *body]) + "\n"


def _cells(study: Study, row: Row) -> tuple[str, ...]:
    outcome = row.outcome
    return (
        outcome.name,
        f"{outcome.gpu_s:.0f}",
        f"{100 * study.share(outcome.gpu_s):.2f} %",
        f"{100 * outcome.delayed:.1f} %",
        f"{outcome.wait(0.50):.1f} s",
        f"{outcome.wait(0.95):.1f} s",
        f"{study.cost(outcome.gpu_s):.2f}",
        f"{outcome.starts}",
        _compared(outcome, row.best_fixed),
    )


def _compared(outcome: Outcome, best: Point | None) -> str:
    if best is None or not best.gpu_s:
        return "-"
    change = outcome.gpu_s / best.gpu_s - 1
    return f"{best.knob:.0f} s: {best.gpu_s:.0f} GPU-seconds, here {100 * change:+.1f} %"


def as_json(study: Study) -> str:
    """Return the same as one JSON object."""
    trace = study.trace
    words = {
        "trace": trace.name,
        "endpoints": len(trace.endpoints),
        "requests": trace.requests,
        "seconds": round(trace.length_s, 3),
        "coldStartSeconds": study.cold_s,
        "pricePerGPUHour": study.price,
        "alwaysOnGPUSeconds": round(trace.always_on_s, 3),
        "policies": [_words(study, row) for row in study.rows],
        "clairvoyant": _words(study, Row(study.bound)),
    }
    return json.dumps(words, indent=2) + "\n"


def _words(study: Study, row: Row) -> dict[str, object]:
    outcome, best = row.outcome, row.best_fixed
    return {
        "policy": outcome.name,
        "gpuSeconds": round(outcome.gpu_s, 3),
        "shareOfAlwaysOn": round(study.share(outcome.gpu_s), 6),
        "delayedShare": round(outcome.delayed, 6),
        "waitP50Seconds": round(outcome.wait(0.50), 3),
        "waitP95Seconds": round(outcome.wait(0.95), 3),
        "waitMeanSeconds": round(outcome.mean_wait_s, 3),
        "cost": round(study.cost(outcome.gpu_s), 6),
        "starts": outcome.starts,
        "prewakes": outcome.prewakes,
        "bestFixed": None
        if best is None
        else {"seconds": round(best.knob, 1), "gpuSeconds": round(best.gpu_s, 3)},
    }


def settings_in(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Return name, delayed share and GPU-seconds of each policy: what a plot shows."""
    return [(row.outcome.name, row.outcome.delayed, row.outcome.gpu_s) for row in rows]
