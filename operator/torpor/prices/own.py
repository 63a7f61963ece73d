"""torpor's own price list: one GPU per row, priced per GPU and hour, in any currency.

Two columns are needed, the rest has defaults: what torpor knows of a GPU (memory, product label, GPUs of a node) is
taken from there where the cell is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from torpor.domain.accelerators import (
    ACCELERATORS,
    NVIDIA,
    PRODUCT_LABELS,
    Accelerator,
    with_product,
)
from torpor.prices.listing import BadList, BadRow, Manifest, Place, Row, Taken, price_in
from torpor.prices.manifests import Entry, check_name, manifest_of
from torpor.prices.skypilot import Wanted

NEEDED: tuple[str, ...] = ("gpu_class", "price_per_gpu_hour")
OPTIONAL: tuple[str, ...] = (
    "product", "memory", "gpus_per_node", "resource_name", "currency", "capacity_type",
    "provider", "region", "zone", "jurisdiction", "as_of", "source", "fraction", "egress_per_gib",
)  # fmt: skip
COLUMNS = NEEDED + OPTIONAL


def take(rows: Iterable[tuple[Place, Row]], file: str, wanted: Wanted) -> Taken:
    """Return a manifest per row, of those of the region if one is asked for.

    Raises:
        BadList: A row is wrong, a class has two rows, or none is left.
    """
    manifests, wrong = list[Manifest](), list[str]()
    seen: dict[str, int] = {}
    for place, row in rows:
        if wanted.region is not None and row.get("region", "") != wanted.region:
            continue
        name = row.get("gpu_class", "")
        if wanted.accelerators and name not in wanted.accelerators:
            continue
        if name in seen:
            wrong.append(
                f"{file} line {place.line}: gpu_class {name!r} has a row already, on line {seen[name]}; "
                "choose one with --region, or give it another name"
            )
            continue
        seen[name] = place.line
        try:
            manifests.append(manifest_of(_entry(place, row, file, wanted)))
        except BadRow as error:
            wrong.append(str(error))
    if not seen:
        wrong.append(f"{file}: no row is left to take")
    if wrong:
        raise BadList(wrong)
    return Taken(tuple(manifests))


def _entry(place: Place, row: Row, file: str, wanted: Wanted) -> Entry:
    name, product = row.get("gpu_class", ""), row.get("product", "")
    check_name(place, name)
    known = with_product(product) if product else ACCELERATORS.get(name.removesuffix("-spot"))
    fraction = row.get("fraction", "")
    whole = None if fraction else known  # what torpor knows is of whole GPUs
    resource = row.get("resource_name") or (known.resource if known else NVIDIA)
    return Entry(
        place=place,
        name=name,
        memory=row.get("memory") or _memory(place, name, whole),
        gpus_per_node=_per_node(place, row, whole),
        resource=resource,
        node_selector=_selector(place, resource, product, known),
        price=_price(place, row),
        capacity_type=row.get("capacity_type") or "on-demand",
        currency=row.get("currency") or "USD",
        provider=row.get("provider") or wanted.cloud,
        region=row.get("region", ""),
        zone=row.get("zone", ""),
        jurisdiction=row.get("jurisdiction", ""),
        as_of=row.get("as_of") or wanted.as_of,
        source=row.get("source") or f"{file} line {place.line}",
        fraction=fraction,
        egress=row.get("egress_per_gib", ""),
    )


def _price(place: Place, row: Row) -> Decimal:
    column = "price_per_gpu_hour"
    text = row.get(column, "")
    owned = row.get("capacity_type") == "owned"
    return Decimal(0) if owned and text == "0" else price_in(place, column, text)


def _memory(place: Place, name: str, known: Accelerator | None) -> str:
    if known is None:
        raise place.wrong(
            "memory",
            "",
            f"torpor does not know the memory of {name!r}; write what the driver shows, such as 46068Mi",
        )
    return f"{known.memory_mib}Mi"


def _per_node(place: Place, row: Row, known: Accelerator | None) -> int:
    text = row.get("gpus_per_node", "")
    if not text and known is not None:
        return known.gpus_per_node
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 64:
        raise place.wrong("gpus_per_node", text, "not a number of GPUs from 1 to 64")
    return int(text)


def _selector(
    place: Place, resource: str, product: str, known: Accelerator | None
) -> dict[str, str]:
    """Return the nodes' label: a class without one would take every node that has the resource."""
    label = PRODUCT_LABELS.get(resource)
    if product and label:
        return {label: product}
    if known is not None:
        return known.node_selector
    raise place.wrong(
        "product",
        product,
        f"write the value of the label by which nodes with {resource} are told apart",
    )
