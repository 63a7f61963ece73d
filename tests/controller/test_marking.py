"""Fewer replicas while requests run: the mark, the wait, the write, and the mark that is taken off again."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.controller.stage import DEPLOYMENT, KEY, Stage, stamp
from torpor import clock
from torpor.domain.scalingview import Needed
from torpor.manifests import names

PODS = "/api/v1/namespaces/ml/pods/"


def run_pods(stage: Stage, count: int) -> None:
    """Let so many replicas be ready for ten minutes."""
    deployment = copy.deepcopy(stage.kube.objects[DEPLOYMENT])
    deployment["spec"]["replicas"] = count
    stage.kube.put(DEPLOYMENT, deployment)
    began, ready = stamp(610), stamp(600)
    for number in range(count):
        name = f"tiny-{number}"
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": began},
            {"type": "Ready", "status": "True", "lastTransitionTime": ready},
        ]
        metadata = {
            "name": name,
            "namespace": "ml",
            "uid": name,
            "creationTimestamp": began,
            "labels": deployment["spec"]["template"]["metadata"]["labels"],
        }
        status = {"phase": "Running", "podIP": "127.0.0.77", "conditions": conditions}
        pod = {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "node-1"}}
        stage.kube.put(PODS + name, pod | {"status": status})


async def tell(stage: Stage, *on_pods: int) -> None:
    """Let the gateway tell how many requests each pod has."""
    stage.report = {
        "inFlight": sum(on_pods),
        "pods": {f"tiny-{n}": {"inFlight": count} for n, count in enumerate(on_pods)},
    }
    await stage.demand.ask()


def long_ago(stage: Stage) -> None:
    """Let a minute and a half pass since more than one replica was needed."""
    past = clock.now_ms() - 90_000
    stage.reconciler._needed[KEY] = Needed((past, past, past))


def marks_of(stage: Stage, number: int) -> dict[str, Any]:
    found: dict[str, Any] = stage.kube.objects[f"{PODS}tiny-{number}"]["metadata"].get(
        "annotations", {}
    )
    return found


@pytest.fixture
async def three(stage: Stage) -> Stage:
    scaling = {"maxReplicas": 3, "inFlightPerReplica": 4, "keepAlive": {"after": "1m"}}
    await stage.make_ready(scaling=scaling)
    run_pods(stage, 3)
    await tell(stage, 4, 4, 4)
    await stage.step()
    return stage


async def test_what_is_needed_is_not_touched(three: Stage) -> None:
    assert three.replicas() == 3
    assert not any(marks_of(three, n) for n in range(3))


async def test_one_that_is_not_needed_is_kept_for_a_while(three: Stage) -> None:
    await tell(three, 2, 1, 2)
    again = await three.step()
    assert (three.replicas(), marks_of(three, 1)) == (3, {})
    assert again is not None
    assert again <= clock.now_ms() + 60_000


async def test_then_it_is_marked_waited_for_and_taken_down(three: Stage) -> None:
    await tell(three, 2, 1, 2)
    long_ago(three)
    await three.step()
    assert three.replicas() == 3
    assert set(marks_of(three, 1)) == {names.SPARE_ANNOTATION, names.DELETION_COST_ANNOTATION}
    assert not marks_of(three, 0)

    marked = copy.deepcopy(three.kube.objects[PODS + "tiny-1"])
    marked["metadata"]["annotations"][names.SPARE_ANNOTATION] = str(clock.now_ms() - 3000)
    three.kube.put(PODS + "tiny-1", marked)
    await tell(three, 2, 1, 2)
    await three.step()
    assert three.replicas() == 3  # it still answers somebody
    await tell(three, 2, 0, 2)
    await three.step()
    assert three.replicas() == 2
    assert names.SPARE_ANNOTATION in marks_of(three, 1)  # until the pod is gone


async def test_a_request_that_came_after_the_last_poll_keeps_it(three: Stage) -> None:
    await tell(three, 2, 1, 2)
    long_ago(three)
    await three.step()
    marked = copy.deepcopy(three.kube.objects[PODS + "tiny-1"])
    marked["metadata"]["annotations"][names.SPARE_ANNOTATION] = str(clock.now_ms() - 3000)
    three.kube.put(PODS + "tiny-1", marked)
    await tell(three, 2, 0, 2)
    three.report["pods"]["tiny-1"]["inFlight"] = 1
    await three.step()
    assert three.replicas() == 3


async def test_what_is_needed_again_loses_its_mark(three: Stage) -> None:
    await tell(three, 2, 1, 2)
    long_ago(three)
    await three.step()
    assert marks_of(three, 1)
    await tell(three, 4, 2, 4)
    await three.step()
    assert not marks_of(three, 1)
    assert three.replicas() == 3


async def test_while_a_gateway_is_silent_marks_stay(three: Stage) -> None:
    await tell(three, 2, 1, 2)
    long_ago(three)
    await three.step()
    three.answers = False
    await three.demand.ask()
    await three.step()
    assert marks_of(three, 1)
    assert three.replicas() == 3
