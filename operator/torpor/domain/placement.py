"""Where an endpoint may run and what that costs: the first allowed GPU class in price order that fits and has nodes.

VRAM need is predicted from the bytes of the weights alone for now: weights × 1.2 for KV cache, activations and the
engine's own share, against the 0.90 of visible VRAM that vLLM takes by default. `gpus: auto` takes the smallest of
1, 2, 4, 8 GPUs of one node that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from torpor.api.conditions import Reason
from torpor.api.gpuclass import CapacityType
from torpor.api.jurisdictions import lies_within
from torpor.domain import money
from torpor.domain.money import Exact, lowest
from torpor.domain.observation import Fault

GPU_COUNTS = (1, 2, 4, 8)
NEED_PER_WEIGHT_BYTE = Decimal("1.2")
USABLE_VRAM = Decimal("0.90")
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class GPUClassView:
    """A GPU class as placement sees it; VRAM of a unit in bytes, price in micro-units per GPU-hour (None = unknown)."""

    name: str
    resource: str
    vram: int
    gpus_per_node: int
    node_selector: tuple[tuple[str, str], ...]
    region: str | None
    jurisdiction: str | None
    capacity_type: str
    micro_per_hour: int | None
    currency: str
    tolerations: tuple[dict[str, object], ...] = ()
    prices: tuple[tuple[int, int | None], ...] = ()
    """(epoch ms from which it holds, price), ascending, `micro_per_hour` among them; empty: that always held."""
    granularity_s: int = 0
    """Seconds to a multiple of which a pod's lifetime is billed; 0 = exactly."""
    minimum_s: int = 0
    """Least seconds that are billed."""
    price_as_of: str = ""
    """Day on which the price that holds now was read; empty if nobody says."""
    fraction: Fraction = Fraction(1)
    """Which part of a GPU one unit of the resource is; the prices are those of a whole one."""
    whole_node: bool = False
    """Whole nodes are paid for while they exist (`price.scope: node`)."""
    egress_micro: int | None = None
    """Micro-units per GiB that leaves the region; None = unknown."""

    @property
    def micro_per_unit(self) -> Exact | None:
        """Give what one hour of one unit costs now, in micro-units, without rounding; None if unknown."""
        price = self.micro_per_hour
        return None if price is None else lowest(price * self.fraction)

    @property
    def costs_nothing_more(self) -> bool:
        """Whether it costs the same used or not: owned, reserved under a contract, or free of charge."""
        contract = self.capacity_type in (CapacityType.OWNED, CapacityType.RESERVED)
        return contract or self.micro_per_hour == 0


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node: its labels and the GPUs it could give, by resource name; ready and not cordoned."""

    name: str
    labels: frozenset[tuple[str, str]]
    allocatable: tuple[tuple[str, int], ...]
    schedulable: bool = True


@dataclass(frozen=True, slots=True)
class PlacementSpec:
    """What the user allows. `gpus` None = auto; `classes` empty = all, in price order."""

    classes: tuple[str, ...] = ()
    ordered: bool = False
    gpus: int | None = None
    jurisdictions: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    max_price_micro: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A class that was not taken, and the one sentence why."""

    gpu_class: str
    why: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The choice: class, GPUs per replica, the nodes that match, and what was passed over."""

    gpu_class: GPUClassView | None
    gpus: int = 0
    need_bytes: int = 0
    nodes: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    fault: Fault | None = None


def place(
    spec: PlacementSpec,
    classes: Sequence[GPUClassView],
    nodes: Sequence[NodeView],
    weights_bytes: int,
    quantised_share: Decimal = Decimal(1),
) -> Placement:
    """Choose the GPU class: allowed by the spec, fitting, with nodes; cheapest first unless `ordered`.

    Args:
        spec: What the user allows.
        classes: Every GPU class of the cluster.
        nodes: Every node of the cluster.
        weights_bytes: Size of the checkpoint, 0 while unknown (then everything fits one GPU).
        quantised_share: Bytes in VRAM per byte of the checkpoint.
    """
    need = int(weights_bytes * quantised_share * NEED_PER_WEIGHT_BYTE)
    by_name = {c.name: c for c in classes}
    missing = [name for name in spec.classes if name not in by_name]
    if missing:
        have = ", ".join(sorted(by_name)) or "none"
        message = f"GPUClass {', '.join(missing)} does not exist; the cluster has: {have}"
        return Placement(None, need_bytes=need, fault=_fault(Reason.GPU_CLASS_NOT_FOUND, message))
    rejected: list[Rejected] = []
    for candidate, gpus in _candidates(spec, classes, need):
        fitting = nodes_for(candidate, gpus or 1, nodes)
        why = (
            _refusal(spec, candidate, gpus or 1)
            or _too_small(spec, candidate, gpus, need)
            or _no_nodes(candidate, gpus, fitting)
        )
        if why is None and gpus is not None:
            return Placement(candidate, gpus, need, fitting, tuple(rejected))
        rejected.append(Rejected(candidate.name, why or "does not fit"))
    return Placement(
        None, need_bytes=need, rejected=tuple(rejected), fault=_no_match(rejected, need)
    )


def _candidates(
    spec: PlacementSpec, classes: Sequence[GPUClassView], need: int
) -> list[tuple[GPUClassView, int | None]]:
    """Allowed classes with their GPUs per replica: as listed if `ordered`, else by the price of a whole replica."""
    allowed = [
        (c, _gpus(spec, c, need)) for c in classes if not spec.classes or c.name in spec.classes
    ]
    if spec.ordered and spec.classes:
        return sorted(allowed, key=lambda pair: spec.classes.index(pair[0].name))
    return sorted(allowed, key=lambda pair: _dearness(*pair))


def _dearness(candidate: GPUClassView, gpus: int | None) -> tuple[bool, Exact, int, str]:
    """Price of a replica, unknown prices last; at the same price fewer GPUs, then the name."""
    count, price = gpus or 1, candidate.micro_per_unit
    return price is None, (price or 0) * count, count, candidate.name


def _gpus(spec: PlacementSpec, candidate: GPUClassView, need: int) -> int | None:
    """GPUs per replica: as asked, else the smallest count that holds *need*; None if no count of one node does."""
    if spec.gpus is not None:
        return spec.gpus if _holds(candidate, spec.gpus, need) else None
    counts = [n for n in GPU_COUNTS if n <= candidate.gpus_per_node]
    return next((n for n in counts if _holds(candidate, n, need)), None)


def _holds(candidate: GPUClassView, gpus: int, need: int) -> bool:
    return need <= candidate.vram * gpus * USABLE_VRAM


def _refusal(spec: PlacementSpec, candidate: GPUClassView, gpus: int) -> str | None:
    if spec.jurisdictions and not any(
        lies_within(candidate.jurisdiction or "", allowed) for allowed in spec.jurisdictions
    ):
        where = candidate.jurisdiction or "a jurisdiction it does not name"
        return f"is in {where}, allowed are {', '.join(spec.jurisdictions)}"
    if spec.regions and candidate.region not in spec.regions:
        return (
            f"is in region {candidate.region or 'unknown'}, allowed are {', '.join(spec.regions)}"
        )
    if spec.capacity_types and candidate.capacity_type not in spec.capacity_types:
        return f"is {candidate.capacity_type}, allowed are {', '.join(spec.capacity_types)}"
    if spec.max_price_micro is None:
        return None
    price, most = candidate.micro_per_unit, spec.max_price_micro
    if price is None:
        return "has no price, and maxPricePerHour is set"
    if price * gpus > most:
        cost, limit = money.per_hour(price * gpus), money.per_hour(most)
        return f"costs {cost} per replica and hour, the limit is {limit}"
    return None


def _too_small(
    spec: PlacementSpec, candidate: GPUClassView, gpus: int | None, need: int
) -> str | None:
    if gpus is not None:
        return None
    most = spec.gpus or max((n for n in GPU_COUNTS if n <= candidate.gpus_per_node), default=0)
    have = candidate.vram * most * USABLE_VRAM
    return f"needs {need / GIB:.1f} GiB, {most} GPUs of it give {have / GIB:.1f} GiB"


def _no_nodes(candidate: GPUClassView, gpus: int | None, fitting: tuple[str, ...]) -> str | None:
    if fitting:
        return None
    wanted = ",".join(f"{key}={value}" for key, value in candidate.node_selector) or "any label"
    return f"no schedulable node with {wanted} has {gpus} {candidate.resource}"


def nodes_for(candidate: GPUClassView, gpus: int, nodes: Sequence[NodeView]) -> tuple[str, ...]:
    """Return the names of the schedulable nodes of a class that have so many GPUs, whether or not they are free."""
    return tuple(
        node.name
        for node in sorted(nodes, key=lambda n: n.name)
        if node.schedulable
        and set(candidate.node_selector) <= node.labels
        and dict(node.allocatable).get(candidate.resource, 0) >= gpus
    )


def _no_match(rejected: Sequence[Rejected], need: int) -> Fault:
    if not rejected:
        return _fault(
            Reason.NO_MATCHING_GPU,
            "the cluster has no GPUClass; install the chart's catalogue or apply one",
        )
    said = "; ".join(f"{r.gpu_class}: {r.why}" for r in rejected[:4])
    more = f"; and {len(rejected) - 4} more" if len(rejected) > 4 else ""
    kinds = {("GiB" in r.why, r.why.startswith("no schedulable node")) for r in rejected}
    reason = Reason.NO_MATCHING_GPU
    if (False, True) in kinds:
        reason = Reason.NO_NODES
    elif kinds == {(True, False)}:
        reason = Reason.DOES_NOT_FIT
    return _fault(reason, f"no GPU class fits: {said}{more}")


def _fault(reason: Reason, message: str) -> Fault:
    return Fault(reason, message, reason.retryable)
