"""One price → one GPUClass, checked by the same model that reads it in the cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

import yaml
from pydantic import ValidationError

from torpor.api.gpuclass import CapacityType, GPUClass
from torpor.api.meta import API_VERSION
from torpor.domain import money
from torpor.domain.accelerators import NVIDIA
from torpor.domain.catalogue import OWN_SPOT_LABEL, SPOT_LABEL_OF
from torpor.prices.listing import Manifest, Place

PLACES = Decimal("0.000001")
"""The meter counts in millionths of the currency per GPU-hour; a divided price is rounded to them, half to even."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a GPUClass is made of."""

    place: Place
    name: str
    memory: str
    gpus_per_node: int
    price: Decimal
    as_of: str
    source: str
    resource: str = NVIDIA
    node_selector: dict[str, str] = field(default_factory=dict[str, str])
    capacity_type: str = "on-demand"
    currency: str = "USD"
    provider: str = ""
    region: str = ""
    zone: str = ""
    jurisdiction: str = ""
    fraction: str = ""
    """Which part of a GPU one unit of the resource is, such as 1/7; the price is that of the whole."""
    egress: str = ""
    """Price of a GiB that leaves the region; empty if nobody says."""
    remark: str = ""
    """For whoever reads the manifest; a comment above it."""


def manifest_of(entry: Entry) -> Manifest:
    """Return the manifest of a GPUClass.

    Raises:
        listing.BadRow: The API server would refuse it; the sentence names the row, the field and the value.
    """
    check_name(entry.place, entry.name)
    rounded = entry.price.quantize(PLACES, ROUND_HALF_EVEN)
    if entry.price and not rounded:
        raise entry.place.wrong(
            "price per GPU",
            str(entry.price),
            f"less than {PLACES}, the smallest price that torpor counts",
        )
    optional = {
        "provider": entry.provider,
        "region": entry.region,
        "zone": entry.zone,
        "jurisdiction": entry.jurisdiction,
    }
    body: dict[str, object] = {
        "apiVersion": API_VERSION,
        "kind": "GPUClass",
        "metadata": {"name": entry.name},
        "spec": {
            "resourceName": entry.resource,
            **({"fraction": entry.fraction} if entry.fraction else {}),
            "memory": entry.memory,
            "gpusPerNode": entry.gpus_per_node,
            "nodeSelector": _selector(entry),
            "tolerations": [{"key": entry.resource, "operator": "Exists", "effect": "NoSchedule"}],
            **{name: value for name, value in optional.items() if value},
            "capacityType": entry.capacity_type,
            "price": {
                "perGPUHour": money.plain(rounded),
                "currency": entry.currency,
                **({"egressPerGiB": entry.egress} if entry.egress else {}),
                "source": entry.source,
                "asOf": entry.as_of,
            },
        },
    }
    _check(entry, body)
    return Manifest(body, entry.remark)


def check_name(place: Place, name: str) -> None:
    """Check that a GPUClass may be called so.

    Raises:
        listing.BadRow: It may not.
    """
    if not _NAME.fullmatch(name):
        raise place.wrong("gpu_class", name, "at most 63 lower-case letters, digits and hyphens")


def _selector(entry: Entry) -> dict[str, str]:
    """Return the labels of its nodes. A class of spot prices must not take nodes that cost more."""
    if entry.capacity_type != CapacityType.SPOT:
        return entry.node_selector
    label, value = SPOT_LABEL_OF.get(entry.provider.lower(), OWN_SPOT_LABEL)
    return {**entry.node_selector, label: value}


def _check(entry: Entry, body: dict[str, object]) -> None:
    try:
        GPUClass.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise entry.place.wrong(
            _column(first["loc"]), str(first["input"]), first["msg"].removeprefix("Value error, ")
        ) from error


def _column(where: tuple[int | str, ...]) -> str:
    """Return the column that a field of the manifest was filled from."""
    if "nodeSelector" in where:
        return "product"
    if "egressPerGiB" in where:
        return "egress_per_gib"
    words = [part for part in where if isinstance(part, str)]
    return re.sub(r"([A-Z])", r"_\1", words[-1]).lower() if words else "row"


def as_yaml(manifests: tuple[Manifest, ...], said_by: str) -> str:
    """Return the manifests as one file for `kubectl apply -f`, with a line that says where they come from."""
    found = [f"# GPUClasses made by `torpor prices import` from {said_by}.\n"]
    for manifest in manifests:
        remark = f"# {manifest.remark}\n" if manifest.remark else ""
        body = yaml.safe_dump(manifest.body, sort_keys=False, allow_unicode=True, width=200)
        found.append(f"---\n{remark}{body}")
    return "".join(found)
