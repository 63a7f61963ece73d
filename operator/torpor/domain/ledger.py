"""The ledger's values: phases, prices, rows, pods on the meter.

`torpor.domain.metering` says how they change, `torpor.domain.costing` what they cost. Quantities and prices are
integers: GPU-milliseconds, micro-units per hour. Where a class is a part of a GPU, a GPU here is such a part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from torpor.domain.egress import NO_EGRESS, Egress
from torpor.domain.money import Exact, lowest
from torpor.domain.phases import NO_PHASES, Phases

WHOLE = Fraction(1)
"""A unit of the resource is a whole GPU."""
MOST_ROWS = 16
"""Rows of a ledger; older ones are folded (cost-policy §2.4)."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one GPU-hour costs, in integer micro-units of `currency`; `micro_per_hour` None = unknown, never a guess.

    Rows count units of the resource that pods ask for. Where a unit is a part of a GPU (MIG, time slices), its hour
    costs `micro_per_hour` × `fraction` exactly (`micro_per_unit`): seven sevenths cost what one GPU does.
    """

    id: str
    gpu_class: str
    capacity_type: str = ""
    currency: str = "USD"
    micro_per_hour: int | None = None
    granularity_s: int = 0
    """Seconds to a multiple of which a lifetime is billed; 0 = exactly."""
    minimum_s: int = 0
    """Least seconds of a lifetime that are billed."""
    fraction: Fraction = WHOLE
    """Which part of a GPU one unit of the resource is."""
    whole_node: bool = False
    """The whole node is paid for while it exists, not only what pods hold of it (`domain.nodestays`)."""

    @property
    def micro_per_unit(self) -> Exact | None:
        """Give what one hour of one unit costs, in micro-units, without rounding."""
        if self.micro_per_hour is None or self.fraction == WHOLE:
            return self.micro_per_hour
        return lowest(self.micro_per_hour * self.fraction)


@dataclass(frozen=True, slots=True)
class Row:
    """What was accrued at one price, and what an endpoint that never sleeps would have (GPU-ms)."""

    price: Price
    phases: Phases = NO_PHASES
    always_on: int = 0
    rounding: int = 0
    """What was billed beyond the phases, because the provider rounds a lifetime up."""
    unused: int = 0
    """Part of the phases: starting and idle of pods that were Ready and have ended without a single request."""
    node: int = 0
    """What nobody held of nodes that exist for this endpoint, beyond the phases."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent, in micro-units × ms per hour (÷ 3.6e6 = micro-units), by what it was spent on; exactly."""

    starting: Exact = 0
    busy: Exact = 0
    idle: Exact = 0
    terminating: Exact = 0
    failed_starting: Exact = 0
    """Part of `starting`."""
    rounding: Exact = 0
    egress: Exact = 0
    """What moving weights between regions cost; of no phase."""
    unused: Exact = 0
    """Part of `starting` and `idle`: pods that answered nobody."""
    node: Exact = 0
    """What nobody held of nodes that are paid for as a whole."""

    @property
    def spent(self) -> Exact:
        """All of it."""
        held = self.starting + self.busy + self.idle + self.terminating
        return lowest(held + self.node + self.rounding + self.egress)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            lowest(self.starting + other.starting),
            lowest(self.busy + other.busy),
            lowest(self.idle + other.idle),
            lowest(self.terminating + other.terminating),
            lowest(self.failed_starting + other.failed_starting),
            lowest(self.rounding + other.rounding),
            lowest(self.egress + other.egress),
            lowest(self.unused + other.unused),
            lowest(self.node + other.node),
        )


def cost_at(row: Row, price: Exact) -> Cost:
    """Return what the GPU-ms of a row cost at *price*, in micro-units per hour of one."""
    phases = row.phases
    return Cost(
        lowest(phases.starting * price),
        lowest(phases.busy * price),
        lowest(phases.idle * price),
        lowest(phases.terminating * price),
        lowest(phases.failed_starting * price),
        lowest(row.rounding * price),
        unused=lowest(row.unused * price),
        node=lowest(row.node * price),
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """Old rows, added up to keep the ledger short; their prices are gone, so their cost is kept."""

    rows: int = 0
    phases: Phases = NO_PHASES
    always_on: int = 0
    rounding: int = 0
    currency: str = ""
    cost: Cost = Cost()
    always_on_cost: Exact = 0
    unused: int = 0
    node: int = 0


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
class Tenant:
    """A pod that holds, or held, GPUs of a node; instants in epoch ms."""

    uid: str
    gpus: int
    start_ms: int
    end_ms: int | None = None
    mine: bool = False
    """Whether it is of the endpoint whose ledger this is."""
    awaited: bool = False
    """Whether it was waiting when the node was made: then it was made for it."""


@dataclass(frozen=True, slots=True)
class NodeStay:
    """A node that is paid for as a whole, on which a pod of the endpoint is or was; instants in epoch ms."""

    uid: str
    name: str
    gpus: int
    created_ms: int
    segments: tuple[Segment, ...]
    """Its prices, in order, at least one; the first begins at `created_ms`."""
    removed_ms: int | None = None
    tenants: tuple[Tenant, ...] = ()
    """All pods that were on it as far as anybody knows, in the order of their start."""

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
    egress: Egress = NO_EGRESS
    """What moving weights between regions took."""
    nodes: tuple[NodeStay, ...] = ()
    """Nodes paid for as a whole that are not booked yet."""


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
    phases: Phases = NO_PHASES,
    always_on: int = 0,
    rounding: int = 0,
    unused: int = 0,
    node: int = 0,
) -> tuple[Row, ...]:
    """Return *rows* with these GPU-ms added to the row of *price*, which is opened if there is none."""
    for index, row in enumerate(rows):
        if row.price.id == price.id:
            grown = replace(
                row,
                phases=row.phases + phases,
                always_on=row.always_on + always_on,
                rounding=row.rounding + rounding,
                unused=row.unused + unused,
                node=row.node + node,
            )
            return (*rows[:index], grown, *rows[index + 1 :])
    return (*rows, Row(price, phases, always_on, rounding, unused, node))


def folded(meter: Meter, most: int = MOST_ROWS) -> Meter:
    """Add the oldest rows up until at most so many are left.

    A row stays while a pod adds to it, while its price is unknown or of another currency than those folded before, and
    the latest one always.
    """
    used = {at.price.id for pod in meter.live for at in pod.segments}
    used |= {at.price.id for stay in meter.nodes for at in stay.segments}
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
    price = row.price.micro_per_unit or 0
    return Settled(
        rows=settled.rows + 1,
        phases=settled.phases + row.phases,
        always_on=settled.always_on + row.always_on,
        rounding=settled.rounding + row.rounding,
        unused=settled.unused + row.unused,
        node=settled.node + row.node,
        currency=row.price.currency,
        cost=settled.cost + cost_at(row, price),
        always_on_cost=lowest(settled.always_on_cost + row.always_on * price),
    )
