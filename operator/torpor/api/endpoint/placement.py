"""`spec.placement`: on which GPUs, where, and for how much an endpoint may run."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from torpor.api.bounds import Between, MoreThanZero
from torpor.api.endpoint.model import ObjectName
from torpor.api.gpuclass import CapacityType, Region
from torpor.api.jurisdictions import Jurisdiction
from torpor.api.quantities import Duration, Money
from torpor.api.words import Rule, Words, not_yet, rules_of, unique

Gpus = Annotated[
    int | Literal["auto"],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules_of(
                Rule(
                    "type(self) == int ? (self >= 1 && self <= 16) : self == 'auto'",
                    "must be auto or a number of GPUs from 1 to 16",
                )
            ),
        }
    ),
]


class Residency(Words):
    """Where prompts and weights may be processed. Never relaxed, whatever it costs."""

    rules = (
        Rule(
            "has(self.jurisdictions) || has(self.regions)",
            "residency needs jurisdictions, regions or both",
        ),
    )

    jurisdictions: Annotated[
        tuple[Jurisdiction, ...],
        Field(max_length=32, json_schema_extra=unique()),
    ] = ()
    """Countries (ISO 3166-1 alpha-2), EU or EEA; a GPU class must lie in one of them. Default: anywhere."""
    regions: Annotated[
        tuple[Region, ...],
        Field(max_length=32, json_schema_extra=unique()),
    ] = ()
    """Regions as the GPU classes name them; a class must lie in one of them. Default: any region."""


class Placement(Words):
    """Which GPUs may serve the model. A GPU class must satisfy every field that is set."""

    rules = (
        Rule(
            "!has(self.ordered) || !self.ordered || (has(self.classes) && size(self.classes) > 0)",
            "ordered needs classes",
            field=".ordered",
        ),
    )

    classes: Annotated[
        tuple[ObjectName, ...],
        Field(max_length=32, json_schema_extra=unique()),
    ] = ()
    """Names of the GPU classes that may be used. Default: every class of the cluster."""
    ordered: bool = False
    """Try `classes` in the order they are written instead of the cheapest first."""
    gpus: Gpus = "auto"
    """GPUs per replica, 1 to 16, or auto: as many as the model needs."""
    residency: Residency | None = None
    """Where prompts and weights may be processed. A hard constraint."""
    capacity_types: Annotated[
        tuple[CapacityType, ...],
        Field(max_length=4, json_schema_extra=unique()),
    ] = ()
    """Kinds of capacity that may be used: on-demand, spot, reserved, owned. Default: all."""
    max_price_per_hour: Annotated[Money, MoreThanZero()] | None = None
    """Most that one replica may cost per hour, all its GPUs together, in the currency of the GPU class.
    A class without a price is then refused."""
    capacity_timeout: Annotated[Duration, Between("30s", "1h")] | None = Field(
        default=None, json_schema_extra=not_yet()
    )
    """How long a pod may be pending before the next candidate is tried."""
