"""What a decision about replicas is made on, and what it says; `torpor.domain.scaling` has the rules."""

from __future__ import annotations

from dataclasses import dataclass

from torpor.api.conditions import Reason
from torpor.domain.engineload import NOBODY, Asking
from torpor.domain.observation import Demand, Fault, PodSeen, Workload

LULL_MS = 5_000
"""Idle for less than this still shows as Serving: a busy endpoint's STATE must not flicker with every request."""


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """The part of the spec that scaling reads; durations in ms."""

    min_replicas: int = 0
    """The floor now: minReplicas, or what a schedule keeps."""
    max_replicas: int = 1
    in_flight_per_replica: int = 32
    keep_alive_ms: int | None = 120_000
    """How long idle replicas are kept; None: until somebody else needs their GPUs."""
    yields_ms: int | None = None
    """How long they must have been idle to leave for somebody who does; None: they do not."""
    kept_because: str = ""
    """How the adaptive policy found that time, in a sentence; empty for a fixed one."""
    ahead_ms: tuple[int, int] | None = None
    """From when until when (epoch ms) a replica is awake ahead of demand, in the gap that lasts now."""
    suspend: bool = False
    floor_because: str = ""
    """The schedule that sets the floor, in a sentence; empty for minReplicas."""


@dataclass(frozen=True, slots=True)
class Needed:
    """When so many replicas were last needed: the first entry is of one, the next of two (epoch ms)."""

    at_ms: tuple[int, ...] = ()

    def seen(self, need: int, replicas: int, now_ms: int) -> Needed:
        """Return the same with what is needed now; of replicas never looked at before the time begins now."""
        known = (*self.at_ms, *[now_ms] * (replicas - len(self.at_ms)))[: max(replicas, 0)]
        return Needed(tuple(now_ms if level < need else at for level, at in enumerate(known)))

    def last(self, replicas: int) -> int | None:
        """Return when so many were last needed; None if that was never looked at."""
        return self.at_ms[replicas - 1] if 0 < replicas <= len(self.at_ms) else None


@dataclass(frozen=True, slots=True)
class ScalingView:
    """What is seen of an endpoint when its replicas are decided."""

    workload: Workload
    pods: tuple[PodSeen, ...]
    demand: Demand
    fault: Fault | None = None
    """A reason why no replica can work now; None if nothing is known to be wrong."""
    last_activity_ms: int | None = None
    """Last byte of the last response as remembered across restarts of gateways."""
    needed: Needed = Needed()
    """When each number of replicas was last needed."""
    over_budget: str = ""
    """Why nothing may be woken before the next month, in a sentence; empty while it may."""
    engines: Asking = NOBODY
    """How many replicas the engines' own counters ask for."""
    needed_by: str = ""
    """Who waits for the GPUs that this endpoint's idle replicas hold; empty while nobody does."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be, why, and when to look again without any event.

    `replicas` None means: leave it as it is. `deadline_ms` is the instant at which an idle endpoint goes to sleep.
    """

    reason: Reason
    message: str
    replicas: int | None = None
    look_again_ms: int | None = None
    deadline_ms: int | None = None


def idle_since(view: ScalingView) -> int | None:
    """Return when the idle clock started (epoch ms), None while nothing is Ready.

    That is the last byte of the last response, or the newest replica's first Ready if that is later.
    """
    ready = [pod.first_ready_ms for pod in serving(view) if pod.first_ready_ms is not None]
    if not ready:
        return None
    instants = [max(ready), view.demand.last_byte_ms, view.last_activity_ms]
    return max(instant for instant in instants if instant is not None)


def serving(view: ScalingView) -> list[PodSeen]:
    """Return the pods that are there and not on their way out."""
    return [pod for pod in view.pods if pod.deleted_ms is None and pod.gone_ms is None]


def starting(view: ScalingView) -> bool:
    """Say whether a replica that is asked for is not Ready yet, or not any more."""
    pods = serving(view)
    return len(pods) < view.workload.replicas or any(
        pod.first_ready_ms is None or not pod.ready for pod in pods
    )


def asked(view: ScalingView) -> int:
    """Return how many requests wait or run, by those gateways that answer."""
    return view.demand.in_flight + view.demand.waiting
