"""What a pass does where something fails, is refused, or is told to end."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster_room.kubeapi import Asked
from tests.controller.stage import DEPLOYMENT, ENDPOINT, Stage, stamp
from torpor import clock

Json = dict[str, Any]
POD = "/api/v1/namespaces/ml/pods/tiny-1"
CRASH = {
    "terminated": {"exitCode": 1, "reason": "Error", "message": "see root cause above",
                   "finishedAt": stamp(2)},
}  # fmt: skip


def change_pod(stage: Stage, **metadata: Any) -> None:
    pod = copy.deepcopy(stage.kube.objects[POD])
    pod["metadata"] |= metadata
    stage.kube.put(POD, pod)


def loading(stage: Stage, **container: Any) -> None:
    """Wake it: one pod that was never ready."""
    stage.run_pod(ready_seconds_ago=5)
    pod = copy.deepcopy(stage.kube.objects[POD])
    stage.kube.delete(POD)
    del pod["metadata"]["uid"]
    pod["status"]["conditions"] = pod["status"]["conditions"][:1]
    running = {"name": "engine", "image": "v:1", "restartCount": 0, "state": {"running": {}}}
    pod["status"]["containerStatuses"] = [running | container]
    stage.kube.put(POD, pod)


def said_when_scaled(stage: Stage) -> list[tuple[int, tuple[str, str]]]:
    """Replicas as they are written, each with what Ready was at that moment."""
    found: list[tuple[int, tuple[str, str]]] = []

    def look(asked: Asked) -> None:
        if asked.path.endswith("/scale"):
            found.append((asked.body["spec"]["replicas"], stage.condition("Ready")))

    stage.kube.before = look
    return found


async def test_a_failed_endpoint_says_why_before_its_replicas_are_zero(stage: Stage) -> None:
    # Else a gateway with a request waiting would see zero and Ready, and wake it again.
    await stage.make_ready()
    loading(stage, state=CRASH)
    stage.kube.logs[f"{POD}/log"] = "ValueError: unknown --dtype\nRuntimeError: stopped\n"
    stage.report = {"waiting": 1}
    await stage.demand.ask()
    scaled = said_when_scaled(stage)
    again = await stage.step()
    assert scaled == [(0, ("False", "EngineCrashed"))]
    assert stage.replicas() == 0
    assert "ValueError: unknown --dtype" in str(stage.status()["conditions"])
    assert again is not None
    assert again <= clock.now_ms() + 100  # the next pass completes the status
    await stage.step()
    assert stage.condition("Ready") == ("False", "EngineCrashed")
    assert len(scaled) == 1
    reads = [asked for asked in stage.kube.asked if asked.path.endswith("/log")]
    assert len(reads) == 1


async def test_a_suspended_endpoint_says_so_before_its_replicas_are_zero(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod()
    endpoint = copy.deepcopy(stage.kube.objects[ENDPOINT])
    endpoint["spec"]["scaling"] = {"suspend": True}
    stage.kube.put(ENDPOINT, endpoint)
    scaled = said_when_scaled(stage)
    await stage.step()
    assert scaled == [(0, ("False", "Suspended"))]


async def test_a_sleep_is_carried_out_before_it_is_said(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    scaled = said_when_scaled(stage)
    await stage.step()
    assert scaled == [(0, ("True", "CanAnswer"))]
    assert stage.condition("Awake")[1] in ("Idle", "Draining")


def quota(stage: Stage, status: str) -> None:
    deployment = copy.deepcopy(stage.kube.objects[DEPLOYMENT])
    deployment["spec"]["replicas"] = 1
    message = 'pods "tiny-x" is forbidden: exceeded quota: gpus'
    condition = {"type": "ReplicaFailure", "status": status, "message": message}
    deployment["status"] = {"conditions": [condition]}
    stage.kube.put(DEPLOYMENT, deployment)


async def test_pods_that_may_not_be_made_are_told_and_healed_by_an_event(stage: Stage) -> None:
    await stage.make_ready()
    quota(stage, "True")
    await stage.step()
    assert stage.condition("Ready") == ("False", "DeploymentRefused")
    assert "exceeded quota: gpus" in str(stage.status()["conditions"])
    assert stage.condition("Stalled") == ("", "")  # a quota may be raised
    assert stage.replicas() == 1  # nothing runs, so that nothing has to be taken down
    quota(stage, "False")
    await stage.step()
    assert stage.condition("Ready") == ("True", "CanAnswer")


async def test_a_quota_that_stops_only_more_replicas_is_no_fault(stage: Stage) -> None:
    await stage.make_ready()
    loading(stage)  # would be taken down by a fault
    quota(stage, "True")
    stage.report = {"waiting": 1}
    await stage.demand.ask()
    await stage.step()
    assert stage.replicas() == 1
    assert stage.condition("Ready") == ("True", "CanAnswer")
    assert stage.condition("Awake") == ("Unknown", "WarmingUp")


@pytest.mark.parametrize("path", [DEPLOYMENT, "/api/v1/namespaces/ml/serviceaccounts/tiny-engine"])
async def test_what_was_refused_is_tried_again_in_half_a_minute(stage: Stage, path: str) -> None:
    kind = path.rsplit("/", 1)[0]
    stage.kube.refuse[f"POST {kind}"] = (403, "no right to create them")
    if path == DEPLOYMENT:
        await stage.make_ready()
    else:
        stage.apply()
    again = await stage.step()
    assert stage.condition("Ready") == ("False", "DeploymentRefused")
    assert again is not None
    assert 29_000 < again - clock.now_ms() <= 30_000
    stage.kube.refuse.clear()
    await stage.step()
    assert stage.condition("Ready")[0] != "False"


async def test_a_template_of_an_impossible_form_is_told_as_the_users(stage: Stage) -> None:
    await stage.make_ready()
    endpoint = copy.deepcopy(stage.kube.objects[ENDPOINT])
    endpoint["spec"]["template"] = {"metadata": {"labels": ["no", "map"]}}
    stage.kube.put(ENDPOINT, endpoint)
    await stage.step()
    assert stage.condition("Ready") == ("False", "InvalidSpec")
    assert stage.condition("Stalled")[0] == "True"
    assert "spec.template is no pod template" in str(stage.status()["conditions"])


async def test_a_check_that_does_not_start_is_looked_at_again_and_told(stage: Stage) -> None:
    stage.apply()
    await stage.step()
    (name,) = stage.jobs()
    again = await stage.step()
    assert again is not None
    assert 28_000 < again - clock.now_ms() <= 30_000
    path = f"/apis/batch/v1/namespaces/ml/jobs/{name}"
    job = copy.deepcopy(stage.kube.objects[path])
    job["metadata"]["creationTimestamp"] = stamp(31)
    stage.kube.put(path, job)
    await stage.step()
    assert stage.condition("Ready") == ("False", "DeploymentRefused")
    assert f"no pod of Job {name} was made" in str(stage.status()["conditions"])


LEAVING: Json = {"deletionTimestamp": stamp(-80), "deletionGracePeriodSeconds": 90}


async def test_a_loading_pod_that_is_told_to_end_is_hurried(stage: Stage) -> None:
    await stage.make_ready()
    loading(stage)
    change_pod(stage, **LEAVING)
    uid = stage.kube.objects[POD]["metadata"]["uid"]
    await stage.step()
    (hurried,) = [a for a in stage.kube.asked if (a.method, a.path) == ("DELETE", POD)]
    assert hurried.body == {"gracePeriodSeconds": 1, "preconditions": {"uid": uid}}


@pytest.mark.parametrize("case", ["was ready", "silent gateway", "busy", "last second", "not told"])
async def test_a_pod_that_may_have_something_to_finish_is_given_its_time(
    stage: Stage, case: str
) -> None:
    await stage.make_ready()
    if case == "was ready":
        stage.run_pod()
    else:
        loading(stage)
    if case != "not told":
        change_pod(stage, **LEAVING)
    if case == "last second":
        change_pod(stage, deletionGracePeriodSeconds=1)
    if case == "busy":
        uid = stage.kube.objects[POD]["metadata"]["uid"]
        stage.report = {"pods": {uid: {"inFlight": 1, "busy": [[1, None]]}}}
    stage.answers = case != "silent gateway"
    await stage.demand.ask()
    await stage.step()
    assert not [a for a in stage.kube.asked if a.method == "DELETE" and a.path == POD]
    assert POD in stage.kube.objects
