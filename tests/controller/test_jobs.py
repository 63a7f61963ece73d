from __future__ import annotations

import json
from typing import Any

import pytest

from tests.controller.podstates import at, stamp
from torpor.controller.jobs import jobs_seen
from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState
from torpor.manifests import names

Json = dict[str, Any]
NOW = at("21:00:02")
LATER = at("21:30:00")
BEING_MADE = {"waiting": {"reason": "ContainerCreating"}}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient memory.",
}


def job(*conditions: Json) -> Json:
    notes = {
        names.PREWARM_KIND: "fetch",
        names.WEIGHTS_SPEC: "digest",
        names.ATTEMPT: "3",
        names.PREWARM_NODE: "node-1",
        names.WEIGHTS_HASH: "asked",
    }
    metadata = {"uid": "j1", "name": "tiny-fetch", "annotations": notes}
    metadata["creationTimestamp"] = stamp("21:00:00")
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


def pod(state: Json | None, node: str | None = "node-1", **status: Any) -> Json:
    container = {"name": "weights", "image": "t:1", "state": state}
    status |= {"containerStatuses": [container]} if state is not None else {}
    metadata = {
        "name": "tiny-fetch-x7",
        "ownerReferences": [{"uid": "j1"}],
        "creationTimestamp": stamp("21:00:01"),
    }
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def seen_jobs(jobs: list[Json], pods: list[Json], now_ms: int = NOW) -> tuple[JobSeen, ...]:
    return jobs_seen(jobs, pods, now_ms)


def done(kind: str, **more: str) -> Json:
    return {"type": kind, "status": "True", "lastTransitionTime": stamp("21:05:00"), **more}


def left(**words: Any) -> Json:
    return {"terminated": {"message": json.dumps(words)}}


def test_a_job_that_runs_is_told_by_its_notes() -> None:
    (seen,) = seen_jobs([job()], [pod({"running": {}})])
    assert (seen.kind, seen.state, seen.spec) == (JobKind.FETCH, JobState.RUNNING, "digest")
    assert (seen.attempt, seen.node, seen.hash) == (3, "node-1", "asked")


def test_a_job_that_succeeded_is_told_by_its_pods_last_words() -> None:
    words = left(hash="h", bytes=16, files=3, verified="crc64nvme", bytesPerSecond=7)
    (seen,) = seen_jobs([job(done("Complete"))], [pod(words)])
    assert (seen.state, seen.hash, seen.bytes, seen.files) == (JobState.SUCCEEDED, "h", 16, 3)
    assert (seen.verified, seen.bytes_per_second) == ("crc64nvme", 7)
    assert seen.finished_ms == at("21:05:00")


@pytest.mark.parametrize(
    ("words", "arrived"),
    [
        ({"arrivedBytes": 5, "reason": "Ready"}, 5),
        ({"reason": "Hit"}, 0),
        ({"reason": "Ready"}, None),
    ],
    ids=["told", "there", "an older torpor's words"],
)
def test_a_fetch_between_regions_says_from_where_and_how_much(
    words: Json, arrived: int | None
) -> None:
    made = job(done("Complete"))
    made["metadata"]["annotations"][names.WEIGHTS_ROUTE] = "eu-west-1 eu-central-1"
    (found,) = seen_jobs([made], [pod(left(hash="h", bytes=7, **words))])
    assert (found.uid, found.name) == ("j1", "tiny-fetch")
    assert (found.route, found.arrived_bytes) == (("eu-west-1", "eu-central-1"), arrived)
    assert seen_jobs([job()], [])[0].route is None


def test_a_job_that_failed_says_why_and_whether_to_try_again() -> None:
    words = left(reason="WeightsAccessDenied", message="wrong key", retryable=False)
    (seen,) = seen_jobs([job(done("Failed"))], [pod(words)])
    assert seen.state is JobState.FAILED
    assert (seen.reason, seen.message, seen.retryable) == (
        "WeightsAccessDenied",
        "wrong key",
        False,
    )


def test_a_job_whose_pod_is_gone_says_what_the_job_says() -> None:
    failed = done("Failed", message="Job was active longer than specified deadline")
    (seen,) = seen_jobs([job(failed)], [])
    assert (seen.state, seen.reason) == (JobState.FAILED, "WeightsInternal")
    assert seen.message == "Job was active longer than specified deadline"
    (mute,) = seen_jobs([job(done("Failed"))], [])
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
    (seen,) = seen_jobs([job()], [pod(said)])
    assert (seen.state, seen.reason) == (JobState.FAILED, reason)
    assert 'secret "s3" not found' in seen.message
    assert seen.finished_ms == at("21:00:01")  # its pause counts from the pod's creation


def test_a_condition_that_is_not_true_says_nothing() -> None:
    (seen,) = seen_jobs([job(done("Failed") | {"status": "False"})], [])
    assert seen.state is JobState.RUNNING


@pytest.mark.parametrize(
    ("pods", "fails_at", "reason", "words"),
    [
        pytest.param([], "21:00:30", "DeploymentRefused",
                     ["Job tiny-fetch", "30 s", "quota", "kubectl describe job tiny-fetch"],
                     id="no pod"),
        pytest.param([pod(None, None, conditions=[NO_NODE])], "21:01:01", "Unschedulable",
                     ["60 s", NO_NODE["message"]], id="no node"),
        pytest.param([pod(None, None)], "21:01:01", "Unschedulable", ["60 s", "no reason given"],
                     id="not even looked at"),
        pytest.param([pod(BEING_MADE)], "21:05:01", "WeightsInternal",
                     ["node node-1", "tiny-fetch-x7", "300 s"], id="not started"),
        pytest.param([pod(None)], "21:05:01", "WeightsInternal", ["node node-1"], id="node silent"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_start_counts_as_failed_in_time(
    pods: list[Json], fails_at: str, reason: str, words: list[str]
) -> None:
    (waits,) = seen_jobs([job()], pods, at(fails_at) - 1)
    assert (waits.state, waits.stalls_ms) == (JobState.RUNNING, at(fails_at))
    (failed,) = seen_jobs([job()], pods, at(fails_at))
    assert (failed.state, failed.stalls_ms, failed.reason) == (JobState.FAILED, None, reason)
    assert failed.retryable
    assert all(word in failed.message for word in words), failed.message


@pytest.mark.parametrize("state", [{"running": {}}, left(hash="h")], ids=["runs", "ended"])
def test_a_pod_that_has_started_has_all_the_time_it_needs(state: Json) -> None:
    (seen,) = seen_jobs([job()], [pod(state)], LATER)
    assert (seen.state, seen.stalls_ms) == (JobState.RUNNING, None)


@pytest.mark.parametrize(
    ("kind", "state"), [("Complete", JobState.SUCCEEDED), ("Failed", JobState.FAILED)]
)
@pytest.mark.parametrize("pods", [[], [pod(BEING_MADE)]], ids=["no pod", "not started"])
def test_of_a_job_that_has_ended_nobody_says_that_it_did_not_start(
    kind: str, state: JobState, pods: list[Json]
) -> None:
    (seen,) = seen_jobs([job(done(kind, message="deadline exceeded"))], pods, LATER)
    if pods and kind == "Complete":
        state = (
            JobState.RUNNING
        )  # what its pod has left, such as what it evicted, is still to be heard
    assert (seen.state, seen.stalls_ms, seen.reason) == (state, None, "WeightsInternal")
    assert seen.message == "deadline exceeded"


def test_a_container_that_cannot_be_created_for_another_reason_is_no_missing_secret() -> None:
    said = "container has runAsNonRoot and image will run as root"
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": said}}
    (seen,) = seen_jobs([job()], [pod(waiting)])
    assert (seen.state, seen.reason) == (JobState.FAILED, "WeightsInternal")
    assert seen.message == f"the container cannot be created: {said}"


def test_a_delay_of_the_kubelet_is_no_missing_secret() -> None:
    said = "failed to sync secret cache: timed out waiting for the condition"
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": said}}
    (seen,) = seen_jobs([job()], [pod(waiting)])
    assert (seen.state, seen.stalls_ms) == (JobState.RUNNING, at("21:05:01"))


def test_the_pod_of_another_job_says_nothing_about_this_one() -> None:
    other = pod(left(hash="other"))
    other["metadata"]["ownerReferences"] = [{"uid": "j2"}]
    (seen,) = seen_jobs([job()], [other])
    assert (seen.hash, seen.stalls_ms) == ("asked", at("21:00:30"))


@pytest.mark.parametrize("pods", [[pod({"running": {}})], []], ids=["pod runs", "pod unheard of"])
def test_a_check_that_completes_before_its_pods_last_words_are_heard_is_not_over(
    pods: list[Json],
) -> None:
    # Job and pod are watched apart. Without the listing, nodes would be told to fetch no hash at all.
    check = job(done("Complete"))
    check["metadata"]["annotations"] |= {names.PREWARM_KIND: "check", names.WEIGHTS_HASH: ""}
    (waits,) = seen_jobs([check], pods, LATER)
    assert (waits.state, waits.hash, waits.stalls_ms) == (JobState.RUNNING, "", None)
    (over,) = seen_jobs([check], [pod(left(hash="h", bytes=16, files=3))], LATER)
    assert (over.state, over.hash, over.bytes) == (JobState.SUCCEEDED, "h", 16)


def test_a_pull_that_takes_long_is_let_be() -> None:
    pull = job()
    pull["metadata"]["annotations"]["torpor.dev/prewarm-kind"] = "image"
    (seen,) = seen_jobs([pull], [pod(BEING_MADE)], LATER)
    assert (seen.kind, seen.state, seen.stalls_ms) == (JobKind.IMAGE, JobState.RUNNING, None)


def test_an_image_that_is_there_is_pulled_although_its_container_could_not_start() -> None:
    pull = job(done("Failed"))
    pull["metadata"]["annotations"]["torpor.dev/prewarm-kind"] = "image"
    made = pod({"terminated": {"exitCode": 128, "reason": "StartError"}})
    made["status"]["containerStatuses"][0]["imageID"] = "sha256:0"
    (seen,) = seen_jobs([pull], [made])
    assert seen.state is JobState.SUCCEEDED
