"""Gather what one pass may look at: Kubernetes' objects become the domain's values here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass
from torpor.cluster.podtimes import epoch_ms as ms
from torpor.controller.faults import termination_message
from torpor.domain.money import micro
from torpor.domain.observation import Workload
from torpor.domain.placement import GPUClassView, NodeView, PlacementSpec, Rejected
from torpor.domain.prewarming import JobKind, JobSeen, JobState
from torpor.domain.scaling import ScalingSpec
from torpor.manifests import names

Json = dict[str, Any]


def scaling_spec(endpoint: InferenceEndpoint) -> ScalingSpec:
    """Return the part of the spec that scaling reads."""
    scaling = endpoint.spec.scaling
    return ScalingSpec(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        in_flight_per_replica=scaling.in_flight_per_replica,
        keep_alive_ms=int(scaling.keep_alive.after.total_seconds() * 1000),
        suspend=scaling.suspend,
    )


def placement_spec(endpoint: InferenceEndpoint) -> PlacementSpec:
    """Return the part of the spec that placement reads."""
    placement = endpoint.spec.placement
    residency = placement.residency
    return PlacementSpec(
        classes=tuple(placement.classes),
        ordered=bool(placement.ordered),
        gpus=None if placement.gpus == "auto" else int(placement.gpus),
        jurisdictions=tuple(residency.jurisdictions) if residency else (),
        regions=tuple(residency.regions) if residency else (),
        capacity_types=tuple(kind.value for kind in placement.capacity_types),
        max_price_micro=micro(placement.max_price_per_hour),
    )


def class_view(obj: Json) -> GPUClassView:
    """Return a GPUClass as placement sees it."""
    found = GPUClass.model_validate(obj)
    spec = found.spec
    return GPUClassView(
        name=found.name,
        resource=spec.resource_name,
        vram=spec.memory,
        gpus_per_node=spec.gpus_per_node,
        node_selector=tuple(sorted(spec.node_selector.items())),
        region=spec.region,
        jurisdiction=spec.jurisdiction,
        capacity_type=spec.capacity_type.value,
        micro_per_hour=micro(spec.price.per_gpu_hour) if spec.price else None,
        currency=spec.price.currency if spec.price else "USD",
        tolerations=tuple(t.to_dict() for t in spec.tolerations),
    )


def class_views(objects: Iterable[Json]) -> tuple[list[GPUClassView], list[Rejected]]:
    """Return the GPU classes that can be read, and those that cannot with the reason; one must not hide the others."""
    views, unread = list[GPUClassView](), list[Rejected]()
    for obj in objects:
        try:
            views.append(class_view(obj))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            unread.append(
                Rejected(obj["metadata"]["name"], f"cannot be read: {where}: {first['msg']}")
            )
    return views, unread


def node_view(obj: Json) -> NodeView:
    """Return a node as placement sees it; allocatable quantities that are no whole number are left out."""
    allocatable = (obj.get("status") or {}).get("allocatable") or {}
    conditions = {c["type"]: c["status"] for c in (obj.get("status") or {}).get("conditions") or ()}
    cordoned = bool((obj.get("spec") or {}).get("unschedulable"))
    return NodeView(
        name=obj["metadata"]["name"],
        labels=frozenset((obj["metadata"].get("labels") or {}).items()),
        allocatable=tuple((k, int(v)) for k, v in allocatable.items() if str(v).isdecimal()),
        schedulable=not cordoned and conditions.get("Ready") == "True",
    )


def workload_of(deployment: Json | None) -> Workload:
    """Return the Deployment as scaling sees it."""
    if deployment is None:
        return Workload()
    metadata = deployment["metadata"]
    template = deployment["spec"]["template"]["metadata"].get("labels") or {}
    return Workload(
        exists=True,
        replicas=int(deployment["spec"].get("replicas") or 0),
        resource_version=metadata["resourceVersion"],
        template_hash=template.get(names.TEMPLATE_HASH, ""),
    )


def jobs_seen(jobs: Iterable[Json], pods: Iterable[Json]) -> tuple[JobSeen, ...]:
    """Return the prewarm Jobs with what their pods left behind."""
    by_job: dict[str, Json] = {}
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences") or ():
            by_job[owner["uid"]] = pod
    return tuple(_job_seen(job, by_job.get(job["metadata"]["uid"])) for job in jobs)


def _job_seen(job: Json, pod: Json | None) -> JobSeen:
    notes = job["metadata"].get("annotations") or {}
    status = job.get("status") or {}
    ended = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    container: Json = next(iter((pod or {}).get("status", {}).get("containerStatuses") or ()), {})
    left = termination_message(container)
    stuck = _stuck(container)
    state = JobState.RUNNING
    if "Complete" in ended:
        state = JobState.SUCCEEDED
    elif "Failed" in ended or stuck:
        state = JobState.FAILED
    finished = ended.get("Complete") or ended.get("Failed") or {}
    began = ms((pod or job)["metadata"].get("creationTimestamp")) or 0
    return JobSeen(
        kind=JobKind(notes.get(names.PREWARM_KIND, JobKind.CHECK)),
        spec=notes.get(names.WEIGHTS_SPEC, ""),
        state=state,
        attempt=int(notes.get(names.ATTEMPT, "1")),
        node=notes.get(names.PREWARM_NODE, ""),
        hash=str(left.get("hash") or notes.get(names.WEIGHTS_HASH, "")),
        bytes=int(left.get("bytes") or 0),
        files=int(left.get("files") or 0),
        verified=str(left.get("verified") or ""),
        bytes_per_second=int(left.get("bytesPerSecond") or 0),
        finished_ms=ms(finished.get("lastTransitionTime")) or began,
        reason=stuck[0] if stuck else str(left.get("reason") or "WeightsInternal"),
        message=stuck[1] if stuck else str(left.get("message") or _unsaid(finished)),
        retryable=bool(left.get("retryable", True)),
    )


def _stuck(container: Json) -> tuple[str, str] | None:
    """A container that the kubelet cannot even create: the Secret is missing, or torpor's own image is."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    why, said = waiting.get("reason", ""), str(waiting.get("message") or "")
    if why == "CreateContainerConfigError":
        return "WeightsSecretNotFound", f"the credentials cannot be read: {said}"
    if why in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        return (
            "ImagePullFailed",
            f"torpor's own image {container.get('image')} cannot be pulled: {said or why}",
        )
    return None


def _unsaid(finished: Json) -> str:
    return str(finished.get("message") or "the prewarm pod ended without saying why")
