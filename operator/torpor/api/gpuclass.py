"""The kind GPUClass: what a GPU is, where it stands and what it costs. Cluster-scoped, no status."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from torpor.api.bounds import AtMostWhole, MoreThanZero
from torpor.api.jurisdictions import Jurisdiction
from torpor.api.meta import ObjectMeta
from torpor.api.quantities import Bytes, Money, Share, Start
from torpor.api.words import Rule, SeenWords, Words, by_key, in_code, in_order

Region = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
    ),
]
_Label = Annotated[str, StringConstraints(max_length=63)]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class CapacityType(StrEnum):
    """How the GPU is paid for."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    RESERVED = "reserved"
    OWNED = "owned"


class PriceScope(StrEnum):
    """What a pod has to pay for."""

    GPU = "gpu"
    NODE = "node"


class TolerationEffect(StrEnum):
    """Effects of a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Words):
    """A taint that engine pods on this class tolerate, as in a pod's spec."""

    rules = (
        Rule(
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value)",
            "value must not be set with operator Exists",
            field=".value",
        ),
        Rule(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "operator must be Exists when key is not set",
            field=".operator",
        ),
    )

    key: Annotated[str, StringConstraints(min_length=1, max_length=317)] | None = None
    """Key of the taint. Default: every taint, and then `operator` is Exists."""
    operator: Literal["Equal", "Exists"] | None = None
    """Equal (the taint's value must be `value`) or Exists. Default: Equal."""
    value: _Label | None = None
    """Value of the taint."""
    effect: TolerationEffect | None = None
    """NoSchedule, PreferNoSchedule or NoExecute. Default: all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """How long NoExecute is tolerated. Default: for ever."""


def _in_the_calendar(day: str) -> str:
    date.fromisoformat(day)
    return day


_Day = Annotated[
    str,
    StringConstraints(min_length=10, max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_in_the_calendar),
]
_DAY_ALONE = Rule(
    "!has(self.effectiveFrom) || !self.effectiveFrom.endsWith('T00:00:00Z')",
    "a day written as its first second",
    expression="'write the day alone: ' + self.effectiveFrom.substring(0, 10)",
    field=".effectiveFrom",
)
"""So that one instant is written in one way, and two rows of one instant are found as duplicates."""


class PriceChange(Words):
    """Another price of the same GPU, from a day on."""

    rules = (_DAY_ALONE,)

    effective_from: Start
    """Day (UTC), or second of it, from which this price holds: 2026-12-01, or 2026-12-01T06:00:00Z."""
    per_gpu_hour: Annotated[Money, Field(alias="perGPUHour")]
    """Price of one GPU for one hour from then on."""
    source: _Text | None = None
    """Where it was read."""
    as_of: _Day | None = None
    """Day on which it was read."""


class Price(Words):
    """What one GPU of this class costs."""

    rules = (
        _DAY_ALONE,
        Rule(
            "!has(self.effectiveFrom) || !has(self.changes)"
            " || self.changes.all(c, c.effectiveFrom > self.effectiveFrom)",
            "each of changes must begin after effectiveFrom",
            field=".changes",
        ),
    )

    per_gpu_hour: Annotated[Money, Field(alias="perGPUHour")]
    """Price of one whole GPU for one hour, as a quoted decimal such as "1.861". "0" for what is owned."""
    currency: Annotated[
        str, StringConstraints(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")
    ] = "USD"
    """ISO 4217 code. Shown, never converted; classes of one endpoint should share it. Default: USD."""
    source: _Text | None = None
    """Where the price was read: a page, a price list, a contract. For people; nothing is fetched."""
    as_of: _Day | None = None
    """Day on which the price was read, such as 2026-07-20."""
    effective_from: Start | None = None
    """Day (UTC) from which the price holds; before it the price is unknown. Default: it always held."""
    changes: Annotated[
        tuple[PriceChange, ...],
        Field(max_length=32, json_schema_extra=by_key("effectiveFrom")),
    ] = ()
    """Prices from a day on: what runs then is counted at the old price before it and at the new one after
    it. An edit of `perGPUHour` holds from the moment it is seen."""
    granularity_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Step to which a pod's lifetime is billed, rounded up once when it ends. Default: exactly."""
    minimum_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Shortest lifetime that is billed. Default: 0."""
    scope: PriceScope = Field(default=PriceScope.GPU, json_schema_extra=in_code())
    """What an endpoint pays for: gpu, the GPUs that its pods hold, while they hold them; node, for nodes that exist for
    the endpoints on them: also its share of the GPUs that nobody holds, from the node's creation to its removal.
    Default: gpu."""
    egress_per_gi_b: Annotated[Money | None, Field(alias="egressPerGiB")] = None
    """Price of moving one GiB out of this region, in `currency`, such as "0.02"; "0" where it is free. It is what
    weights cost that endpoints fetch from a bucket in this region to nodes of another one; of several classes of a
    region the highest counts. Default: unknown, and then such weights make what was spent unknown."""


class GPUClassSpec(Words):
    """What a GPU is, where it stands and what it costs."""

    resource_name: Annotated[
        str,
        StringConstraints(min_length=3, max_length=317, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$"),
    ] = "nvidia.com/gpu"
    """Resource that pods ask for. Default: nvidia.com/gpu."""
    memory: Annotated[Bytes, MoreThanZero()]
    """Memory of one GPU that a program can see, such as 45Gi for an L40S; less than on the box. With a `fraction`,
    that of one such part."""
    fraction: Annotated[Share, AtMostWhole()] | None = None
    """Which part of a GPU one unit of `resourceName` is, such as 1/7 for nvidia.com/mig-1g.10gb, or 1/4 for a GPU in
    four time slices. From 1/64 to 1/1. Such a unit costs this part of `price.perGPUHour`, which stays the price of
    the whole GPU, and is what every count of GPUs means on this class. Default: 1/1, a whole GPU."""
    gpus_per_node: Annotated[int, Field(ge=1, le=64)]
    """GPUs of one node; a replica never needs more than that."""
    node_selector: Annotated[dict[str, _Label], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that the nodes of this class carry. Default: every node that has the resource."""
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(max_length=32, json_schema_extra=in_order()),
    ] = ()
    """Taints of these nodes that engine pods tolerate."""
    provider: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Who runs the machines, such as aws. For people, and part of what a price is recorded under."""
    region: Region | None = None
    """Region, as `spec.placement.residency.regions` of endpoints names it."""
    zone: Region | None = None
    """Zone within the region. For people."""
    jurisdiction: Jurisdiction | None = None
    """Country the machines stand in (ISO 3166-1 alpha-2; EU or EEA where only that is known). Endpoints
    with a residency are never placed on a class without one."""
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    """How the GPU is paid for: on-demand, spot, reserved or owned. Default: on-demand."""
    price: Price | None = None
    """What one GPU costs. Without it, endpoints on this class have no cost figures."""


class GPUClass(SeenWords):
    """What a GPU is, where it stands and what it costs. Endpoints are placed on GPU classes."""

    rules = (
        Rule(
            "size(self.metadata.name) <= 63",
            "metadata.name must be at most 63 characters",
        ),
    )

    api_version: Literal["torpor.dev/v1alpha1"] = "torpor.dev/v1alpha1"
    kind: Literal["GPUClass"] = "GPUClass"
    metadata: ObjectMeta
    spec: GPUClassSpec
    """What the GPU is, where it stands and what it costs."""

    @property
    def name(self) -> str:
        """Give the class's name, as endpoints write it."""
        return self.metadata.name
