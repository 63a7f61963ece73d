"""A picture of cost against delays: the curve of all fixed time-outs, and where the policies lie. Needs matplotlib."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torpor.simulate.hindsight import Point
from torpor.simulate.table import Study, settings_in

MISSING = (
    "--plot needs matplotlib, which is not installed: pip install matplotlib "
    "(in a checkout: the dependency group `simulate`)"
)


class CannotPlot(Exception):
    """There is no picture; `str()` says what to do."""


def canvas() -> tuple[Any, Any]:
    """Return a figure and its axes, without any display.

    Raises:
        CannotPlot: matplotlib is not installed.
    """
    try:
        made: Any = importlib.import_module("matplotlib.figure").Figure(figsize=(8, 5), dpi=120)
    except ImportError as error:
        raise CannotPlot(MISSING) from error
    return made, made.subplots()


def draw(study: Study, fixed: Sequence[Point], path: Path, paper: tuple[Any, Any]) -> None:
    """Draw onto a canvas and write the picture.

    Raises:
        CannotPlot: It cannot be written there.
    """
    figure, axes = paper
    curve = sorted(fixed, key=lambda point: point.delayed)
    axes.plot(
        [100 * point.delayed for point in curve],
        [100 * study.share(point.gpu_s) for point in curve],
        color="0.6",
        label="every fixed time-out",
    )
    for name, delayed, gpu_s in settings_in(study.rows):
        axes.plot(100 * delayed, 100 * study.share(gpu_s), "o", label=name)
    axes.axhline(
        100 * study.share(study.bound.gpu_s),
        linestyle=":",
        color="0.3",
        label="clairvoyant, no waits",
    )
    axes.set(
        xlabel="requests that had to wait, %",
        ylabel="GPU-seconds, % of always-on",
        yscale="log",
        title=f"{study.trace.name}, cold start {study.cold_s:g} s",
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise CannotPlot(f"{path} cannot be written: {error}") from error
