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
from torpor.domain.prewarmjobs import WeightsPlan
from torpor.manifests.cachevolumes import claim_source

Json = dict[str, Any]


def class_regions(objects: Iterable[Json]) -> frozenset[str]:
    """Return the regions that GPU classes are in, as the API server has them."""
    return _known((obj.get("spec") or {}).get("region") for obj in objects)


def route_to(
    endpoint: InferenceEndpoint, target: str | None, regions: Collection[str]
) -> tuple[str, str] | None:
    """Return from which region to which other one weights go; None within one, or where one is not known.

    Args:
        endpoint: Whose weights.
        target: Region of the GPU class that they go to.
        regions: Those that GPU classes are in.
    """
    s3 = endpoint.spec.model.s3
    if claim_source(endpoint) is not None or "region" not in s3.model_fields_set:
        return None
    if s3.endpoint is not None and s3.region not in regions:
        return None
    return None if target in (None, "", s3.region) else (s3.region, str(target))


def uncounted(endpoint: InferenceEndpoint, plan: WeightsPlan) -> tuple[str, ...]:
    """Return the names of Jobs whose bytes are not in the status that is stored: they must not go before."""
    said = endpoint.status.cost.egress
    counted = {job.uid for job in said.counted} if said else set[str]()
    return tuple(job.name for job in plan.arrived if job.uid not in counted)


def downloads(endpoint: InferenceEndpoint, picture: Picture) -> list[Download]:
    """Return every download between regions that is over: of Jobs, and of engines' pods that fetched for themselves."""
    weights, found = picture.plan.weights, list[Download]()
    for job in picture.plan.arrived:
        # A Job whose last words nobody read has brought all that is listed, for all we know.
        listed = weights.bytes if job.hash == weights.hash else 0
        moved = listed if job.arrived_bytes is None else job.arrived_bytes
        if job.route is not None:
            found.append(Download(job.uid, job.finished_ms, *job.route, moved))
    regions = {view.name: view.region for view in picture.classes}
    for pod in picture.pods:
        route = route_to(endpoint, regions.get(pod.gpu_class), _known(regions.values()))
        if route is not None and pod.weights_bytes:
            at_ms = pod.weights_done_ms or picture.now_ms
            found.append(Download(pod.uid, at_ms, *route, pod.weights_bytes))
    return found


def noted(
    held: Egress, endpoint: InferenceEndpoint, picture: Picture, currency: str
) -> tuple[Egress, Egress]:
    """Return the egress of a pass: with what it sees, to be read at any instant, and with all of it booked."""
    seen = downloads(endpoint, picture)
    there = [job.uid for job in picture.plan.arrived] + [pod.uid for pod in picture.pods]

    def price(region: str) -> int | None:
        return egress_out_of(region, picture.classes, currency)

    unbooked = egress.noted(held, seen, price, currency, picture.now_ms)
    return unbooked, egress.booked(unbooked, there, picture.now_ms)


def ahead(endpoint: InferenceEndpoint, picture: Picture, currency: str) -> Expected | None:
    """Return what fetching to the nodes that lack the weights will move; None if nothing between regions."""
    plan, chosen = picture.plan, picture.placement.gpu_class
    regions = _known(view.region for view in picture.classes)
    route = route_to(endpoint, chosen.region if chosen else None, regions)
    if route is None:
        return None
    price = egress_out_of(route[0], picture.classes, currency)
    lacking = len(plan.nodes_wanted) - len(plan.nodes_ready)
    return egress.expected(Route(*route, currency, price), plan.weights.bytes, lacking)


def _known(regions: Iterable[str | None]) -> frozenset[str]:
    return frozenset(region for region in regions if region)
