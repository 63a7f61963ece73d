"""An engine pod as the API server shows it in each state of its life (recorded on Kubernetes 1.34, shortened)."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
DAY = datetime(2026, 11, 23, tzinfo=UTC)


def stamp(text: str) -> str:
    return f"2026-11-23T{text}Z"


def at(text: str) -> int:
    """The instant `HH:MM:SS` of that day, in epoch ms."""
    return int(datetime.fromisoformat(stamp(text)).timestamp()) * 1000


def condition(kind: str, status: str, since: str, **more: str) -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": stamp(since), **more}


def container(name: str, state: Json, **more: Any) -> Json:
    base = {"name": name, "image": f"example.com/{name}:1", "restartCount": 0, "state": state}
    return base | more


def ended(when: str, code: int = 0, reason: str = "Completed", message: str = "") -> Json:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": stamp("21:00:03"),
            "finishedAt": stamp(when),
        }
    }


RUNNING = {"running": {"startedAt": stamp("21:00:06")}}
WAITING = {"waiting": {"reason": "PodInitializing"}}
FETCHED = container("weights", ended("21:00:05"))

PENDING: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "tiny-6d5f8c9b7-x2x4z",
        "namespace": "ml",
        "uid": "pod-1",
        "creationTimestamp": stamp("21:00:00"),
        "labels": {
            "app.kubernetes.io/part-of": "torpor",
            "torpor.dev/endpoint": "tiny",
            "torpor.dev/component": "engine",
            "torpor.dev/gpu-class": "l40s",
            "torpor.dev/gpus": "2",
            "torpor.dev/template-hash": "0123456789",
        },
    },
    "spec": {"containers": [{"name": "engine"}]},
    "status": {"phase": "Pending"},
}


def pod(status: Json, node: str | None = "node-1", **metadata: Any) -> Json:
    made = copy.deepcopy(PENDING)
    made["metadata"] |= metadata
    made["status"] = copy.deepcopy(status)
    if node:
        made["spec"]["nodeName"] = node
    return made


_SCHEDULED = condition("PodScheduled", "True", "21:00:01")
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
UNSCHEDULABLE = pod(
    {
        "phase": "Pending",
        "conditions": [
            condition("PodScheduled", "False", "21:00:01", reason="Unschedulable", message=NO_GPU)
        ],
    },
    node=None,
)
SCHEDULED = pod({"phase": "Pending", "conditions": [_SCHEDULED]})
FETCHING = pod(
    {
        "phase": "Pending",
        "conditions": [_SCHEDULED, condition("Ready", "False", "21:00:01")],
        "podIP": "10.0.0.7",
        "initContainerStatuses": [
            container("weights", {"running": {"startedAt": stamp("21:00:03")}})
        ],
        "containerStatuses": [container("engine", WAITING)],
    }
)
LOADING = pod(
    {
        "phase": "Running",
        "conditions": [_SCHEDULED, condition("Ready", "False", "21:00:01")],
        "podIP": "10.0.0.7",
        "initContainerStatuses": [FETCHED],
        "containerStatuses": [container("engine", RUNNING)],
    }
)
_READY_STATUS = LOADING["status"] | {
    "conditions": [_SCHEDULED, condition("Ready", "True", "21:00:30")]
}
READY = pod(_READY_STATUS)
READY_AGAIN = pod(
    _READY_STATUS | {"conditions": [_SCHEDULED, condition("Ready", "True", "21:20:00")]}
)
LEAVING: Json = {"deletionTimestamp": stamp("21:31:30"), "deletionGracePeriodSeconds": 90}
TERMINATING = pod(_READY_STATUS, **LEAVING)
_GONE_NOW: Json = {"deletionTimestamp": stamp("21:30:09"), "deletionGracePeriodSeconds": 0}
TERMINATED = pod(
    {
        "phase": "Running",
        "conditions": [_SCHEDULED, condition("Ready", "False", "21:30:08")],
        "initContainerStatuses": [FETCHED],
        "containerStatuses": [container("engine", ended("21:30:08", 0))],
    },
    **_GONE_NOW,
)
EVICTED = pod(
    {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: ephemeral-storage.",
        "conditions": [_SCHEDULED, condition("Ready", "False", "21:10:00")],
        "initContainerStatuses": [FETCHED],
        "containerStatuses": [container("engine", ended("21:10:07", 137, "Error"))],
    }
)
REFUSED_BY_NODE = pod(
    {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": "Allocate failed due to no healthy devices present; cannot allocate",
        "startTime": stamp("21:00:02"),
        "conditions": [_SCHEDULED],
    }
)
