"""Engine pods as the gateway reads them: where to send requests, and what the meter must not forget.

The controller may be dead while a pod comes and goes. So every gateway remembers the timestamps of the pods it saw, for
ten minutes after they are gone, and tells them in its demand report.
"""

from __future__ import annotations

from typing import Any

from torpor.cluster.podtimes import read_times
from torpor.domain.observation import earliest
from torpor.domain.waitroom import PodFacts
from torpor.manifests.names import (
    ENDPOINT_LABEL,
    ENDPOINT_UID_LABEL,
    ENGINE_CONTAINER,
    ENGINE_PORT,
    ENGINE_PORT_NAME,
    GPU_CLASS_LABEL,
    GPU_COUNT_LABEL,
    SPARE_ANNOTATION,
)

Json = dict[str, Any]


def read_key(obj: Json) -> str | None:
    """Return `namespace/name` of the endpoint that an object belongs to, by its label."""
    metadata = obj["metadata"]
    endpoint = (metadata.get("labels") or {}).get(ENDPOINT_LABEL)
    return f"{metadata['namespace']}/{endpoint}" if endpoint else None


def read_owner(pod: Json) -> str | None:
    """Return the uid of the endpoint that *pod* was made for; None if its label does not say."""
    return (pod["metadata"].get("labels") or {}).get(ENDPOINT_UID_LABEL) or None


def read_facts(pod: Json) -> PodFacts:
    """Return what decides whether requests go to *pod*."""
    status = pod.get("status") or {}
    phase = status.get("phase")
    engine: Json = next(
        (s for s in status.get("containerStatuses") or () if s.get("name") == ENGINE_CONTAINER), {}
    )
    ip = status.get("podIP")
    return PodFacts(
        uid=pod["metadata"]["uid"],
        address=_join(ip, _read_port(pod)) if ip else None,
        ready=_condition(status, "Ready").get("status") == "True",
        leaving="deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed"),
        spare=SPARE_ANNOTATION in (pod["metadata"].get("annotations") or {}),
        incarnation=int(engine.get("restartCount") or 0),
    )


def read_sighting(pod: Json, before: Json | None, gone_ms: int | None = None) -> Json:
    """Return what the meter needs of *pod*; *before* is the last sighting, *gone_ms* when it was found deleted."""
    metadata, times, earlier = pod["metadata"], read_times(pod), before or {}
    labels = metadata.get("labels") or {}
    gpus = str(labels.get(GPU_COUNT_LABEL) or "")
    return {
        "name": metadata["name"],
        "gpuClass": labels.get(GPU_CLASS_LABEL),
        "gpus": int(gpus) if gpus.isdecimal() else None,
        "scheduledAtMs": earliest(earlier.get("scheduledAtMs"), times.scheduled_ms),
        "firstReadyAtMs": earliest(earlier.get("firstReadyAtMs"), times.ready_ms),
        "deletedAtMs": earliest(earlier.get("deletedAtMs"), times.deleted_ms),
        "finishedAtMs": times.finished_ms,
        "goneAtMs": gone_ms,
    }


def _condition(status: Json, kind: str) -> Json:
    found: Json = next((c for c in status.get("conditions") or () if c.get("type") == kind), {})
    return found


def _read_port(pod: Json) -> int:
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == ENGINE_CONTAINER:
            for port in container.get("ports") or ():
                if port.get("name") == ENGINE_PORT_NAME:
                    return int(port["containerPort"])
    return ENGINE_PORT


def _join(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
