"""Prewarm Jobs as the domain sees them: how they stand, and what their pods left in the termination log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torpor.api.conditions import Reason
from torpor.cluster.podtimes import epoch_ms as ms
from torpor.controller.faults import (
    NOT_PULLED,
    is_passing,
    termination_message,
    uncreated_weights,
)
from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, Progress
from torpor.manifests import names

Json = dict[str, Any]

POD_MADE_MS = 30_000
POD_PLACED_MS = 60_000
POD_STARTED_MS = 300_000
"""How long a pod may take to exist, to get a node, and to start there with torpor's image pulled."""
_STARTED = (None, ("", ""))


def jobs_seen(
    jobs: Iterable[Json],
    pods: Iterable[Json],
    now_ms: int,
    heard: Mapping[str, Progress] | None = None,
) -> tuple[JobSeen, ...]:
    """Return the prewarm Jobs with what their pods left behind; one that does not even start has failed.

    Args:
        jobs: The Jobs as the API server has them.
        pods: Their pods.
        now_ms: The instant of this pass.
        heard: How far the pods say they are, by pod uid.
    """
    by_job: dict[str, Json] = {}
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences") or ():
            by_job[owner["uid"]] = pod
    return tuple(
        _job_seen(job, by_job.get(job["metadata"]["uid"]), now_ms, heard or {}) for job in jobs
    )


def _job_seen(job: Json, pod: Json | None, now_ms: int, heard: Mapping[str, Progress]) -> JobSeen:
    notes = job["metadata"].get("annotations") or {}
    status = job.get("status") or {}
    ended = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    container: Json = next(iter((pod or {}).get("status", {}).get("containerStatuses") or ()), {})
    left = termination_message(container)
    over = "Complete" in ended or "Failed" in ended  # its pod may be gone; it started all the same
    stalled_ms, why = _STARTED if over else _not_started(job, pod, container)
    stuck = _stuck(container) or (why if stalled_ms is not None and now_ms >= stalled_ms else None)
    kind = job_kind(job)
    state, found = JobState.RUNNING, str(left.get("hash") or notes.get(names.WEIGHTS_HASH, ""))
    pulled = kind is JobKind.IMAGE and ("Complete" in ended or bool(container.get("imageID")))
    state_said = container.get("state") or {}
    silent = pod is not None and not left and "terminated" not in state_said
    if pulled or (
        "Complete" in ended and found and not silent
    ):  # else its last words are still to come
        state = JobState.SUCCEEDED
    elif "Failed" in ended or stuck:
        state = JobState.FAILED
    finished = ended.get("Complete") or ended.get("Failed") or {}
    began = ms((pod or job)["metadata"].get("creationTimestamp")) or 0
    return JobSeen(
        kind=kind,
        spec=notes.get(names.WEIGHTS_SPEC, ""),
        state=state,
        attempt=int(notes.get(names.ATTEMPT, "1")),
        node=notes.get(names.PREWARM_NODE, ""),
        hash=found,
        bytes=int(left.get("bytes") or 0),
        files=int(left.get("files") or 0),
        verified=str(left.get("verified") or ""),
        bytes_per_second=int(left.get("bytesPerSecond") or 0),
        finished_ms=ms(finished.get("lastTransitionTime")) or began,
        reason=stuck[0] if stuck else str(left.get("reason") or "WeightsInternal"),
        message=stuck[1] if stuck else str(left.get("message") or _unsaid(finished)),
        retryable=bool(left.get("retryable", True)),
        stalls_ms=stalled_ms if state is JobState.RUNNING else None,
        created_ms=ms(job["metadata"].get("creationTimestamp")) or 0,
        parts=_words(left.get("parts")),
        sources=_words(left.get("sources")),
        commits=_words(left.get("commits")),
        lora_rank=int(left.get("loraRank") or 0),
        evicted=_words(left.get("evicted")),
        progress=heard.get((pod or {}).get("metadata", {}).get("uid", "")),
        uid=job["metadata"]["uid"],
        name=job["metadata"]["name"],
        route=_route(notes.get(names.WEIGHTS_ROUTE, "")),
        arrived_bytes=_arrived(left),
    )


def _route(note: str) -> tuple[str, str] | None:
    source, _, target = note.partition(" ")
    return (source, target) if source and target else None


def _arrived(left: Json) -> int | None:
    """Bytes that came over the network, as the pod's last words say; None if they do not."""
    if "arrivedBytes" in left:
        return int(left["arrivedBytes"])
    return 0 if left.get("reason") == "Hit" else None


def job_kind(job: Json) -> JobKind:
    """Return what a Job is for."""
    notes = job["metadata"].get("annotations") or {}
    return JobKind(notes.get(names.PREWARM_KIND, JobKind.CHECK))


def _words(said: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in said) if isinstance(said, list) else ()


def _stuck(container: Json) -> tuple[str, str] | None:
    """A container that the kubelet cannot even create: the Secret is missing, or torpor's own image is."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    why, said = waiting.get("reason", ""), str(waiting.get("message") or "")
    if why == "CreateContainerConfigError" and not is_passing(said):
        reason = uncreated_weights(said)
        missing = reason == Reason.WEIGHTS_SECRET_NOT_FOUND
        what = "the credentials cannot be read" if missing else "the container cannot be created"
        return reason, f"{what}: {said}"
    if why in NOT_PULLED:
        return (
            "ImagePullFailed",
            f"image {container.get('image')} cannot be pulled: {said or why}",
        )
    return None


def _not_started(
    job: Json, pod: Json | None, container: Json
) -> tuple[int | None, tuple[str, str]]:
    """Return when a Job that does not start counts as failed, and why; None once its container has started."""
    name = job["metadata"]["name"]
    made = ms(((pod or job)["metadata"]).get("creationTimestamp")) or 0
    if pod is None:
        words = f"no pod of Job {name} was made for {POD_MADE_MS // 1000} s; a quota or the namespace's Pod Security"
        return made + POD_MADE_MS, (
            Reason.DEPLOYMENT_REFUSED,
            f"{words} may refuse it: kubectl describe job {name}",
        )
    state = container.get("state") or {}
    if "running" in state or "terminated" in state:
        return _STARTED
    node = (pod.get("spec") or {}).get("nodeName")
    if node and job_kind(job) is JobKind.IMAGE:
        return (
            _STARTED  # being created is what a pull looks like; the Job has a deadline of its own
        )
    if node:
        words = f"node {node} has not started pod {pod['metadata']['name']} for {POD_STARTED_MS // 1000} s"
        return made + POD_STARTED_MS, (Reason.WEIGHTS_INTERNAL, words)
    conditions = (pod.get("status") or {}).get("conditions") or ()
    said = next((c.get("message") for c in conditions if c["type"] == "PodScheduled"), None)
    words = (
        f"no node took the prewarm pod for {POD_PLACED_MS // 1000} s: {said or 'no reason given'}"
    )
    return made + POD_PLACED_MS, (Reason.UNSCHEDULABLE, words)


def _unsaid(finished: Json) -> str:
    return str(finished.get("message") or "the prewarm pod ended without saying why")
