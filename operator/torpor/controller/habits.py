"""How long idle replicas are kept now: what the spec wants, what the status remembers, what the gateways tell."""

from __future__ import annotations

from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.picture import Picture
from torpor.domain.keeping import (
    Kept,
    Memory,
    adaptive_policy,
    kept_for,
    kept_for_nothing,
    remembered,
)
from torpor.domain.observation import Demand, PodSeen, combined
from torpor.domain.placement import GPUClassView
from torpor.domain.remembering import memory_of
from torpor.domain.scalingview import ScalingSpec
from torpor.domain.schedules import Floor, Schedule, floor_at


def memory_now(endpoint: InferenceEndpoint, demand: Demand, pods: tuple[PodSeen, ...]) -> Memory:
    """Return what is remembered of the endpoint's users, with what has come in since the status was written."""
    policy = adaptive_policy(endpoint.spec.scaling.keep_alive)
    before = memory_of(endpoint.status.keep_alive)
    return remembered(before, policy, demand, combined(pods, demand))


def scaling_spec(endpoint: InferenceEndpoint, picture: Picture) -> ScalingSpec:
    """Return what scaling reads of the spec, and for how long idle replicas are kept."""
    scaling, kept = endpoint.spec.scaling, kept_now(endpoint, picture)
    floor = floor_now(endpoint, picture.now_ms)
    fixed = scaling.keep_alive.fixed_seconds is not None
    return ScalingSpec(
        min_replicas=floor.replicas,
        floor_because=floor.because,
        max_replicas=scaling.max_replicas,
        in_flight_per_replica=scaling.in_flight_per_replica,
        keep_alive_ms=kept.ms,
        yields_ms=kept.yields_ms,
        kept_because="" if fixed else kept.why,
        ahead_ms=kept.ahead_ms,
        suspend=scaling.suspend,
    )


def floor_now(endpoint: InferenceEndpoint, now_ms: int) -> Floor:
    """Return how many replicas are kept whether or not anybody asks, and until when."""
    scaling = endpoint.spec.scaling
    schedules = (
        Schedule(
            one.cron, one.time_zone, round(one.duration.total_seconds() * 1000), one.min_replicas
        )
        for one in scaling.schedules
    )
    return floor_at(scaling.min_replicas, schedules, now_ms)


def kept_now(endpoint: InferenceEndpoint, picture: Picture) -> Kept:
    """Return for how long idle replicas are kept, and why."""
    keep_alive, memory = endpoint.spec.scaling.keep_alive, picture.memory
    fixed, policy = keep_alive.fixed_seconds, adaptive_policy(keep_alive)
    if policy is None or fixed is not None:
        said = f"fixed: {fixed} s after the last response, as spec.scaling.keepAlive says"
        return Kept((fixed or 0) * 1000, said)
    view = gpu_class_of(picture)
    if view is not None and view.costs_nothing_more:
        return kept_for_nothing(policy, view.name)
    return kept_for(memory, policy, memory.idle_since_ms or picture.now_ms)


def yields_after_ms(endpoint: InferenceEndpoint) -> int | None:
    """Return how long an endpoint must have been idle to give its GPUs to another; None with a fixed keep-alive."""
    policy = adaptive_policy(endpoint.spec.scaling.keep_alive)
    return None if policy is None else policy.yields_ms


def gpu_class_of(picture: Picture) -> GPUClassView | None:
    """Return the class that the newest of its pods runs on, or the one that it would be placed on."""
    living = [pod for pod in picture.pods if pod.gone_ms is None and pod.deleted_ms is None]
    newest = max(living, key=lambda pod: pod.created_ms, default=None)
    if newest is None:
        return picture.placement.gpu_class
    return next((view for view in picture.classes if view.name == newest.gpu_class), None)
