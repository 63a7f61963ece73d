"""What the children of an endpoint should be, and whether a running engine is left alone for now."""

from __future__ import annotations

from collections.abc import Mapping

from torpor.api.conditions import Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.children import Wanted
from torpor.controller.moving import uncounted
from torpor.controller.picture import Picture
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import JobWanted, WeightsPlan
from torpor.domain.scalingview import LULL_MS, idle_since
from torpor.errors import Stalled
from torpor.manifests import names
from torpor.manifests.engine import engine_template
from torpor.manifests.prewarmjobs import Room, prewarm_job
from torpor.manifests.setting import Installation
from torpor.manifests.workload import (
    deployment,
    first_deployment,
    owner_reference,
    service_account,
)


def children_wanted(
    endpoint: InferenceEndpoint,
    plan: WeightsPlan,
    placement: Placement,
    install: Installation,
    pulls: tuple[JobWanted, ...] = (),
    rooms: Mapping[str, Room] | None = None,
) -> Wanted:
    """Return the children as they should be; no Deployment while weights or placement are unknown.

    Args:
        endpoint: Whose.
        plan: What is known of the weights, and the Jobs for them.
        placement: Where the engine runs.
        install: Images and cache.
        pulls: The Jobs that pull the engine's image.
        rooms: What fetches may do to make room, by node.

    Raises:
        Stalled: The user's template has a form that no pod template has.
    """
    owner, weights = owner_reference(endpoint), plan.weights
    kept = uncounted(endpoint, plan)
    try:
        jobs = tuple(
            prewarm_job(endpoint, install, job, weights, owner, (rooms or {}).get(job.node))
            for job in (*plan.jobs, *pulls)
        )
        account = service_account(endpoint)
        if not weights.hash or placement.gpu_class is None:
            return Wanted(account, jobs, kept_jobs=kept)
        template = engine_template(endpoint, placement, weights, install)
        return Wanted(
            account,
            jobs,
            first_deployment(endpoint, template),
            deployment(endpoint, template),
            kept,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"spec.template is no pod template ({type(error).__name__}: {error}); correct it"
        raise Stalled(Reason.INVALID_SPEC, message) from error


def held_back(endpoint: InferenceEndpoint, picture: Picture, wanted: Wanted) -> bool:
    """Say whether the running template is kept although the spec has moved on (scaling.rollout: whenIdle).

    1 nothing runs, or nothing works      → no: there is nobody to disturb
    2 the names it is served by changed   → no: clients and gateways already ask by the new ones, and the engine knows
                                            the old
    3 kept warm by minReplicas, and idle  → no: it never sleeps, so this is the moment
    4 otherwise                           → yes, until it sleeps
    """
    if wanted.deployment is None or endpoint.spec.scaling.rollout == "immediate":
        return False
    template = wanted.deployment["spec"]["template"]
    workload = picture.workload
    if workload.template_hash == template["metadata"]["labels"][names.TEMPLATE_HASH]:
        return False
    if workload.replicas == 0 or not any(pod.ready for pod in picture.pods):
        return False
    if workload.served_names != " ".join(endpoint.asked_names):
        return False
    return not _idle_at_the_floor(endpoint, picture)


def _idle_at_the_floor(endpoint: InferenceEndpoint, picture: Picture) -> bool:
    demand, since = picture.demand, idle_since(picture.view())
    quiet = demand.known and not demand.in_flight and not demand.waiting
    at_floor = picture.workload.replicas <= endpoint.spec.scaling.min_replicas
    return quiet and at_floor and since is not None and picture.now_ms - since >= LULL_MS
