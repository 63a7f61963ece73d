"""How long idle replicas are kept now: what the spec wants, what the status remembers, what the gateways tell."""

from __future__ import annotations

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.scaling import KeepAlive, Profile
from torpor.controller.picture import Picture
from torpor.domain.keepalive import WEIGHTS, Bounds
from torpor.domain.keeping import Adaptive, Kept, Memory, kept_for, remembered
from torpor.domain.observation import Demand, PodSeen, combined
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
    return kept_for(memory, policy, memory.idle_since_ms or picture.now_ms)


def adaptive_policy(keep_alive: KeepAlive) -> Adaptive | None:
    """Return the adaptive policy as the spec wants it; None if it wants a fixed time."""
    if keep_alive.fixed_seconds is not None:
        return None
    least = keep_alive.min.total_seconds() if keep_alive.min else None
    most = keep_alive.max.total_seconds() if keep_alive.max else None
    usual = Bounds()
    bounds = Bounds(
        min(usual.least_s, most or usual.least_s) if least is None else least,
        max(usual.most_s, least or usual.most_s) if most is None else most,
    )
    return Adaptive(WEIGHTS[(keep_alive.profile or Profile.BALANCED).value], bounds)
