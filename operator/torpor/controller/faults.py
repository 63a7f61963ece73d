"""Why a pod cannot work, read from its status: one sentence that names the thing and what it said.

Only proofs count. A container that is being created, or an image that is being pulled, is no fault; a container that
has ended before it was ever ready is, and so is an image that the registry refused.
"""

from __future__ import annotations

import json
from typing import Any, Final

from torpor.api.conditions import Reason
from torpor.domain.observation import Fault
from torpor.manifests import names

Json = dict[str, Any]

NOT_PULLED: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_PASSING = (
    "failed to sync",
    "context deadline exceeded",
    "failed to reserve container name",
    "failed to create subPath directory",
)
"""What the kubelet says of a container that it could not create *yet*: its cache of Secrets was not filled in time
(seen when the last pod with that Secret ends as the next one starts), containerd was slow, or another pod made the
same folder of a volume in that instant (kubernetes issue 94198). It tries again."""
_REFERENCES = ("secret", "configmap", "couldn't find key")
_MEMORY = (
    "out of memory",
    "no available memory for the cache blocks",
    "larger than the available kv cache memory",
    "less than desired gpu memory utilization",
)
_LONGEST = 400


def fault_of(pod: Json) -> Fault | None:
    """Return the first proof that the pod cannot work, or None."""
    status = pod.get("status") or {}
    for container in [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]:
        if container.get("name") == names.COMPANION_CONTAINER:
            continue  # it tends to caches: without it the engine works as well
        fault = _container_fault(container)
        if fault is not None:
            return fault
    return None


def termination_message(container: Json) -> Json:
    """Return the JSON that `torpor prewarm` left when it ended; empty if it left none."""
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        try:
            found = json.loads((state.get("terminated") or {}).get("message") or "")
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def is_passing(said: str) -> bool:
    """Return whether the kubelet's words tell of a delay that it gets over by itself."""
    return any(words in said for words in _PASSING)


def uncreated_weights(said: str) -> Reason:
    """Return why the kubelet cannot create a container that brings weights: most often what it refers to is missing."""
    if any(words in said.lower() for words in _REFERENCES):
        return Reason.WEIGHTS_SECRET_NOT_FOUND
    return Reason.WEIGHTS_INTERNAL


def _container_fault(container: Json) -> Fault | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    why = waiting.get("reason", "")
    said = _short(waiting.get("message") or "")
    if why in NOT_PULLED:
        return Fault(
            Reason.IMAGE_PULL_FAILED,
            f"image {container.get('image')} cannot be pulled: {said or why}",
        )
    if why in _CONFIG and not is_passing(said):
        reason = (
            uncreated_weights(said)
            if container["name"] == names.WEIGHTS_CONTAINER
            else Reason.ENGINE_CRASHED
        )
        return Fault(reason, f"container {container['name']} cannot be created: {said or why}")
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if not ended or (ended.get("exitCode") == 0 and why != "CrashLoopBackOff"):
        return None
    if container["name"] == names.WEIGHTS_CONTAINER:
        return _weights_fault(container)
    return _ended_engine(ended)


def _weights_fault(container: Json) -> Fault:
    left = termination_message(container)
    reason = Reason.of(str(left.get("reason", Reason.WEIGHTS_INTERNAL)))
    return Fault(
        reason,
        str(left.get("message") or "the init container that brings the weights failed"),
        bool(left.get("retryable", True)),
    )


def engine_fault(said: str, words: str = "", how: str = "") -> Fault:
    """Return the fault of an engine that ended before it was ready.

    Args:
        said: The line to show.
        words: All that is known of its log; tells an engine without memory from any other crash.
        how: Its exit code, in words.
    """
    if any(mark in (words or said).lower() for mark in _MEMORY):
        return Fault(Reason.ENGINE_OUT_OF_MEMORY, f"the engine ran out of memory at start: {said}")
    return Fault(Reason.ENGINE_CRASHED, f"the engine ended {how}before it was ready: {said}")


def _ended_engine(ended: Json) -> Fault:
    why = ended.get("reason", "Error")
    if why == "OOMKilled":
        return Fault(
            Reason.ENGINE_OUT_OF_MEMORY,
            "the engine was killed: it used more main memory than its limit",
        )
    words = str(ended.get("message") or "")
    return engine_fault(
        _telling_line(words) or why, words, f"with exit code {ended.get('exitCode')} "
    )


def _telling_line(log: str) -> str:
    """The line that tells of missing memory, wherever it stands; else the last: logs of engines end with the error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    memory = [line for line in lines if any(mark in line.lower() for mark in _MEMORY)]
    return _short((memory or lines[-1:] or [""])[0])


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"
