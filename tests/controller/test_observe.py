from __future__ import annotations

import json
from typing import Any

import pytest

from tests.controller.podstates import at, stamp
from tests.controller.stage import gpu_class, node
from torpor.api.endpoint import InferenceEndpoint
from torpor.controller import observe
from torpor.domain.observation import Workload
from torpor.domain.prewarming import JobKind, JobState
from torpor.domain.scaling import ScalingSpec
from torpor.manifests import names

Json = dict[str, Any]


def endpoint(**spec: Any) -> InferenceEndpoint:
    return InferenceEndpoint.model_validate(
        {"metadata": {"name": "tiny"}, "spec": {"model": {"source": "s3://models/tiny/"}} | spec}
    )


def test_what_scaling_reads_of_a_spec() -> None:
    assert observe.scaling_spec(endpoint()) == ScalingSpec()
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 4,
        "inFlightPerReplica": 8,
        "suspend": True,
        "keepAlive": {"policy": "fixed", "after": "90s"},
    }
    assert observe.scaling_spec(endpoint(scaling=scaling)) == ScalingSpec(1, 4, 8, 90_000, True)


def test_what_placement_reads_of_a_spec() -> None:
    assert observe.placement_spec(endpoint()).gpus is None
    placement = {
        "classes": ["l40s"],
        "ordered": True,
        "gpus": 2,
        "residency": {"jurisdictions": ["EU"], "regions": ["eu-central-1"]},
        "capacityTypes": ["spot"],
        "maxPricePerHour": "4.00",
    }
    spec = observe.placement_spec(endpoint(placement=placement))
    assert (spec.classes, spec.ordered, spec.gpus) == (("l40s",), True, 2)
    assert (spec.jurisdictions, spec.regions) == (("EU",), ("eu-central-1",))
    assert (spec.capacity_types, spec.max_price_micro) == (("spot",), 4_000_000)


def test_a_gpu_class_is_read_with_its_price() -> None:
    view = observe.class_view(gpu_class())
    assert (view.name, view.resource, view.vram) == ("l40s", "nvidia.com/gpu", 48 * 1024**3)
    assert (view.micro_per_hour, view.currency) == (1_800_000, "EUR")
    bare = gpu_class()
    del bare["spec"]["price"]
    assert observe.class_view(bare).micro_per_hour is None


@pytest.mark.parametrize(
    ("change", "schedulable"),
    [
        ({}, True),
        ({"spec": {"unschedulable": True}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
        ({"status": {}}, False),
        ({"status": None}, False),
    ],
    ids=["ready", "cordoned", "silent", "new", "without a status"],
)
def test_a_node_counts_only_while_it_is_ready_and_open(change: Json, schedulable: bool) -> None:
    view = observe.node_view(node() | change)
    assert view.schedulable is schedulable
    assert ("gpu", "l40s") in view.labels


def test_of_a_nodes_quantities_whole_numbers_are_kept() -> None:
    assert observe.node_view(node()).allocatable == (("nvidia.com/gpu", 8),)


def test_a_deployment_is_read_with_the_version_it_was_seen_at() -> None:
    labels = {names.TEMPLATE_HASH: "abc"}
    deployment = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": labels}}},
    }
    assert observe.workload_of(deployment) == Workload(True, 2, "7", "abc")
    deployment["spec"] = {"template": {"metadata": {}}}
    assert observe.workload_of(deployment) == Workload(True, 0, "7", "")
    assert observe.workload_of(None) == Workload()


def job(*conditions: Json) -> Json:
    notes = {
        names.PREWARM_KIND: "fetch",
        names.WEIGHTS_SPEC: "digest",
        names.ATTEMPT: "3",
        names.PREWARM_NODE: "node-1",
        names.WEIGHTS_HASH: "asked",
    }
    metadata = {"uid": "j1", "annotations": notes, "creationTimestamp": stamp("21:00:00")}
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


def pod(state: Json) -> Json:
    return {
        "metadata": {"ownerReferences": [{"uid": "j1"}], "creationTimestamp": stamp("21:00:01")},
        "status": {"containerStatuses": [{"name": "weights", "image": "t:1", "state": state}]},
    }


def done(kind: str, **more: str) -> Json:
    return {"type": kind, "status": "True", "lastTransitionTime": stamp("21:05:00"), **more}


def left(**words: Any) -> Json:
    return {"terminated": {"message": json.dumps(words)}}


def test_a_job_that_runs_is_told_by_its_notes() -> None:
    (seen,) = observe.jobs_seen([job()], [pod({"running": {}})])
    assert (seen.kind, seen.state, seen.spec) == (JobKind.FETCH, JobState.RUNNING, "digest")
    assert (seen.attempt, seen.node, seen.hash) == (3, "node-1", "asked")


def test_a_job_that_succeeded_is_told_by_its_pods_last_words() -> None:
    words = left(hash="h", bytes=16, files=3, verified="crc64nvme", bytesPerSecond=7)
    (seen,) = observe.jobs_seen([job(done("Complete"))], [pod(words)])
    assert (seen.state, seen.hash, seen.bytes, seen.files) == (JobState.SUCCEEDED, "h", 16, 3)
    assert (seen.verified, seen.bytes_per_second) == ("crc64nvme", 7)
    assert seen.finished_ms == at("21:05:00")


def test_a_job_that_failed_says_why_and_whether_to_try_again() -> None:
    words = left(reason="WeightsAccessDenied", message="wrong key", retryable=False)
    (seen,) = observe.jobs_seen([job(done("Failed"))], [pod(words)])
    assert seen.state is JobState.FAILED
    assert (seen.reason, seen.message, seen.retryable) == (
        "WeightsAccessDenied",
        "wrong key",
        False,
    )


def test_a_job_whose_pod_is_gone_says_what_the_job_says() -> None:
    failed = done("Failed", message="Job was active longer than specified deadline")
    (seen,) = observe.jobs_seen([job(failed)], [])
    assert (seen.state, seen.reason) == (JobState.FAILED, "WeightsInternal")
    assert seen.message == "Job was active longer than specified deadline"
    (mute,) = observe.jobs_seen([job(done("Failed"))], [])
    assert mute.message


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("CreateContainerConfigError", "WeightsSecretNotFound"),
        ("ImagePullBackOff", "ImagePullFailed"),
        ("ErrImageNeverPull", "ImagePullFailed"),
    ],
)
def test_a_pod_that_can_never_start_fails_its_job_at_once(why: str, reason: str) -> None:
    said = {"waiting": {"reason": why, "message": 'secret "s3" not found'}}
    (seen,) = observe.jobs_seen([job()], [pod(said)])
    assert (seen.state, seen.reason) == (JobState.FAILED, reason)
    assert 'secret "s3" not found' in seen.message
    assert seen.finished_ms == at("21:00:01")  # its pause counts from the pod's creation


def test_a_condition_that_is_not_true_says_nothing() -> None:
    (seen,) = observe.jobs_seen([job(done("Failed") | {"status": "False"})], [])
    assert seen.state is JobState.RUNNING
