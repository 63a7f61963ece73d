"""The instants of a pod that money is counted by, read in one place: the controller and every gateway must agree.

All are epoch milliseconds; Kubernetes writes whole seconds. Two of them are rewritten by later events (Ready flaps; the
kubelet's last step deletes the object again with a grace of zero), so whoever watches keeps the first it saw
(`torpor.domain.observation.earliest`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

Json = dict[str, Any]


class PodTimes(NamedTuple):
    """What one state of the object says; None for what it does not say."""

    scheduled_ms: int | None
    ready_ms: int | None
    """When it became Ready, if it is."""
    deleted_ms: int | None
    """When its deletion was asked for: deletionTimestamp less its grace period."""
    finished_ms: int | None
    """When its last container ended, once all have and none will be started again."""


def read_times(pod: Json) -> PodTimes:
    """Return the instants that this state of *pod* tells."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    return PodTimes(
        scheduled_ms=_since(status, "PodScheduled"),
        ready_ms=_since(status, "Ready"),
        deleted_ms=_deleted_ms(metadata),
        finished_ms=_finished_ms(pod),
    )


def epoch_ms(stamp: Any) -> int | None:
    """Return an RFC 3339 instant as epoch milliseconds; None for None or an empty string."""
    return round(datetime.fromisoformat(str(stamp)).timestamp() * 1000) if stamp else None


def _since(status: Json, kind: str) -> int | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            return epoch_ms(condition.get("lastTransitionTime"))
    return None


def _deleted_ms(metadata: Json) -> int | None:
    deadline = epoch_ms(metadata.get("deletionTimestamp"))
    if deadline is None:
        return None
    return deadline - 1000 * int(metadata.get("deletionGracePeriodSeconds") or 0)


def has_ended(pod: Json) -> bool:
    """Whether the pod is over for good although its object may stay: evicted, refused by its node, or completed."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _finished_ms(pod: Json) -> int | None:
    metadata, status, ended = pod["metadata"], pod.get("status") or {}, has_ended(pod)
    if not ended and not metadata.get("deletionTimestamp"):
        return None
    states = [container.get("state") or {} for container in status.get("containerStatuses") or ()]
    if any("running" in state for state in states):
        return None
    if not ended and (not states or any("terminated" not in state for state in states)):
        return None
    inits = [
        container.get("state") or {} for container in status.get("initContainerStatuses") or ()
    ]
    ends = (epoch_ms((s.get("terminated") or {}).get("finishedAt")) for s in [*states, *inits])
    last = max((end for end in ends if end is not None), default=None)
    return _last_told_ms(metadata, status) if last is None and ended else last


def _last_told_ms(metadata: Json, status: Json) -> int | None:
    """The end of a pod that never had a container, refused by its node or evicted from the queue: its last word."""
    stamps = [c.get("lastTransitionTime") for c in status.get("conditions") or ()]
    told = (
        epoch_ms(s) for s in [*stamps, status.get("startTime"), metadata.get("creationTimestamp")]
    )
    return max((instant for instant in told if instant is not None), default=None)
