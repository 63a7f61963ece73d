"""Adaptive keep-alive against the best fixed time-out in hindsight, replayed on every fleet of bench/data.

Both are compared where they delay the same share of requests: 40, 20 and 10 %, with cold starts of 15, 60 and 180 s.
The adaptive policy learns every endpoint online from nothing, and one knob (what a second of waiting is worth) is the
same for all endpoints; the fixed time-out is the one that turned out best. No cluster is needed.
"""

from __future__ import annotations

import argparse
import time

from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.policies.comparing import Compared, compare, geometric_mean
from bench.policies.deciding import decision_ms
from bench.policies.fleets import AZURE_FUNCTIONS, fleets
from dev.cluster.progress import say

COLD_STARTS_S = (15.0, 60.0, 180.0)
SHARES = (0.40, 0.20, 0.10)
AZURE_BAR, ALL_BAR, WORST_BAR = 0.75, 0.95, 1.15
DECISIONS, DECISIONS_BAR_MS = 1000, 50.0


def points_table(points: list[Compared]) -> str:
    """Return every point as a line, also those where the policy loses and those that nobody comes by."""
    names = ("fleet", "cold", "delayed", "fixed", "of always-on", "weight", "of always-on", "ratio")
    head = _row((*names, "clairvoyant"))
    remark = "* delays fewer at every weight: its cheapest, so the ratio is the most it can be"
    return "\n".join([head, *map(_line, points), remark])


_WIDTHS = (15, 6, 7, 8, 12, 8, 12, 6, 11)


def _line(point: Compared) -> str:
    fixed, adaptive, ratio = point.fixed, point.adaptive, point.ratio
    share = point.always_on_s / 100
    cells = (
        point.fleet,
        f"{point.cold_s:.0f} s",
        f"{point.delayed:.0%}",
        f"{fixed.knob:.0f} s" if fixed else "-",
        f"{fixed.gpu_s / share:.2f} %" if fixed else "-",
        f"{adaptive.knob:.2f}{'*' if point.fewer else ''}" if adaptive else "-",
        f"{adaptive.gpu_s / share:.2f} %" if adaptive else "-",
        f"{ratio:.3f}" if ratio is not None else "-",
        f"{point.clairvoyant_s / share:.2f} %",
    )
    return _row(cells)


def _row(cells: tuple[str, ...]) -> str:
    padded = [f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)]
    return "  ".join([f"{cells[0]:<15}", *padded[1:]])


def figures_of(points: list[Compared]) -> list[Figure]:
    """Return the means and the worst: with bars at equal shares, without where the policy delays fewer anyway."""
    equal = [point for point in points if not point.fewer]
    found = list[Figure]()
    for fleet in dict.fromkeys(point.fleet for point in points):
        bar = AZURE_BAR if fleet == AZURE_FUNCTIONS else None
        found += _mean(fleet, [point for point in equal if point.fleet == fleet], bar)
    found += _mean("all fleets", equal, ALL_BAR)
    found += _worst("worst point at equal shares", equal, WORST_BAR)
    if len(equal) < len(points):
        found += _mean("with those that delay fewer (*)", points)
        found += _worst("with those that delay fewer (*): worst", points)
    return found


def _mean(name: str, points: list[Compared], bar: float | None = None) -> list[Figure]:
    ratios = [point.ratio for point in points if point.ratio is not None]
    if not ratios:
        return []
    return [Figure(f"{name}: geometric mean of {len(ratios)}", geometric_mean(ratios), "x", bar)]


def _worst(name: str, points: list[Compared], bar: float | None = None) -> list[Figure]:
    ratios = [point.ratio for point in points if point.ratio is not None]
    return [Figure(name, max(ratios), "x", bar)] if ratios else []


def measure(given: argparse.Namespace) -> int:
    """Replay everything; returns the exit code."""
    begun, points = time.process_time(), list[Compared]()
    for name, trace in fleets():
        if given.fleet and name not in given.fleet:
            continue
        for cold_s in COLD_STARTS_S:
            say(
                f"{name}: {len(trace.endpoints)} endpoints, {trace.requests} requests, {cold_s:.0f} s"
            )
            points += compare(name, trace, cold_s, SHARES)
    print(points_table(points))
    figures = figures_of(points)
    first, again = decision_ms(DECISIONS)
    figures += [
        Figure(f"{DECISIONS} decisions about what just changed, CPU", first, "ms"),
        Figure(f"{DECISIONS} decisions of a tick, CPU", again, "ms", DECISIONS_BAR_MS),
        Figure("the benchmark itself, CPU", time.process_time() - begun, "s"),
    ]
    told = [
        {
            "fleet": p.fleet,
            "coldSeconds": p.cold_s,
            "delayed": p.delayed,
            "ratio": None if p.ratio is None else round(p.ratio, 4),
            "delaysFewer": p.fewer,
        }
        for p in points
    ]
    return report("policy", figures, check=given.check, points=told)


def parse() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__)
    options.add_argument("--fleet", action="append", help="only this one; may be repeated")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    return options.parse_args()


if __name__ == "__main__":
    end_with(lambda: measure(parse()))
