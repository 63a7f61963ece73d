from __future__ import annotations

import asyncio
import copy
from typing import Any

from tests.cluster_room.kubeapi import Asked
from tests.controller.stage import (
    ACCOUNT,
    DEPLOYMENT,
    ENDPOINT,
    HASH,
    JOBS,
    KEY,
    NODE,
    Stage,
    stamp,
)
from torpor import clock

Json = dict[str, Any]


async def test_a_new_endpoint_is_checked_on_a_cpu_before_anything_else(stage: Stage) -> None:
    stage.apply()
    await stage.step()
    (check,) = stage.jobs()
    assert check.startswith("tiny-check-")
    assert ACCOUNT in stage.kube.objects
    assert DEPLOYMENT not in stage.kube.objects
    assert stage.condition("Ready") == ("Unknown", "CheckingWeights")
    assert stage.condition("Reconciling") == ("True", "Progressing")


async def test_checked_weights_become_a_deployment_at_zero(stage: Stage) -> None:
    await stage.make_ready()
    assert stage.replicas() == 0
    assert stage.condition("Ready") == ("True", "CanAnswer")
    assert stage.condition("Awake") == ("False", "Idle")
    assert stage.status()["weights"]["hash"] == HASH
    managers = [
        (a.method, a.manager) for a in stage.kube.asked if a.path.endswith("deployments/tiny")
    ]
    assert managers[-1] == ("PATCH", "torpor")
    assert ("POST", "torpor-create") in [
        (a.method, a.manager) for a in stage.kube.asked if a.path.endswith("/deployments")
    ]


async def test_a_pass_that_finds_nothing_to_do_writes_nothing(stage: Stage) -> None:
    await stage.make_ready()
    await stage.step()
    stage.kube.asked.clear()
    for _ in range(3):
        await stage.step()
    assert stage.kube.writes() == []


async def test_weights_are_fetched_to_the_node_and_the_node_is_labelled(stage: Stage) -> None:
    stage.apply(prewarm={"nodes": "all"})
    await stage.add_gateway()
    await stage.step()
    stage.finish_job(stage.jobs()[0], hash=HASH, bytes=16_000_000, files=3)
    await stage.step()
    (fetch,) = [name for name in stage.jobs() if "-fetch-" in name]
    stage.finish_job(fetch, hash=HASH, bytes=16_000_000, files=3, verified="crc64nvme")
    await stage.step()
    label = f"weights.torpor.dev/{HASH}"
    assert stage.kube.objects[NODE]["metadata"]["labels"][label] == "ready"
    assert stage.condition("WeightsReady") == ("True", "WeightsOnNodes")
    await stage.step()
    assert [name for name in stage.jobs() if "-image-" not in name] == []  # no longer wanted


async def test_a_wrong_key_is_told_and_no_gpu_is_ever_asked_for(stage: Stage) -> None:
    stage.apply()
    await stage.step()
    message = "the key AK1 is not known to the server"
    stage.finish_job(stage.jobs()[0], reason="WeightsAccessDenied", message=message, retryable=True)
    again = await stage.step()
    assert stage.condition("Ready") == ("False", "WeightsAccessDenied")
    assert message in str(stage.status()["conditions"])
    assert DEPLOYMENT not in stage.kube.objects
    assert again is not None
    assert 0 < again - clock.now_ms() <= 60_000


async def test_an_idle_endpoint_is_put_to_sleep(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    await stage.step()
    assert stage.replicas() == 0
    assert stage.kube.asked[-1].method == "POST"  # the Event
    (scaled,) = [a for a in stage.kube.asked if a.path == f"{DEPLOYMENT}/scale"]
    assert (scaled.manager, scaled.body["spec"]) == ("torpor-scaler", {"replicas": 0})


async def test_before_it_sleeps_every_gateway_is_asked_again(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    asked = stage.asked
    stage.report = {"waiting": 0, "inFlight": 1}  # came after the last poll
    await stage.step()
    assert stage.asked == asked + 1
    assert stage.replicas() == 1
    assert stage.condition("Awake") == ("True", "Serving")


async def test_a_gateway_that_falls_silent_at_the_last_moment_keeps_it_awake(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    stage.answers = False
    again = await stage.step()
    assert stage.replicas() == 1
    assert again is not None


async def test_within_its_keep_alive_it_stays_and_is_looked_at_on_the_deadline(
    stage: Stage,
) -> None:
    await stage.make_ready(scaling={"keepAlive": {"after": "2m"}})
    stage.run_pod(ready_seconds_ago=600)
    last = clock.now_ms() - 30_000
    stage.report = {"lastByteAtMs": last}
    await stage.demand.ask()
    again = await stage.step()
    assert stage.replicas() == 1
    assert stage.condition("Awake") == ("True", "KeepingWarm")
    assert again is not None
    assert again <= last + 120_000


async def test_a_status_write_that_takes_its_time_does_not_hold_up_the_sleep(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    slow = stage.kube.held[f"PATCH {ENDPOINT}/status"] = asyncio.Event()
    await stage.reconciler.run(KEY)  # says Serving, and gets no answer
    stage.report = {"lastByteAtMs": clock.now_ms() - 300_000}
    await stage.demand.ask()
    await stage.reconciler.run(KEY)
    assert stage.replicas() == 0
    slow.set()
    stage.touched.clear()
    await stage.statuses.idle()
    assert stage.touched == [KEY]  # the sleep is still to be said
    await stage.step()
    assert stage.condition("Awake")[1] == "Idle"


async def test_a_sleep_that_loses_against_a_wake_is_decided_again(stage: Stage) -> None:
    await stage.make_ready(scaling={"maxReplicas": 3})
    stage.run_pod(ready_seconds_ago=600)

    def wake(asked: Asked) -> None:
        if asked.path.endswith("/scale"):
            stage.kube.before = lambda _: None
            woken = copy.deepcopy(stage.kube.objects[DEPLOYMENT])
            woken["spec"]["replicas"] = 2
            stage.kube.put(DEPLOYMENT, woken)

    stage.kube.before = wake
    again = await stage.step()
    assert stage.replicas() == 2
    assert again is not None
    assert again <= clock.now_ms() + 50
    stage.report = {"inFlight": 40}
    await stage.demand.ask()
    await stage.step()
    assert stage.replicas() == 2


async def test_what_runs_is_on_the_meter(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    due = await stage.step()
    cost = stage.status()["cost"]
    assert (cost["perHour"], cost["currency"]) == ("1.8", "EUR")
    assert 610_000 <= cost["gpuMs"]["starting"] + cost["gpuMs"]["idle"] <= 613_000
    assert due is not None
    assert due > clock.now_ms()


async def test_suspend_takes_it_down_although_it_is_busy(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod()
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    stage.apply(
        prewarm={"nodes": "none"}, scaling={"suspend": True}
    )  # a new generation, its status gone with it
    await stage.step()
    await stage.step()
    assert stage.replicas() == 0
    assert stage.condition("Ready") == ("False", "Suspended")


async def test_a_deployment_of_somebody_else_is_never_touched(stage: Stage) -> None:
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tiny", "namespace": "ml", "labels": {"app": "shop"}},
        "spec": {"replicas": 3},
    }
    stage.kube.put(DEPLOYMENT, foreign)
    await stage.make_ready()
    assert stage.condition("Ready") == ("False", "NameConflict")
    assert stage.condition("Stalled")[0] == "True"
    assert stage.kube.objects[DEPLOYMENT]["spec"] == {"replicas": 3}
    assert not [w for w in stage.kube.writes() if w.startswith("PATCH") and "deployments" in w]


async def test_what_the_server_refuses_is_told_and_healed_by_a_change(stage: Stage) -> None:
    stage.kube.refuse[f"PATCH {DEPLOYMENT}"] = (422, "spec.template: hostPath is not allowed")
    await stage.make_ready()
    assert stage.condition("Ready") == ("False", "DeploymentRefused")
    assert "hostPath is not allowed" in str(stage.status()["conditions"])
    stage.kube.refuse.clear()
    await stage.step()
    assert stage.condition("Ready") == ("True", "CanAnswer")


async def test_a_spec_that_cannot_be_read_is_told_and_costs_no_meter(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod()
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    await stage.step()
    spent = stage.status()["cost"]
    broken = copy.deepcopy(stage.kube.objects[ENDPOINT])
    broken["spec"]["scaling"] = {"maxReplicas": "many"}
    stage.kube.put(ENDPOINT, broken)
    await stage.step()
    assert stage.condition("Ready") == ("False", "InvalidSpec")
    assert "spec.scaling.maxReplicas" in str(stage.status()["conditions"])
    assert stage.status()["cost"] == spent


async def test_a_status_that_lost_against_a_change_is_written_on_the_next_look(
    stage: Stage,
) -> None:
    stage.apply()
    stage.seen.endpoints[KEY]["metadata"]["resourceVersion"] = "1"
    await stage.step()
    assert "status" not in stage.kube.objects[ENDPOINT]
    assert stage.touched == [KEY]
    stage.hear("MODIFIED", copy.deepcopy(stage.kube.objects[ENDPOINT]))
    await stage.step()
    assert stage.condition("Ready") == ("Unknown", "CheckingWeights")


async def test_a_newer_version_heard_while_writing_is_not_put_back(stage: Stage) -> None:
    stage.apply()
    newer: list[Json] = []

    def edit(event: str, obj: Json) -> None:
        stage.kube.told = stage.hear
        stage.hear(event, obj)
        if obj.get("kind") != "InferenceEndpoint":
            stage.kube.told = edit
            return
        edited = copy.deepcopy(stage.kube.objects[ENDPOINT])
        edited["spec"]["scaling"] = {"maxReplicas": 5}
        newer.append(stage.kube.put(ENDPOINT, edited))

    stage.kube.told = edit
    await stage.step()
    assert (
        stage.seen.endpoints[KEY]["metadata"]["resourceVersion"]
        == (newer[0]["metadata"]["resourceVersion"])
    )


async def test_an_endpoint_that_is_going_away_is_left_alone(stage: Stage) -> None:
    stage.apply()
    stage.seen.endpoints[KEY]["metadata"]["deletionTimestamp"] = stamp()
    stage.kube.asked.clear()
    assert await stage.step() is None
    assert stage.kube.asked == []
    del stage.seen.endpoints[KEY]
    assert await stage.step() is None


async def test_a_job_of_an_old_source_is_deleted(stage: Stage) -> None:
    await stage.make_ready()
    stage.apply(model={"source": "s3://models/other/"}, prewarm={"nodes": "none"})
    old = stage.jobs()
    await stage.step()
    await stage.step()
    new = stage.jobs()
    assert len(new) == 1
    assert not set(new) & set(old)
    assert all(JOBS + name not in stage.kube.objects for name in old)
