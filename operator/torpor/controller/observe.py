"""Gather what one pass may look at: Kubernetes' objects become the domain's values here and nowhere else."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.faults import first_fault
from torpor.api.gpuclass import GPUClass, Price, PriceScope
from torpor.cluster import podtimes
from torpor.domain.ledger import WHOLE
from torpor.domain.money import micro
from torpor.domain.observation import Workload
from torpor.domain.placement import GPUClassView, NodeView, PlacementSpec, Rejected
from torpor.domain.remembering import epoch_ms
from torpor.manifests import names

Json = dict[str, Any]
UNHEARD_MS = 60_000
"""How long a node still counts that Kubernetes has not heard of; after that it is taken for gone."""


def placement_spec(endpoint: InferenceEndpoint) -> PlacementSpec:
    """Return the part of the spec that placement reads."""
    placement = endpoint.spec.placement
    residency = placement.residency
    return PlacementSpec(
        classes=tuple(placement.classes),
        ordered=bool(placement.ordered),
        gpus=None if placement.gpus == "auto" else int(placement.gpus),
        jurisdictions=tuple(residency.jurisdictions) if residency else (),
        regions=tuple(residency.regions) if residency else (),
        capacity_types=tuple(kind.value for kind in placement.capacity_types),
        max_price_micro=micro(placement.max_price_per_hour),
    )


def class_view(obj: Json, now_ms: int) -> GPUClassView:
    """Return a GPUClass as placement sees it at an instant."""
    # Of the metadata only the name counts: a new version with the same words is not read again.
    starts, views = _class_views(json.dumps(obj | {"metadata": {"name": obj["metadata"]["name"]}}))
    return views[bisect_right(starts, now_ms)]


@lru_cache(maxsize=256)
def _class_views(text: str) -> tuple[list[int], list[GPUClassView]]:
    """Return the epoch ms from which each price holds, and the class before the first and from each of them on.

    Every pass asks for all classes, and so does every event of a pod that finds no GPU: none is read twice.
    """
    found = GPUClass.model_validate(json.loads(text))
    spec = found.spec
    rows = _price_rows(spec.price) if spec.price else []
    before = GPUClassView(
        name=found.name,
        resource=spec.resource_name,
        vram=spec.memory,
        gpus_per_node=spec.gpus_per_node,
        node_selector=tuple(sorted(spec.node_selector.items())),
        region=spec.region,
        jurisdiction=spec.jurisdiction,
        capacity_type=spec.capacity_type.value,
        micro_per_hour=None,
        currency=spec.price.currency if spec.price else "USD",
        tolerations=tuple(t.to_dict() for t in spec.tolerations),
        prices=tuple((at, amount) for at, amount, _ in rows),
        granularity_s=(spec.price.granularity_seconds or 0) if spec.price else 0,
        minimum_s=(spec.price.minimum_seconds or 0) if spec.price else 0,
        price_as_of="",
        fraction=spec.fraction or WHOLE,
        whole_node=spec.price is not None and spec.price.scope is PriceScope.NODE,
        egress_micro=micro(spec.price.egress_per_gi_b) if spec.price else None,
    )
    held = [replace(before, micro_per_hour=each, price_as_of=day) for _, each, day in rows]
    return [at for at, _, _ in rows], [before, *held]


def _price_rows(price: Price) -> list[tuple[int, int | None, str]]:
    """Each price with the epoch ms from which it holds and the day on which it was read, in the order of time."""
    rows = [(epoch_ms(price.effective_from) or 0, micro(price.per_gpu_hour), price.as_of or "")]
    for change in price.changes:
        start = epoch_ms(change.effective_from) or 0
        rows.append((start, micro(change.per_gpu_hour), change.as_of or ""))
    return sorted(rows, key=lambda row: row[0])


def class_views(objects: Iterable[Json], now_ms: int) -> tuple[list[GPUClassView], list[Rejected]]:
    """Return the GPU classes that can be read, and those that cannot with the reason; one must not hide the others."""
    views, unread = list[GPUClassView](), list[Rejected]()
    for obj in objects:
        try:
            views.append(class_view(obj, now_ms))
        except ValidationError as error:
            why = f"cannot be read: {first_fault(error)}"
            unread.append(Rejected(obj["metadata"]["name"], why))
    return views, unread


def node_view(obj: Json, now_ms: int) -> NodeView:
    """Return a node as placement sees it; allocatable quantities that are no whole number are left out.

    After an outage of the API server Kubernetes has heard of no node for a while and calls each of them Unknown. So one
    that has been so for less than a minute counts: whoever waits then is not told that there is no node.
    """
    allocatable = (obj.get("status") or {}).get("allocatable") or {}
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready: Json = next((c for c in conditions if c["type"] == "Ready"), {})
    since_ms = podtimes.epoch_ms(ready.get("lastTransitionTime"))
    unheard = ready.get("status") == "Unknown" and since_ms is not None
    missed = unheard and now_ms - (since_ms or 0) < UNHEARD_MS
    cordoned = bool((obj.get("spec") or {}).get("unschedulable"))
    return NodeView(
        name=obj["metadata"]["name"],
        labels=frozenset((obj["metadata"].get("labels") or {}).items()),
        allocatable=tuple((k, n) for k, v in allocatable.items() if (n := _count(v)) is not None),
        schedulable=not cordoned and (ready.get("status") == "True" or missed),
    )


def _count(quantity: object) -> int | None:
    """A whole number; the API server writes 1000 as 1k, and a GPU in time slices may well count so many."""
    text = str(quantity)
    digits = text.removesuffix("k")
    if not digits.isdecimal():
        return None
    return int(digits) * (1000 if text.endswith("k") else 1)


def workload_of(deployment: Json | None) -> Workload:
    """Return the Deployment as scaling sees it."""
    if deployment is None:
        return Workload()
    metadata = deployment["metadata"]
    about = deployment["spec"]["template"].get("metadata") or {}
    labels, notes = about.get("labels") or {}, about.get("annotations") or {}
    return Workload(
        exists=True,
        replicas=int(deployment["spec"].get("replicas") or 0),
        resource_version=metadata["resourceVersion"],
        template_hash=labels.get(names.TEMPLATE_HASH, ""),
        served_names=notes.get(names.SERVED_NAMES, ""),
        pods_refused=_refused(deployment),
    )


def _refused(deployment: Json) -> str:
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message") or condition.get("reason"))
    return ""
