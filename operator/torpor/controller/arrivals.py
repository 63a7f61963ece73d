"""`status.weights`: what the weights are, and how they stand on every node that should have them."""

from __future__ import annotations

from collections.abc import Mapping

from torpor.api.endpoint import CacheKind, InferenceEndpoint
from torpor.api.status import WeightsNode, WeightsStatus
from torpor.domain.arriving import Arrival, arrivals, node_title
from torpor.domain.prewarmjobs import CLAIM, Progress, WeightsPlan
from torpor.domain.pulling import Pulls
from torpor.domain.remembering import epoch_ms, moment, weights_words
from torpor.manifests.cachevolumes import claim_source
from torpor.manifests.prewarmjobs import engine_image
from torpor.manifests.setting import Installation


def claim_of(endpoint: InferenceEndpoint) -> str:
    """Return the claim that holds the weights, as their source or as the cache of all nodes; empty without one."""
    source, cache = claim_source(endpoint), endpoint.spec.prewarm.cache
    if source is not None:
        return source.claim
    return str(cache.claim) if cache.kind is CacheKind.PVC else ""


def weights_status(
    endpoint: InferenceEndpoint,
    plan: WeightsPlan,
    pulls: Pulls,
    loading: Mapping[str, Progress],
    installation: Installation,
    now_ms: int,
) -> WeightsStatus:
    """Return the weights as the status says them; what a node once proved stays said while its state stays."""
    claim = claim_of(endpoint)
    before = {
        CLAIM if node.name == node_title(CLAIM, claim) else node.name: _read(node)
        for node in endpoint.status.weights.nodes
    }
    image = engine_image(endpoint, installation)
    found = arrivals(plan, pulls, image, loading, before, now_ms)
    words = weights_words(plan.weights)
    return words.model_copy(
        update={
            "nodes": tuple(_write(entry, claim) for entry in found),
            "nodes_ready": len(plan.nodes_ready),
            "nodes_wanted": len(plan.nodes_wanted),
        }
    )


def _read(node: WeightsNode) -> Arrival:
    return Arrival(node.name, node.state, epoch_ms(node.since) or 0, verified=node.verified or "")


def _write(entry: Arrival, claim: str) -> WeightsNode:
    return WeightsNode(
        name=node_title(entry.node, claim),
        state=entry.state,
        since=moment(entry.since_ms) if entry.since_ms else None,
        percent=entry.percent,
        bytes=entry.bytes,
        bytes_per_second=entry.bytes_per_second,
        seconds_left=entry.seconds_left,
        verified=entry.verified or None,
        image=entry.image or None,
        message=entry.message or None,
    )
