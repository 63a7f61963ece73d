"""Owned GPUs: what a pass decides for an endpoint that idles on one while another endpoint's pod waits for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.controller.stage import KEY, Stage, gpu_class, stamp
from torpor import clock
from torpor.controller.observe import class_views, node_view
from torpor.controller.seen import Key
from torpor.controller.yielding import Contest
from torpor.domain.observation import Demand, GatewayReport

Json = dict[str, Any]
BERT, GPT = ("shop", "bert"), ("shop", "gpt")
SHORT = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
ADAPTIVE: Json = {"keepAlive": {"policy": "adaptive"}}


def owned() -> Json:
    found = gpu_class()
    found["spec"]["capacityType"] = "owned"
    found["spec"]["price"]["perGPUHour"] = "0"
    return found


def pod(
    key: Key, gpus: int, *, node: str = "node-1", waits: str = "", ready_for: int = 600
) -> Json:
    """A pod of an endpoint: ready for so many seconds, or waiting for a node by the scheduler's word."""
    scheduled: Json = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(900)}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(ready_for)}
    if waits:
        scheduled |= {"status": "False", "reason": "Unschedulable", "message": waits}
    labels = {
        "torpor.dev/endpoint": key[1],
        "torpor.dev/component": "engine",
        "torpor.dev/gpu-class": "l40s",
        "torpor.dev/gpus": str(gpus),
    }
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{key[1]}-1",
            "namespace": key[0],
            "uid": f"uid-{key[1]}",
            "creationTimestamp": stamp(2 if waits else 900),
            "labels": labels,
        },
        "spec": {} if waits else {"nodeName": node},
        "status": {
            "phase": "Pending" if waits else "Running",
            "conditions": [scheduled] if waits else [scheduled, ready],
        },
    }


def appear(stage: Stage, key: Key, gpus: int, scaling: Json | None = None, **pods: Any) -> None:
    """Let another endpoint be seen with one pod and its Deployment."""
    spec = {"model": {"source": "s3://models/x/"}, "scaling": scaling or ADAPTIVE}
    metadata: Json = {"name": key[1], "namespace": key[0], "uid": f"ie-{key[1]}"}
    stage.seen.endpoints[key] = {"metadata": metadata, "spec": spec}
    stage.seen.deployments[key] = {"metadata": metadata, "spec": {"replicas": 1}}
    stage.seen.take_pod(pod(key, gpus, **pods), False, clock.now_ms())


async def on_owned_gpus(stage: Stage, answered_seconds_ago: float = 60, **spec: Any) -> None:
    """Let the endpoint idle on one of the eight GPUs of its node."""
    stage.seen.classes["l40s"] = owned()
    await stage.make_ready(**spec)
    stage.run_pod()
    stage.report = {"lastByteAtMs": clock.now_ms() - round(1000 * answered_seconds_ago)}
    await stage.demand.ask()


async def test_an_owned_gpu_is_kept_without_a_time_out(stage: Stage) -> None:
    await on_owned_gpus(stage, 7_000)
    await stage.step()
    assert stage.condition("Awake") == ("True", "KeepingWarm")
    kept = stage.status()["keepAlive"]
    assert "seconds" not in kept
    assert "deadline" not in kept
    assert (
        kept["why"]
        == "l40s costs nothing more while it idles: kept until another endpoint needs it"
    )


async def test_it_leaves_for_an_endpoint_whose_pod_finds_no_gpu(stage: Stage) -> None:
    await on_owned_gpus(stage)
    appear(stage, BERT, 8, waits=SHORT)
    await stage.step()
    assert stage.replicas() == 0
    (said,) = (c["message"] for c in stage.status()["conditions"] if c["type"] == "Awake")
    assert said == "no request for 15 s, and shop/bert waits for its GPUs"


@pytest.mark.parametrize(
    "message", ["0/1 nodes are available: 1 Insufficient cpu.", "1 node(s) had untolerated taint"]
)
async def test_it_stays_if_a_gpu_is_not_what_the_pod_lacks(stage: Stage, message: str) -> None:
    await on_owned_gpus(stage)
    appear(stage, BERT, 8, waits=message)
    await stage.step()
    assert stage.replicas() == 1


async def test_it_stays_with_a_fixed_time_and_on_gpus_that_are_paid_by_the_hour(
    stage: Stage,
) -> None:
    await on_owned_gpus(stage, scaling={"keepAlive": {"policy": "fixed", "after": "1h"}})
    appear(stage, BERT, 8, waits=SHORT)
    await stage.step()
    assert stage.replicas() == 1
    assert stage.status()["keepAlive"]["seconds"] == 3600


async def test_while_somebody_waits_it_looks_again_each_second(stage: Stage) -> None:
    await on_owned_gpus(stage, 1.0)  # not idle for long enough to leave
    appear(stage, BERT, 8, waits=SHORT)
    due = await stage.step()
    assert due is not None
    assert due <= clock.now_ms() + 1_000
    assert stage.replicas() == 1


async def test_the_one_that_will_be_missed_least_leaves_and_the_other_stays(stage: Stage) -> None:
    await on_owned_gpus(stage)
    appear(stage, GPT, 7)  # seven GPUs for the same wake: less is lost per GPU
    appear(stage, BERT, 4, waits=SHORT)
    views, _ = class_views(stage.seen.classes.values(), clock.now_ms())
    nodes = [node_view(obj, 0) for obj in stage.seen.nodes.values()]
    report = GatewayReport("gw", clock.now_ms(), 1, last_byte_ms=clock.now_ms() - 60_000)

    def contest(of_gpt: GatewayReport = report) -> Contest:
        def told(key: Key) -> Demand:
            return Demand((of_gpt if key == GPT else report,))

        return Contest(stage.seen, told, views, nodes, clock.now_ms())

    assert contest().needed_by(GPT, "nvidia.com/gpu") == ("shop/bert", True)
    assert contest().needed_by(KEY, "nvidia.com/gpu") == ("", True)
    assert contest().needed_by(KEY, "amd.com/gpu") == ("", False)
    busy = GatewayReport("gw", clock.now_ms(), 1, in_flight=1)
    assert contest(busy).needed_by(GPT, "nvidia.com/gpu") == ("", True)
    assert contest(busy).needed_by(KEY, "nvidia.com/gpu") == ("", True)  # one GPU is not enough


async def test_while_one_is_on_its_way_out_nobody_else_leaves(stage: Stage) -> None:
    await on_owned_gpus(stage)
    appear(stage, GPT, 7)
    going = copy.deepcopy(pod(GPT, 7))
    going["metadata"] |= {"deletionTimestamp": stamp(), "deletionGracePeriodSeconds": 30}
    stage.seen.take_pod(going, False, clock.now_ms())
    appear(stage, BERT, 7, waits=SHORT)
    await stage.step()
    assert stage.replicas() == 1
