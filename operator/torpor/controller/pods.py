"""Kubernetes' pods as the domain sees them: the timestamps that money is counted by, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torpor.cluster.podtimes import PodTimes, has_ended, read_times
from torpor.cluster.podtimes import epoch_ms as ms
from torpor.controller.faults import fault_of, termination_message
from torpor.domain.observation import PodSeen, earliest
from torpor.manifests import names

Json = dict[str, Any]


def pod_seen(pod: Json, before: PodTimes | None = None, gone_ms: int | None = None) -> PodSeen:
    """Return what a pod says of itself.

    Args:
        pod: The object as read from the API server.
        before: What earlier states of the object said; the first Ready and the first deletion count.
        gone_ms: When its deletion was seen to complete; a pod that has ended counts as gone although its object stays,
            since nothing deletes an evicted pod and the replica set has replaced it long ago.
    """
    times = merged(before, read_times(pod))
    if gone_ms is None and has_ended(pod):
        gone_ms = times.finished_ms
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    labels = metadata.get("labels") or {}
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True" and not metadata.get("deletionTimestamp")
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
        scheduled_ms=times.scheduled_ms,
        ready=is_ready,
        first_ready_ms=times.ready_ms,
        deleted_ms=times.deleted_ms,
        grace_seconds=int(metadata.get("deletionGracePeriodSeconds") or 0),
        finished_ms=times.finished_ms,
        gone_ms=gone_ms,
        restarts=max(
            (
                c.get("restartCount", 0)
                for c in status.get("containerStatuses") or ()
                if c.get("name") != names.COMPANION_CONTAINER
            ),
            default=0,
        ),
        fault=fault_of(pod),
        unschedulable=_unschedulable(scheduled),
        weights_done_ms=_init_done_ms(status),
        weights_bytes=_fetched(status),
        engine_started_ms=_started_ms(status),
        spare_ms=_spare_ms(metadata),
    )


def is_pending(pod: Json) -> bool:
    """Say whether the scheduler finds no node for a pod."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "PodScheduled" and _unschedulable(c) is not None for c in conditions)


def merged(before: PodTimes | None, now: PodTimes) -> PodTimes:
    """Return the instants known after one more state of the object was seen."""
    if before is None:
        return now
    return PodTimes(
        scheduled_ms=earliest(before.scheduled_ms, now.scheduled_ms),
        ready_ms=earliest(before.ready_ms, now.ready_ms),
        deleted_ms=earliest(before.deleted_ms, now.deleted_ms),
        finished_ms=now.finished_ms if before.finished_ms is None else before.finished_ms,
    )


def _spare_ms(metadata: Json) -> int | None:
    text = (metadata.get("annotations") or {}).get(names.SPARE_ANNOTATION, "")
    return int(text) if text.isdecimal() else None


def _gpus(labels: Json) -> int:
    text = labels.get(names.GPU_COUNT_LABEL, "")
    return int(text) if text.isdecimal() else 0


def _unschedulable(scheduled: Json) -> str | None:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message") or "no node fits")
    return None


def _init_done_ms(status: Json) -> int | None:
    return _first(
        ms((s.get("state") or {}).get("terminated", {}).get("finishedAt"))
        for s in status.get("initContainerStatuses") or ()
    )


def _fetched(status: Json) -> int:
    """Bytes that the pod's own container has brought; 0 if a Job had, or while it has not ended."""
    for container in status.get("initContainerStatuses") or ():
        if container.get("name") == names.WEIGHTS_CONTAINER:
            return int(termination_message(container).get("arrivedBytes") or 0)
    return 0


def _started_ms(status: Json) -> int | None:
    return _first(
        ms((s.get("state") or {}).get("running", {}).get("startedAt"))
        for s in status.get("containerStatuses") or ()
        if s.get("name") != names.COMPANION_CONTAINER
    )


def _first(instants: Iterable[int | None]) -> int | None:
    return next((instant for instant in instants if instant is not None), None)
