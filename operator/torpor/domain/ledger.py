"""The ledger's values: phases, prices, rows, pods on the meter; and the figures read off them.

`torpor.domain.metering` says how they change. Everything is an integer: GPU-milliseconds, micro-units per hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MOST_ROWS = 16
"""Rows of a ledger; older ones are folded (cost-policy §2.4)."""


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

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The four phases with their names, in the order of a pod's life."""
        return (
            ("starting", self.starting),
            ("busy", self.busy),
            ("idle", self.idle),
            ("terminating", self.terminating),
        )

    def __add__(self, other: Phases) -> Phases:
        return Phases(
            self.starting + other.starting,
            self.busy + other.busy,
            self.idle + other.idle,
            self.terminating + other.terminating,
            self.failed_starting + other.failed_starting,
        )

    def less(self, other: Phases) -> Phases:
        """Return what is left of each phase."""
        return self + other.times(-1)

    def times(self, factor: int) -> Phases:
        """Return each phase so many times: of so many GPUs, or at such a price."""
        return Phases(
            *(
                value * factor
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
    granularity_s: int = 0
    """Seconds to a multiple of which a lifetime is billed; 0 = exactly."""
    minimum_s: int = 0
    """Least seconds of a lifetime that are billed."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was accrued at one price, and what an endpoint that never sleeps would have (GPU-ms)."""

    price: Price
    phases: Phases = Phases()
    always_on: int = 0
    rounding: int = 0
    """What was billed beyond the phases, because the provider rounds a lifetime up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent, in micro-units × ms per hour (÷ 3.6e6 = micro-units), by what it was spent on."""

    phases: Phases = Phases()
    rounding: int = 0

    @property
    def spent(self) -> int:
        """All of it."""
        return self.phases.accrued + self.rounding


@dataclass(frozen=True, slots=True)
class Settled:
    """Old rows, added up to keep the ledger short; their prices are gone, so their cost is kept."""

    rows: int = 0
    phases: Phases = Phases()
    always_on: int = 0
    rounding: int = 0
    currency: str = ""
    cost: Cost = Cost()
    always_on_cost: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a pod's life at one price, up to the next segment or to its end."""

    price: Price
    from_ms: int
    busy_ms: int = 0
    """Folded busy time of this stretch."""


@dataclass(frozen=True, slots=True)
class LivePod:
    """A pod that is on the meter: its facts so far. All instants in epoch ms, each set once and never moved."""

    uid: str
    name: str
    gpus: int
    start_ms: int
    segments: tuple[Segment, ...]
    """In order, at least one; the first begins at `start_ms`."""
    first_ready_ms: int | None = None
    deleted_ms: int | None = None
    finished_ms: int | None = None
    busy_through_ms: int = 0
    """Up to when the busy time of the segments is folded."""

    @property
    def price(self) -> Price:
        """The price now."""
        return self.segments[-1].price


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
    settled: Settled = Settled()
    """Rows that were folded."""


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


def unpriced(meter: Meter) -> tuple[str, ...]:
    """Return the ids of the prices that are not known and that a pod runs at."""
    used = (pod.price for pod in meter.live if pod.finished_ms is None)
    return tuple(sorted({price.id for price in used if price.micro_per_hour is None}))


def cost_of(rows: Iterable[Row], settled: Settled = Settled()) -> Cost | None:
    """Return what was spent: Σ GPU-ms × price.

    None if a price is unknown, or if there are two currencies: none is converted.
    """
    phases, rounding, currency = settled.cost.phases, settled.cost.rounding, settled.currency
    for row in rows:
        used, price = row.phases.accrued + row.rounding, row.price
        if not used:
            continue
        if price.micro_per_hour is None or currency not in ("", price.currency):
            return None
        currency = price.currency
        phases += row.phases.times(price.micro_per_hour)
        rounding += row.rounding * price.micro_per_hour
    return Cost(phases, rounding)


def always_on_micro_ms(rows: Iterable[Row], settled: Settled = Settled()) -> int | None:
    """Return what an endpoint that never sleeps would have cost, in the unit of `Cost`; None as there."""
    as_if = [Row(row.price, Phases(idle=row.always_on)) for row in rows]
    before = replace(settled, cost=Cost(Phases(idle=settled.always_on_cost)))
    cost = cost_of(as_if, before)
    return None if cost is None else cost.spent


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
    rows: tuple[Row, ...],
    price: Price,
    phases: Phases = Phases(),
    always_on: int = 0,
    rounding: int = 0,
) -> tuple[Row, ...]:
    """Return *rows* with these GPU-ms added to the row of *price*, which is opened if there is none."""
    for index, row in enumerate(rows):
        if row.price.id == price.id:
            grown = replace(
                row,
                phases=row.phases + phases,
                always_on=row.always_on + always_on,
                rounding=row.rounding + rounding,
            )
            return (*rows[:index], grown, *rows[index + 1 :])
    return (*rows, Row(price, phases, always_on, rounding))


def folded(meter: Meter, most: int = MOST_ROWS) -> Meter:
    """Add the oldest rows up until at most so many are left.

    A row stays while a pod adds to it, while its price is unknown or of another currency than those folded before, and
    the latest one always.
    """
    used = {segment.price.id for pod in meter.live for segment in pod.segments}
    settled, kept = meter.settled, list(meter.rows)
    for row in meter.rows[:-1]:
        if len(kept) <= most:
            break
        known = row.price.micro_per_hour is not None
        if known and row.price.id not in used and settled.currency in ("", row.price.currency):
            settled = _with_row(settled, row)
            kept.remove(row)
    return meter if settled is meter.settled else replace(meter, rows=tuple(kept), settled=settled)


def _with_row(settled: Settled, row: Row) -> Settled:
    price = row.price.micro_per_hour or 0
    return Settled(
        rows=settled.rows + 1,
        phases=settled.phases + row.phases,
        always_on=settled.always_on + row.always_on,
        rounding=settled.rounding + row.rounding,
        currency=row.price.currency,
        cost=Cost(
            settled.cost.phases + row.phases.times(price),
            settled.cost.rounding + row.rounding * price,
        ),
        always_on_cost=settled.always_on_cost + row.always_on * price,
    )
