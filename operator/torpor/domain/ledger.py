"""The ledger's values: phases, prices, rows, pods on the meter; and the figures read off them.

`torpor.domain.metering` says how they change. Everything is an integer: GPU-milliseconds, micro-units per hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Phases:
    """GPU-milliseconds by phase. `failed_starting` is the part of `starting` whose pod never became Ready."""

    starting: int = 0
    busy: int = 0
    idle: int = 0
    terminating: int = 0
    failed_starting: int = 0

    @property
    def accrued(self) -> int:
        """The four phases together, in GPU-ms; `failed_starting` is a subset and not added."""
        return self.starting + self.busy + self.idle + self.terminating

    def __add__(self, other: Phases) -> Phases:
        return Phases(
            self.starting + other.starting,
            self.busy + other.busy,
            self.idle + other.idle,
            self.terminating + other.terminating,
            self.failed_starting + other.failed_starting,
        )

    def times(self, gpus: int) -> Phases:
        """Return the phases of `gpus` GPUs held for these milliseconds."""
        return Phases(
            *(
                value * gpus
                for value in (
                    self.starting,
                    self.busy,
                    self.idle,
                    self.terminating,
                    self.failed_starting,
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What one GPU-hour costs, in integer micro-units of `currency`; `micro_per_hour` None = unknown, never a guess."""

    id: str
    gpu_class: str
    capacity_type: str = ""
    currency: str = "USD"
    micro_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What was accrued at one price, and what an endpoint that never sleeps would have (GPU-ms)."""

    price: Price
    phases: Phases = Phases()
    always_on: int = 0


@dataclass(frozen=True, slots=True)
class LivePod:
    """A pod that is on the meter: its facts so far. All instants in epoch ms, each set once and never moved."""

    uid: str
    name: str
    price: Price
    gpus: int
    start_ms: int
    first_ready_ms: int | None = None
    deleted_ms: int | None = None
    finished_ms: int | None = None
    busy_ms: int = 0
    busy_through_ms: int = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """The whole ledger of one endpoint. It is stored in the status, so the status is the meter."""

    rows: tuple[Row, ...] = ()
    live: tuple[LivePod, ...] = ()
    closed: tuple[tuple[str, int], ...] = ()
    """(uid, closed at ms) of pods already booked, so that one remembered by somebody is never booked twice."""
    always_on_ms: int | None = None
    """Up to when `always_on` is counted; None until the endpoint could first have run."""
    estimated_ms: int = 0
    """GPU-ms whose phase or end had to be estimated because nobody saw the timestamps."""


def rate_micro_per_hour(meter: Meter) -> int | None:
    """Return what the pods on the meter cost per hour now, in micro-units; None if a price is unknown, 0 at zero."""
    total = 0
    for entry in meter.live:
        if entry.finished_ms is not None:
            continue
        if entry.price.micro_per_hour is None:
            return None
        total += entry.price.micro_per_hour * entry.gpus
    return total


def spent_micro_ms(rows: Iterable[Row]) -> int | None:
    """Return Σ GPU-ms × price, in micro-units × ms per hour (÷ 3.6e6 = micro-units); None if a price is unknown."""
    return _priced((row.price, row.phases.accrued) for row in rows)


def always_on_micro_ms(rows: Iterable[Row]) -> int | None:
    """Return the same for an endpoint that never sleeps."""
    return _priced((row.price, row.always_on) for row in rows)


def _priced(used: Iterable[tuple[Price, int]]) -> int | None:
    total = 0
    for price, gpu_ms in used:
        if gpu_ms and price.micro_per_hour is None:
            return None
        total += gpu_ms * (price.micro_per_hour or 0)
    return total


def union(intervals: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of half-open intervals, whatever their order and overlap."""
    total, reach = 0, None
    for start, end in sorted(intervals):
        if reach is None or start > reach:
            total += max(0, end - start)
            reach = max(start, end)
        elif end > reach:
            total += end - reach
            reach = end
    return total


def added(
    rows: tuple[Row, ...], price: Price, phases: Phases, always_on: int = 0
) -> tuple[Row, ...]:
    """Return *rows* with these GPU-ms added to the row of *price*, which is opened if there is none."""
    for index, row in enumerate(rows):
        if row.price.id == price.id:
            grown = replace(row, phases=row.phases + phases, always_on=row.always_on + always_on)
            return (*rows[:index], grown, *rows[index + 1 :])
    return (*rows, Row(price, phases, always_on))
