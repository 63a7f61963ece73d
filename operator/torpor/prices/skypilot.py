"""SkyPilot's catalogue, one file per cloud: instance shapes with their price per hour → the cheapest GPU of each kind.

Rows without an accelerator are machines without GPUs and are passed over; so are those of other regions. `Price` is of
the whole instance. Only in Google's file GPUs have rows of their own, without the machine around them: those are
refused unless asked for, since a class at that price would say less than it costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from torpor.domain.accelerators import NVIDIA, Accelerator, listed
from torpor.prices.listing import BadList, BadRow, Place, Row, Taken, number_in, price_in
from torpor.prices.manifests import Entry, manifest_of

NEEDED: tuple[str, ...] = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region")
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
LEAST_MIB = 1024
"""Some clouds' files hold 0, or GiB under the name of MiB: no GPU has less than a GiB."""
_SIZE = re.compile(r"""['"]SizeInMiB['"]: *([0-9]+)""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take out of a list."""

    cloud: str
    region: str | None
    as_of: str
    accelerators: frozenset[str] = frozenset()
    """Names as in the list; none means all."""
    gpu_only: bool = False
    """Take prices of GPUs without their machine."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of GPU as a list has it: one that torpor knows, or one whose memory the list tells."""

    name: str
    memory_mib: int
    known: Accelerator | None


@dataclass(frozen=True, slots=True)
class Offer:
    """One instance shape at one price per GPU and hour."""

    kind: Kind
    shape: str
    gpus: int
    instance_price: Decimal
    spot: bool
    zone: str
    place: Place

    @property
    def rank(self) -> tuple[Decimal, int, str, str]:
        """Cheapest per GPU first, then the smallest instance."""
        return (self.instance_price / self.gpus, self.gpus, self.shape, self.zone)


def take(rows: Iterable[tuple[Place, Row]], file: str, wanted: Wanted) -> Taken:
    """Return a manifest for each kind of GPU and way of paying, at the cheapest offer of the region.

    Raises:
        BadList: A row of the region is wrong, a GPU is unknown, or the region is not clear.
    """
    of_gpus = [(place, row) for place, row in rows if _asked_for(row, wanted)]
    region = _region(of_gpus, file, wanted)
    found = _gathered([at for at in of_gpus if at[1].get("Region", "") == region], wanted)
    if not found.wrong and not found.offers:
        found.wrong.append(f"{file}: no row of {region or 'it'} has a whole GPU with a price")
    if found.wrong:
        raise BadList(found.wrong)
    entries = (_entry(offers, file, region, wanted) for _, offers in sorted(found.offers.items()))
    note = f"{file}: {found.parts} rows with a part of a GPU are left out: torpor counts whole GPUs"
    return Taken(tuple(manifest_of(entry) for entry in entries), (note,) if found.parts else ())


@dataclass(slots=True)
class _Found:
    offers: dict[tuple[str, bool], list[Offer]] = field(
        default_factory=dict[tuple[str, bool], list[Offer]]
    )
    """By the name of the kind, and whether it is a spot price."""
    wrong: list[str] = field(default_factory=list[str])
    parts: int = 0
    """Rows with a part of a GPU."""


class _UnknownGpu(BadRow):
    """Told once, whatever the number of its rows."""


def _gathered(rows: list[tuple[Place, Row]], wanted: Wanted) -> _Found:
    found, unknown = _Found(), set[str]()
    for place, row in rows:
        if row["AcceleratorName"] in unknown:
            continue
        try:
            gpus = _count(place, row)
            if gpus is None:
                found.parts += 1
                continue
            for offer in _offers(place, row, gpus, wanted):
                found.offers.setdefault((offer.kind.name, offer.spot), []).append(offer)
        except BadRow as error:
            found.wrong.append(str(error))
            if isinstance(error, _UnknownGpu):
                unknown.add(row["AcceleratorName"])
    return found


def _asked_for(row: Row, wanted: Wanted) -> bool:
    name = row.get("AcceleratorName", "")
    return bool(name) and (not wanted.accelerators or name in wanted.accelerators)


def _region(rows: list[tuple[Place, Row]], file: str, wanted: Wanted) -> str:
    regions = sorted({row.get("Region", "") for _, row in rows})
    told = ", ".join(region or "(none)" for region in regions[:12]) + (
        " …" if len(regions) > 12 else ""
    )
    if not rows:
        which = f" called {', '.join(sorted(wanted.accelerators))}" if wanted.accelerators else ""
        raise BadList([f"{file}: no row has an accelerator{which}"])
    if wanted.region is not None and wanted.region not in regions:
        raise BadList([f"{file}: no GPU in region {wanted.region!r}; there are {told}"])
    if wanted.region is None and len(regions) > 1:
        raise BadList([f"{file}: GPUs in {len(regions)} regions; name one with --region: {told}"])
    return regions[0] if wanted.region is None else wanted.region


def _count(place: Place, row: Row) -> int | None:
    """Return the GPUs of a shape; None if it has only a part of one."""
    text = row.get("AcceleratorCount", "")
    count = number_in(text)
    if count is None or count <= 0 or count > 64:
        raise place.wrong("AcceleratorCount", text, "not a number of GPUs from 1 to 64")
    return int(count) if count == int(count) else None


def _offers(place: Place, row: Row, gpus: int, wanted: Wanted) -> list[Offer]:
    shape = row.get("InstanceType", "")
    if not shape and not wanted.gpu_only:
        raise place.wrong(
            "InstanceType",
            shape,
            "the price is of the GPU without the machine around it; take it as it is with "
            "--gpu-only, or put the price of both into torpor's own CSV",
        )
    found, zone = list[Offer](), row.get("AvailabilityZone", "")
    for column, spot in (("Price", False), ("SpotPrice", True)):
        if text := row.get(column, ""):
            price = price_in(place, column, text)
            kind = _kind(place, row)
            found.append(Offer(kind, shape, gpus, price, spot, zone, place))
    return found


def _kind(place: Place, row: Row) -> Kind:
    """Return the kind of GPU; its memory is the driver's where torpor knows it, else the list's."""
    name, info = row["AcceleratorName"], row.get("GpuInfo", "")
    size = _SIZE.search(info)
    mib = int(size[1]) if size and int(size[1]) >= LEAST_MIB else None
    known = listed(name, mib)
    if known is not None:
        return Kind(known.gpu_class, known.memory_mib, known)
    if mib is None or not row.get("InstanceType"):
        what = f"its GpuInfo says {size[1]} MiB" if size else "its GpuInfo does not say"
        error = place.wrong(
            "AcceleratorName",
            name,
            f"how much memory it has, or which nodes have it, is not known ({what}); name the ones to take with "
            "--accelerator, or describe it in torpor's own CSV",
        )
        raise _UnknownGpu(str(error))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Kind(f"{slug}-{round(mib / 1024)}g", mib, None)


def _entry(offers: list[Offer], file: str, region: str, wanted: Wanted) -> Entry:
    best = min(offers, key=lambda offer: offer.rank)
    kind, known = best.kind, best.kind.known
    selector = known.node_selector if known else {INSTANCE_TYPE: best.shape}
    share = f", 1/{best.gpus} of {best.instance_price}" if best.gpus > 1 else ""
    way = "spot" if best.spot else "on demand"
    where = " ".join(
        part for part in (wanted.cloud, region, best.zone if best.spot else "") if part
    )
    shape = best.shape or "GPU without its machine"
    return Entry(
        place=best.place,
        name=f"{kind.name}-spot" if best.spot else kind.name,
        memory=f"{kind.memory_mib}Mi",
        gpus_per_node=max(offer.gpus for offer in offers) if known else best.gpus,
        resource=known.resource if known else NVIDIA,
        node_selector=selector,
        price=best.instance_price / best.gpus,
        capacity_type="spot" if best.spot else "on-demand",
        provider=wanted.cloud,
        region=region,
        as_of=wanted.as_of,
        source=f"{where} {shape}, {way}{share} ({file})".strip(),
        remark="" if known else "memory is the list's; put in what the driver shows, which is less",
    )
