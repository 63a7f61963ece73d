"""What to make of a wake that failed: name the fault, give the GPU back, and say when to try again.

A pod that cannot work holds a GPU and earns nothing, so the first proof is enough: the endpoint goes back to zero, its
`Ready` says why, and requests are answered at once with that reason. After a pause (doubling from 15 s to 10 min) the
next request may try again; a change of the spec ends the pause at once, and so does a replica that becomes Ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from torpor.api.conditions import Reason
from torpor.domain.observation import Fault, PodSeen

FIRST_PAUSE_MS = 15_000
LONGEST_PAUSE_MS = 600_000
CRASHES = 3
CAPACITY_TIMEOUT_MS = 180_000
"""How long a pod may stay unschedulable before the wake counts as failed (3 min)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failed wake. It is stored in the status, so a restarted controller does not forget the pause."""

    reason: str
    message: str
    count: int
    at_ms: int
    retry_at_ms: int
    generation: int
    pod: str = ""
    """uid of the pod that failed, so that one failure is counted once."""

    def holds(self, now_ms: int) -> bool:
        """Whether the pause still lasts."""
        return now_ms < self.retry_at_ms


def pause_ms(count: int) -> int:
    """Return how long to pause after the *count*-th failure in a row (15 s, 30 s, … 10 min)."""
    return min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(count - 1, 10))


def assess(
    previous: Failure | None, pods: tuple[PodSeen, ...], generation: int, now_ms: int
) -> Failure | None:
    """Return the failure that stands at *now_ms*, or None if nothing is known to be wrong with the engine.

    1 a replica is Ready            → forgotten
    2 a new pod has a fault         → counted, with a pause; all faults within that pause are the same failed wake
    3 a pod found no node for 3 min → counted, with a pause, in the same way
    4 the spec changed since        → forgotten: the next request tries again at once
    5 otherwise                     → what stood before
    """
    live = [pod for pod in pods if pod.gone_ms is None]
    if any(pod.ready and pod.deleted_ms is None for pod in live):
        return None
    if previous is not None and previous.generation != generation:
        previous = None
    for pod in live:
        fault = pod.fault or _no_capacity(pod, now_ms)
        if fault is None or pod.deleted_ms is not None or _restarts_by_itself(pod):
            continue
        if previous is not None and (previous.pod == pod.uid or previous.holds(now_ms)):
            return previous
        return _counted(previous, fault, pod.uid, generation, now_ms)
    return previous


def fault_of(failure: Failure | None, now_ms: int) -> Fault | None:
    """Return the fault that a failure means while its pause lasts."""
    if failure is None or not failure.holds(now_ms):
        return None
    return Fault(failure.reason, failure.message)


def capacity_limit_ms(pods: tuple[PodSeen, ...], now_ms: int) -> int | None:
    """Return the next instant at which a pod without a node counts as failed: no event tells of it."""
    live = (pod for pod in pods if pod.deleted_ms is None and pod.gone_ms is None)
    limits = (p.created_ms + CAPACITY_TIMEOUT_MS for p in live if p.unschedulable is not None)
    return min((limit for limit in limits if limit > now_ms), default=None)


def _restarts_by_itself(pod: PodSeen) -> bool:
    """A replica that has worked and crashed is restarted by the kubelet; only the third crash is a failed wake."""
    return pod.first_ready_ms is not None and pod.restarts < CRASHES


def _no_capacity(pod: PodSeen, now_ms: int) -> Fault | None:
    if pod.unschedulable is None or now_ms - pod.created_ms < CAPACITY_TIMEOUT_MS:
        return None
    waited = (now_ms - pod.created_ms) // 1000
    return Fault(
        Reason.UNSCHEDULABLE, f"no node took it for {waited} s (limit 180 s): {pod.unschedulable}"
    )


def _counted(
    previous: Failure | None, fault: Fault, uid: str, generation: int, now_ms: int
) -> Failure:
    count = (previous.count if previous else 0) + 1
    return Failure(
        reason=fault.reason,
        message=fault.message,
        count=count,
        at_ms=now_ms,
        retry_at_ms=now_ms + pause_ms(count),
        generation=generation,
        pod=uid,
    )
