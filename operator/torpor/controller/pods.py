"""Kubernetes' pods as the domain sees them: the timestamps that money is counted by, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torpor.controller.faults import fault_of
from torpor.controller.instants import ms
from torpor.domain.observation import PodSeen
from torpor.manifests import names

Json = dict[str, Any]


def pod_seen(pod: Json, first_ready_ms: int | None = None, gone_ms: int | None = None) -> PodSeen:
    """Return what a pod says of itself.

    Args:
        pod: The object as read from the API server.
        first_ready_ms: Its first Ready as remembered; the pod's own field is rewritten by every flap.
        gone_ms: When its deletion was seen to complete.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    labels = metadata.get("labels") or {}
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True" and not metadata.get("deletionTimestamp")
    ready_ms = ms(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None
    firsts = [instant for instant in (first_ready_ms, ready_ms) if instant is not None]
    scheduled = conditions.get("PodScheduled", {})
    return PodSeen(
        uid=metadata["uid"],
        name=metadata["name"],
        gpus=_gpus(labels),
        gpu_class=labels.get(names.GPU_CLASS_LABEL, ""),
        node=(pod.get("spec") or {}).get("nodeName"),
        ip=status.get("podIP"),
        template_hash=labels.get(names.TEMPLATE_HASH, ""),
        created_ms=ms(metadata.get("creationTimestamp")) or 0,
        scheduled_ms=_transition(scheduled, "True"),
        ready=is_ready,
        first_ready_ms=min(firsts, default=None),
        deleted_ms=_deleted_ms(metadata),
        finished_ms=_finished_ms(metadata, status),
        gone_ms=gone_ms,
        restarts=max(
            (c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0
        ),
        fault=fault_of(pod),
        unschedulable=_unschedulable(scheduled),
        weights_done_ms=_init_done_ms(status),
        engine_started_ms=_started_ms(status),
    )


def _gpus(labels: Json) -> int:
    text = labels.get(names.GPU_COUNT_LABEL, "")
    return int(text) if text.isdecimal() else 0


def _transition(condition: Json, status: str) -> int | None:
    return ms(condition.get("lastTransitionTime")) if condition.get("status") == status else None


def _deleted_ms(metadata: Json) -> int | None:
    """When deletion was asked for: the API server stores that instant plus the grace period."""
    deadline = ms(metadata.get("deletionTimestamp"))
    if deadline is None:
        return None
    return deadline - 1000 * int(metadata.get("deletionGracePeriodSeconds") or 0)


def _finished_ms(metadata: Json, status: Json) -> int | None:
    """When the last container ended for good: only a pod that is being deleted, or has ended, has such an end."""
    ended = status.get("phase") in ("Succeeded", "Failed")
    if not ended and not metadata.get("deletionTimestamp"):
        return None
    states = [c.get("state") or {} for c in status.get("containerStatuses") or ()]
    if not states or any("terminated" not in state for state in states):
        return None
    inits = [c.get("state") or {} for c in status.get("initContainerStatuses") or ()]
    ends = (ms((s.get("terminated") or {}).get("finishedAt")) for s in [*states, *inits])
    return max((end for end in ends if end is not None), default=None)


def _unschedulable(scheduled: Json) -> str | None:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message") or "no node fits")
    return None


def _init_done_ms(status: Json) -> int | None:
    return _first(
        ms((s.get("state") or {}).get("terminated", {}).get("finishedAt"))
        for s in status.get("initContainerStatuses") or ()
    )


def _started_ms(status: Json) -> int | None:
    return _first(
        ms((s.get("state") or {}).get("running", {}).get("startedAt"))
        for s in status.get("containerStatuses") or ()
    )


def _first(instants: Iterable[int | None]) -> int | None:
    return next((instant for instant in instants if instant is not None), None)
