"""Labels that say which weights lie on a node: the scheduler prefers them, and nothing lies there that has none."""

from __future__ import annotations

from torpor.cluster.objects import Objects
from torpor.controller import provisioning
from torpor.controller.seen import Seen
from torpor.domain import caching
from torpor.domain.prewarmjobs import CLAIM, JobKind, WeightsPlan
from torpor.manifests import names


async def label_nodes(seen: Seen, objects: Objects, plan: WeightsPlan) -> None:
    """Write what has changed: weights that have arrived, weights that are on their way, and what made room for them.

    A node is marked as soon as a Job is sent to it. So whatever an endpoint may have left on a disk, finished or not,
    has a label by which the sweep finds it after the endpoint is gone.
    """
    label = f"{names.WEIGHTS_NODE_PREFIX}{plan.weights.hash}"
    changes: dict[str, dict[str, str | None]] = {}
    for node in plan.newly_ready:
        changes[node] = {label: names.WEIGHTS_READY}
    held = provisioning.holdings(seen) if plan.evicted else []
    for node, other in plan.evicted:
        if node in changes:
            gone = (f"{names.WEIGHTS_NODE_PREFIX}{name}" for name in caching.labels_of(other, held))
            changes[node] = {**dict.fromkeys(gone), **changes[node]}
    for job in plan.jobs:
        if job.kind is JobKind.FETCH and job.node not in changes:
            labels = (seen.nodes.get(job.node) or {}).get("metadata", {}).get("labels") or {}
            if label not in labels:
                changes[job.node] = {label: names.WEIGHTS_ARRIVING}
    for node, wanted in changes.items():
        labels = (seen.nodes.get(node) or {}).get("metadata", {}).get("labels") or {}
        if node != CLAIM and any(labels.get(key) != value for key, value in wanted.items()):
            await objects.label_node(node, wanted)
