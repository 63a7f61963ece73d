"""GPU classes as prices: what a replica costs now, and by which prices a pod is billed on the node it is on."""

from __future__ import annotations

from collections.abc import Iterable

from torpor.api.gpuclass import CapacityType
from torpor.domain.ledger import WHOLE, Price
from torpor.domain.observation import PodSeen
from torpor.domain.placement import GPUClassView, NodeView
from torpor.domain.pricing import Tariff

SPOT_LABEL_OF = {
    "aws": ("karpenter.sh/capacity-type", "spot"),
    "gcp": ("cloud.google.com/gke-spot", "true"),
    "azure": ("kubernetes.azure.com/scalesetpriority", "spot"),
}
"""The label by which a class selects spot nodes, by cloud."""
OWN_SPOT_LABEL = ("torpor.dev/capacity-type", "spot")
"""The same for everybody else."""
_SPOT_LABELS = frozenset(
    {
        *SPOT_LABEL_OF.values(),
        OWN_SPOT_LABEL,
        ("eks.amazonaws.com/capacityType", "SPOT"),
        ("cloud.google.com/gke-preemptible", "true"),
        ("cloud.google.com/gke-provisioning", "spot"),
    }
)
_FIRM_LABELS = frozenset(
    {
        ("karpenter.sh/capacity-type", "on-demand"),
        ("karpenter.sh/capacity-type", "reserved"),
        ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
        ("eks.amazonaws.com/capacityType", "CAPACITY_BLOCK"),
        ("cloud.google.com/gke-spot", "false"),
        ("cloud.google.com/gke-provisioning", "standard"),
        ("kubernetes.azure.com/scalesetpriority", "regular"),
        ("torpor.dev/capacity-type", "on-demand"),
    }
)
"""Labels that nodes carry where they come from a cloud; torpor's own is for everybody else."""


def price_of(gpu_class: GPUClassView) -> Price:
    """Return the price of a GPU class now."""
    return _priced(gpu_class, gpu_class.micro_per_hour)


def egress_out_of(region: str, classes: Iterable[GPUClassView], currency: str) -> int | None:
    """Return what a GiB out of a region costs, in micro-units: the highest that its classes say in this currency."""
    said = [
        view.egress_micro
        for view in classes
        if (view.region, view.currency) == (region, currency) and view.egress_micro is not None
    ]
    return max(said, default=None)


def tariff_of(gpu_class: GPUClassView) -> Tariff:
    """Return all prices of a GPU class, with the instants that they hold from."""
    rows = gpu_class.prices or ((0, gpu_class.micro_per_hour),)
    priced = tuple((at, _priced(gpu_class, micro)) for at, micro in rows)
    return Tariff(_priced(gpu_class, None), priced)


class Catalogue:
    """The GPU classes and the nodes of one pass."""

    def __init__(self, classes: Iterable[GPUClassView], nodes: Iterable[NodeView]) -> None:
        """Look pods up in these."""
        self._classes = {view.name: view for view in classes}
        self._nodes = {node.name: node for node in nodes}

    def tariff(self, pod: PodSeen, billed: Price | None) -> Tariff | None:
        """Return the prices that a pod is billed by.

        They are those of its class, unless its node says that it is a spot instance and the class is not, or the
        other way round: then those of a class of that kind which describes the node, else an unknown price.

        Args:
            pod: The pod.
            billed: What it is billed by so far; kept when its node cannot be asked any more.
        """
        own = self._classes.get(pod.gpu_class)
        if own is None:
            return None
        node = self._nodes.get(pod.node or "")
        if node is None:
            elsewhere = billed is not None and billed.capacity_type not in ("", own.capacity_type)
            return None if elsewhere else tariff_of(own)
        kind = capacity_type_on(node, own.capacity_type)
        if kind == own.capacity_type:
            return tariff_of(own)
        fitting = [
            view
            for view in self._classes.values()
            if (view.capacity_type, view.resource) == (kind, own.resource)
            and set(view.node_selector) <= node.labels
        ]
        if not fitting:
            return Tariff(_unknown(own, kind))
        return tariff_of(max(fitting, key=lambda view: (len(view.node_selector), view.name)))


def capacity_type_on(node: NodeView, otherwise: str) -> str:
    """Return how a node is paid for by its own labels; a contract (reserved, owned) is not written on a node."""
    if node.labels & _SPOT_LABELS:
        return CapacityType.SPOT.value
    if otherwise == CapacityType.SPOT and node.labels & _FIRM_LABELS:
        return CapacityType.ON_DEMAND.value
    return otherwise


def _priced(gpu_class: GPUClassView, micro: int | None) -> Price:
    """Return a price of a class; another amount, currency, fraction or way of rounding is another row of the ledger."""
    rate = "unknown" if micro is None else str(micro)
    steps = f"/{gpu_class.granularity_s}s" if gpu_class.granularity_s else ""
    least = f"/min{gpu_class.minimum_s}s" if gpu_class.minimum_s else ""
    whole = "/node" if gpu_class.whole_node else ""
    part = "" if gpu_class.fraction == WHOLE else f"*{gpu_class.fraction}"
    held = f"{rate}{gpu_class.currency}{part}{steps}{least}{whole}"
    return Price(
        id=f"{gpu_class.name}/{gpu_class.capacity_type}@{held}",
        gpu_class=gpu_class.name,
        capacity_type=gpu_class.capacity_type,
        currency=gpu_class.currency,
        micro_per_hour=micro,
        granularity_s=gpu_class.granularity_s,
        minimum_s=gpu_class.minimum_s,
        fraction=gpu_class.fraction,
        whole_node=gpu_class.whole_node,
    )


def _unknown(gpu_class: GPUClassView, kind: str) -> Price:
    return Price(
        id=f"{gpu_class.name}/{kind}@unknown",
        gpu_class=gpu_class.name,
        capacity_type=kind,
        currency=gpu_class.currency,
    )
