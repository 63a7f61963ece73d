"""Gather what decides about an endpoint's weights: its Jobs, the nodes that have or need them, and who runs where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torpor.api.endpoint import CacheKind, InferenceEndpoint, normal
from torpor.controller.jobs import jobs_seen
from torpor.controller.moving import class_regions, route_to
from torpor.controller.progress import ProgressPoller
from torpor.controller.seen import Key, Seen
from torpor.domain import caching
from torpor.domain.caching import Holding, Running
from torpor.domain.hub import resolved_sources
from torpor.domain.observation import PodSeen
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import CLAIM, JobKind, JobSeen, JobState, NodeNeeds, Progress
from torpor.domain.pulling import Pulls, names_image, plan_pulls
from torpor.domain.remembering import epoch_ms
from torpor.manifests import names
from torpor.manifests.cachevolumes import claim_source
from torpor.manifests.prewarmjobs import Room, engine_image, image_mark
from torpor.manifests.setting import Installation
from torpor.manifests.weights import extras

Json = dict[str, Any]

DOUBT_MS = 15_000
"""How long an engine may look for weights that should be there before they count as gone. A hit takes a tenth of a
second; pulling torpor's image or attaching a volume before it may take longer."""


def seen_jobs(
    seen: Seen, progress: ProgressPoller, endpoint: InferenceEndpoint, key: Key, now_ms: int
) -> tuple[JobSeen, ...]:
    """Return the endpoint's prewarm Jobs with what their pods say."""
    pods = seen.pods_of(key, names.COMPONENT_PREWARM)
    found = jobs_seen(seen.jobs(key), pods, now_ms, progress.heard)
    hub = endpoint.spec.model.hub
    if hub is None:
        return tuple(replace(job, sources=()) for job in found)  # they are those of the spec
    asked = [endpoint.spec.model.source, *(one["source"] for one in extras(endpoint))]
    mirror = normal(hub.mirror)
    return tuple(
        replace(job, sources=resolved_sources(asked, {"commits": list(job.commits)}, mirror))
        if job.kind in (JobKind.CHECK, JobKind.RECHECK)
        else job
        for job in found
    )


def node_needs(
    seen: Seen,
    endpoint: InferenceEndpoint,
    placement: Placement,
    pods: Iterable[PodSeen],
    weights_hash: str,
    jobs: tuple[JobSeen, ...],
    now_ms: int,
) -> NodeNeeds:
    """Return which nodes should hold the weights, by the kind of cache, and which do."""
    kind, wanted = endpoint.spec.prewarm.cache.kind, endpoint.spec.prewarm.nodes
    if claim_source(endpoint) or kind is CacheKind.EPHEMERAL:
        return NodeNeeds()
    if kind is CacheKind.PVC:
        stuck = [pod.created_ms for pod in pods if _waits_long(pod, now_ms)]
        doubts = ((CLAIM, max(stuck)),) if stuck else ()
        return NodeNeeds(() if wanted == "none" else (CLAIM,), doubts)
    doubted = {pod.node for pod in pods if _waits_long(pod, now_ms)}
    has = ready_nodes(seen, weights_hash) - {node for node in doubted if node is not None}
    nodes = () if wanted == "none" else placement.nodes
    if isinstance(wanted, int):
        nodes = tuple(sorted(nodes, key=lambda node: _rank(node, has, jobs)))[:wanted]
    waking = tuple(
        (pod.node, pod.created_ms)
        for pod in pods
        if pod.node is not None
        and pod.node in seen.nodes
        and pod.node not in has
        and pod.gone_ms is None
        and pod.deleted_ms is None
    )
    return NodeNeeds(nodes, waking, has)


def _rank(node: str, has: frozenset[str], jobs: Iterable[JobSeen]) -> tuple[bool, bool, bool]:
    """Who keeps its place when a number of nodes is wanted: who has them, who is getting them, who has not failed."""
    ours = [job for job in jobs if job.kind is JobKind.FETCH and job.node == node]
    latest = max(ours, key=lambda job: job.attempt, default=None)
    state = latest.state if latest else None
    return node not in has, state is not JobState.RUNNING, state is JobState.FAILED


def _waits_long(pod: PodSeen, now_ms: int) -> bool:
    """Whether an engine waits for weights that should be there: somebody else's may have made them go."""
    starting = pod.gone_ms is None and pod.deleted_ms is None and not pod.ready
    since = pod.scheduled_ms
    return (
        starting and pod.weights_done_ms is None and since is not None and now_ms > since + DOUBT_MS
    )


def ready_nodes(seen: Seen, weights_hash: str) -> frozenset[str]:
    """Return the nodes whose label says that they hold the weights."""
    label = f"{names.WEIGHTS_NODE_PREFIX}{weights_hash}"
    return frozenset(
        name
        for name, node in seen.nodes.items()
        if (node["metadata"].get("labels") or {}).get(label) == names.WEIGHTS_READY
    )


def pulls(
    seen: Seen,
    endpoint: InferenceEndpoint,
    nodes: tuple[str, ...],
    jobs: tuple[JobSeen, ...],
    installation: Installation,
    now_ms: int,
) -> Pulls:
    """Return which of *nodes* still pull the engine's image; none where the user does not want it."""
    if not endpoint.spec.prewarm.image:
        return Pulls()
    image = engine_image(endpoint, installation)
    places = tuple(node for node in nodes if node != CLAIM)
    remembered = {node.name for node in endpoint.status.weights.nodes if node.image == image}
    have = frozenset(
        node for node in places if node in remembered or _lists(seen.nodes.get(node), image)
    )
    return plan_pulls(places, have, jobs, image_mark(image), now_ms)


def _lists(node: Json | None, image: str) -> bool:
    listed = ((node or {}).get("status") or {}).get("images") or ()
    return any(names_image(name, image) for entry in listed for name in entry.get("names") or ())


def loading(pods: Iterable[PodSeen], heard: Mapping[str, Progress]) -> dict[str, Progress]:
    """Return what engines' pods say that fetch for themselves, by node."""
    return {
        pod.node: heard[pod.uid]
        for pod in pods
        if pod.node is not None and pod.uid in heard and pod.weights_done_ms is None
    }


def holdings(seen: Seen) -> list[Holding]:
    """Return every endpoint's weights: as its status has them, and as its engine would find them.

    While a source is checked anew the status has none; what the Deployment was made for still is the endpoint's.
    """
    found = []
    for key, obj in seen.endpoints.items():
        prewarm = (obj.get("spec") or {}).get("prewarm") or {}
        pinned = bool(prewarm.get("pin"))
        weights = (obj.get("status") or {}).get("weights") or {}
        label = str(weights.get("hash") or "")
        if label:
            found.append(Holding(label, tuple(weights.get("parts") or (label,)), pinned))
        template = (seen.deployments.get(key) or {}).get("spec", {}).get("template") or {}
        notes = (template.get("metadata") or {}).get("annotations") or {}
        label = str(notes.get(names.WEIGHTS_HASH) or "")
        if label:
            parts = str(notes.get(names.WEIGHTS_PARTS) or label).split()
            found.append(Holding(label, tuple(parts), pinned))
    return found


def running(seen: Seen) -> list[Running]:
    """Return every engine's pod that has not ended, and every Job that brings weights, with what they work with."""
    found = []
    for obj in seen.at_work():
        notes = obj["metadata"].get("annotations") or {}
        parts = (notes.get(names.WEIGHTS_PARTS) or notes.get(names.WEIGHTS_HASH) or "").split()
        node = (obj.get("spec") or {}).get("nodeName") or notes.get(names.PREWARM_NODE) or None
        if parts:
            found.append(Running(node, tuple(parts)))
    return found


def room_on(
    seen: Seen,
    endpoint: InferenceEndpoint,
    placement: Placement,
    node: str,
    alive: bool,
    now_ms: int,
) -> Room:
    """Return what a fetch to *node* may do to make room for itself."""
    last = endpoint.status.wakes.last
    used = caching.last_use_ms(
        epoch_ms(endpoint.metadata.creation_timestamp) or now_ms,
        epoch_ms(last.at) if last else None,
        alive,
        now_ms,
    )
    chosen = placement.gpu_class
    selector, region = (chosen.node_selector, chosen.region) if chosen else ((), None)
    return Room(
        kept=caching.kept_on(node, holdings(seen), running(seen)),
        as_of=now_ms // 1000,
        last_use=used // 1000,
        near=selector,
        route=route_to(endpoint, region, class_regions(seen.classes.values())),
    )
