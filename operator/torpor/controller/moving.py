"""Weights that cross regions: between which, at what price, and which downloads are still to be counted.

A bucket's region is known where `model.s3.region` is written down: the default only says what requests are signed for.
With an `endpoint` of one's own it may be any name, and counts only if a GPUClass is in a region of that name. Within
one region nothing is counted, and neither is it where one of the two regions is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.picture import Picture
from torpor.domain import egress
from torpor.domain.catalogue import egress_out_of
from torpor.domain.egress import Download, Egress, Expected, Route
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import WeightsPlan
from torpor.manifests.cachevolumes import claim_source

Json = dict[str, Any]


def class_regions(objects: Iterable[Json]) -> frozenset[str]:
    """Return the regions that GPU classes are in, as the API server has them."""
    named = (str((obj.get("spec") or {}).get("region") or "") for obj in objects)
    return frozenset(region for region in named if region)


def route_to(
    endpoint: InferenceEndpoint, placement: Placement, regions: Collection[str]
) -> tuple[str, str] | None:
    """Return from which region to which other one weights go; None within one, or where one is not known.

    Args:
        endpoint: Whose weights.
        placement: Where its engine runs.
        regions: Those that GPU classes are in.
    """
    s3, chosen = endpoint.spec.model.s3, placement.gpu_class
    if claim_source(endpoint) is not None or "region" not in s3.model_fields_set:
        return None
    if s3.endpoint is not None and s3.region not in regions:
        return None
    target = (chosen.region if chosen else None) or s3.region
    return None if target == s3.region else (s3.region, target)


def uncounted(endpoint: InferenceEndpoint, plan: WeightsPlan) -> tuple[str, ...]:
    """Return the names of Jobs whose bytes are not in the status that is stored: they must not go before."""
    said = endpoint.status.cost.egress
    counted = {job.uid for job in said.counted} if said else set[str]()
    return tuple(job.name for job in plan.arrived if job.uid not in counted)


def noted(held: Egress, plan: WeightsPlan, picture: Picture, currency: str, now_ms: int) -> Egress:
    """Return the egress of a pass: what was stored, and the downloads that it does not know yet."""
    weights = plan.weights
    downloads = [
        Download(
            job.uid,
            job.finished_ms,
            *job.route,
            # A Job whose last words nobody read has brought all that is listed, for all we know.
            (weights.bytes if job.hash == weights.hash else 0)
            if job.arrived_bytes is None
            else job.arrived_bytes,
        )
        for job in plan.arrived
        if job.route is not None
    ]
    return egress.noted(
        held,
        downloads,
        lambda region: egress_out_of(region, picture.classes, currency),
        currency,
        now_ms,
    )


def ahead(endpoint: InferenceEndpoint, picture: Picture, currency: str) -> Expected | None:
    """Return what fetching to the nodes that lack the weights will move; None if nothing between regions."""
    plan = picture.plan
    regions = frozenset(view.region for view in picture.classes if view.region)
    route = route_to(endpoint, picture.placement, regions)
    if route is None:
        return None
    price = egress_out_of(route[0], picture.classes, currency)
    lacking = len(plan.nodes_wanted) - len(plan.nodes_ready)
    return egress.expected(Route(*route, currency, price), plan.weights.bytes, lacking)
