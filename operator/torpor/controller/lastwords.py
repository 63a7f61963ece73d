"""What a crashed engine said before it died, read from its log: vLLM ends with "see root cause above".

The kubelet keeps only the last 2 KB of a log in the pod's status, and the root cause of vLLM's start-up failures stands
4 to 5 KB above its end (measured on 0.32). So the log itself is read, once per failed pod.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from torpor.api.conditions import Reason
from torpor.cluster.objects import Objects
from torpor.controller.faults import engine_fault
from torpor.controller.seen import Key
from torpor.domain.observation import PodSeen
from torpor.errors import TorporError

LOG_BYTES = 65_536
_ERROR = re.compile(r"\b(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): \S")
_PREFIX = re.compile(r"^(?:\([^)]*\)\s*)?(?:ERROR\s+\S+ \S+ \[[^\]]*\]\s*)?")


def root_cause(log: str) -> str | None:
    """Return the line that names the first error of the engine's core, or of the log if the core named none."""
    errors = [line.strip() for line in log.splitlines() if _ERROR.search(line)]
    core = [line for line in errors if "EngineCore" in line]
    return _PREFIX.sub("", (core or errors)[0]) if errors else None


async def explained(
    objects: Objects, key: Key, pods: Sequence[PodSeen], known_uid: str
) -> tuple[PodSeen, ...]:
    """Return the pods, crashed ones with the root cause from their log; a failure that is known is not read again."""
    return tuple(
        [
            await _explain(objects, key, pod) if pod.uid != known_uid and _crashed(pod) else pod
            for pod in pods
        ]
    )


def _crashed(pod: PodSeen) -> bool:
    return (
        pod.gone_ms is None
        and pod.first_ready_ms is None
        and pod.fault is not None
        and Reason.of(pod.fault.reason) is Reason.ENGINE_CRASHED
    )


async def _explain(objects: Objects, key: Key, pod: PodSeen) -> PodSeen:
    try:
        log = await objects.read_log(key[0], pod.name, LOG_BYTES, previous=pod.restarts > 0)
    except TorporError:
        return pod  # the last words in the pod's status have to do
    cause = root_cause(log)
    if cause is None or pod.fault is None:
        return pod
    return replace(pod, fault=engine_fault(cause[:400], log))
