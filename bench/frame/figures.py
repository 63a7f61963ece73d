"""Figures with their bars, as a table for a reader and one JSON line for a machine."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number; a bar is the most it may be, with `at_least` the least, with `exactly` what it must be."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    exactly: bool = False
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Say whether the bar is met; a figure without one always holds."""
        if self.bar is None:
            return True
        if self.exactly:
            return self.value == self.bar
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    @property
    def sign(self) -> str:
        """How the value has to compare with the bar."""
        if self.exactly:
            return "="
        return "≥" if self.at_least else "≤"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was really measured.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(name: str, values: Sequence[float], unit: str, **bars: float) -> list[Figure]:
    """Return p50, p95 and the largest of some values; `p50=` and `p95=` set bars."""
    return [
        Figure(f"{name}, p50", percentile(values, 0.50), unit, bars.get("p50")),
        Figure(f"{name}, p95", percentile(values, 0.95), unit, bars.get("p95")),
        Figure(f"{name}, largest", max(values), unit),
    ]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned lines."""
    width = max(len(figure.name) for figure in figures)
    lines = []
    for figure in figures:
        line = f"{figure.name:<{width}}  {figure.value:>10.4g} {figure.unit:<6}"
        if figure.bar is not None:
            line += f"  bar {figure.sign} {figure.bar:g}: {'holds' if figure.holds else 'MISSED'}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def report(benchmark: str, figures: Sequence[Figure], *, check: bool, **facts: object) -> int:
    """Print the table and the JSON line; returns the exit code: 1 if `check` and a bar is missed."""
    print(table(figures))
    measured = [
        {"name": f.name.strip(), "value": round(f.value, 6), "unit": f.unit}
        | ({} if f.bar is None else {"bar": f.bar, "holds": f.holds})
        for f in figures
    ]
    print(json.dumps({"benchmark": benchmark, **facts, "figures": measured}, ensure_ascii=False))
    return 1 if check and not all(figure.holds for figure in figures) else 0
