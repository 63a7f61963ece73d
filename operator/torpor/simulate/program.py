"""`torpor simulate`: what would a keep-alive policy have cost on this trace, and how long would people have waited?"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from torpor.domain.gaps import LONGEST_S
from torpor.domain.keepalive import Bounds
from torpor.simulate.formats import FORMATS, read_trace
from torpor.simulate.hindsight import Point, at_share, fixed_points
from torpor.simulate.plot import CannotPlot, canvas, draw
from torpor.simulate.policies import Policy, policy_named
from torpor.simulate.reading import BadTrace, text_of
from torpor.simulate.replay import Outcome, clairvoyant, replay
from torpor.simulate.table import Row, Study, as_json, as_table

USUAL = (
    "adaptive:economy",
    "adaptive:balanced",
    "adaptive:responsive",
    "adaptive:interactive",
    "fixed:300",
)


def main(argv: list[str]) -> int:
    """Print a study; 1 if the trace cannot be read or the picture cannot be made, 2 for a wrong call."""
    reading = parser()
    asked = reading.parse_args(argv)
    if asked.least > asked.most:
        reading.error(f"--min {asked.least:g} is more than --max {asked.most:g}")
    bounds = Bounds(asked.least, asked.most)
    try:
        policies = [policy_named(text, bounds) for text in asked.policy or USUAL]
    except ValueError as error:
        reading.error(f"argument --policy: {error}")
    try:
        paper = canvas() if asked.plot else None
        path = Path(asked.trace)
        trace = read_trace(text_of(path), path.name, asked.format)
        fixed = fixed_points(trace, asked.cold_start)
        rows = tuple(
            _row(policy, fixed, replay(trace, policy, asked.cold_start)) for policy in policies
        )
        bound = clairvoyant(trace, asked.cold_start)
        study = Study(trace, asked.cold_start, asked.price, rows, bound)
        if paper is not None:
            draw(study, fixed, Path(asked.plot), paper)
    except (BadTrace, CannotPlot) as error:
        sys.stderr.write(f"torpor simulate: {error}\n")
        return 1
    sys.stdout.write(as_json(study) if asked.json else as_table(study))
    return 0


def _row(policy: Policy, fixed: list[Point], outcome: Outcome) -> Row:
    """Only what learns is held against the best fixed time-out; that is one itself."""
    own = policy.name.startswith("fixed:")
    return Row(outcome, None if own else at_share(fixed, outcome.delayed))


def _positive(text: str) -> float:
    number = _not_negative(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return number


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(
        "torpor simulate",
        description="Replay a trace of requests through torpor's own keep-alive decisions.",
    )
    made.add_argument("--trace", required=True, metavar="FILE", help="CSV, may be gzip")
    made.add_argument(
        "--format", choices=("auto", *FORMATS), default="auto", help="default: auto, by the header"
    )
    made.add_argument(
        "--policy",
        action="append",
        metavar="POLICY",
        help="adaptive:PROFILE, adaptive:WEIGHT or fixed:SECONDS; may be repeated; "
        f"default: {' '.join(USUAL)}",
    )
    made.add_argument(
        "--cold-start", type=_positive, default=60.0, metavar="SECONDS", help="default: 60"
    )
    made.add_argument(
        "--price", type=_not_negative, default=1.861, metavar="PRICE",
        help="of a GPU and hour; default: 1.861, an L40S on demand",
    )  # fmt: skip
    made.add_argument(
        "--min", dest="least", type=_not_negative, default=Bounds().least_s, metavar="SECONDS",
        help="the shortest time that an adaptive policy may choose; default: 15",
    )  # fmt: skip
    made.add_argument(
        "--max", dest="most", type=_not_negative, default=Bounds().most_s, metavar="SECONDS",
        help=f"the longest; default: 3600; the policy itself never goes beyond {LONGEST_S:.0f}",
    )  # fmt: skip
    made.add_argument(
        "--plot", metavar="FILE.png", help="draw cost against delays (needs matplotlib)"
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return made
