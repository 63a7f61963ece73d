"""Weights that cross regions: when they do, and that a controller killed at any moment counts them once."""

from __future__ import annotations

import asyncio
import copy
import json
from contextlib import suppress
from typing import Any

import pytest

from tests.cluster_room.kubeapi import Asked, Refusal
from tests.controller.stage import HASH, JOBS, KEY, NODE, Stage, gpu_class, stamp
from tests.manifests.blueprints import endpoint
from torpor.controller.moving import class_regions, route_to
from torpor.manifests import names

Json = dict[str, Any]
BUCKET = {"s3": {"region": "eu-west-1"}, "source": "s3://models/tiny/"}
OWN = {"endpoint": "https://s3.example.com", "region": "eu-west-1"}
GIB = 1024**3
HERE = "eu-central-1"


@pytest.mark.parametrize(
    ("model", "placed", "regions", "route"),
    [
        ({"s3": {"region": "eu-west-1"}}, HERE, [], ("eu-west-1", "eu-central-1")),
        ({"s3": {"region": "eu-central-1"}}, HERE, [], None),
        ({}, HERE, ["us-east-1"], None),
        ({"s3": {"region": "eu-west-1"}}, None, [], None),
        ({"s3": OWN}, HERE, ["eu-central-1"], None),
        ({"s3": OWN}, HERE, ["eu-west-1"], ("eu-west-1", "eu-central-1")),
        ({"source": "pvc://claim/x"}, HERE, [], None),
    ],
    ids=["another", "the same", "only signed for", "not placed", "a name of one's own",
         "a place that a class is in", "a claim"],
)  # fmt: skip
def test_weights_cross_regions_where_both_are_known_and_differ(
    model: Json, placed: str | None, regions: list[str], route: tuple[str, str] | None
) -> None:
    assert route_to(endpoint(model=model), placed, regions) == route


def test_classes_say_which_regions_there_are() -> None:
    assert class_regions([gpu_class(), within("east"), {"spec": None}]) == {"east"}


def within(region: str, **price: str) -> Json:
    """A class in a region; of the name that the endpoint is placed on unless it is far away."""
    obj = gpu_class()
    obj["spec"] |= {"region": region}
    if region == "eu-west-1":
        obj["metadata"]["name"] = "far"
        obj["spec"]["nodeSelector"] = {"gpu": "none"}
    obj["spec"]["price"] |= price
    return obj


async def about_to_fetch(stage: Stage, image: bool = False, **price: str) -> str:
    """Bring the endpoint to where its Job fetches from another region; return the Job's name."""
    stage.seen.classes["l40s"] = within("eu-central-1")
    stage.seen.classes["far"] = within("eu-west-1", **price)
    stage.apply(model=BUCKET, prewarm={"image": image})
    await stage.add_gateway()
    await stage.step()
    stage.finish_job(stage.jobs()[0], hash=HASH, bytes=10 * GIB, files=3)
    await stage.step()
    return next(name for name in stage.jobs() if "fetch" in name)


def egress(stage: Stage) -> Json:
    found: Json = stage.status()["cost"].get("egress") or {}
    return found


async def test_what_a_download_will_cost_is_told_before_it_starts(stage: Stage) -> None:
    await about_to_fetch(stage, egressPerGiB="0.02")
    assert egress(stage)["predicted"] == {
        "fromRegion": "eu-west-1",
        "toRegion": "eu-central-1",
        "nodes": 1,
        "bytes": 10 * GIB,
        "cost": "0.2",
    }
    assert stage.status()["cost"]["spent"] == "0"
    said = "1 node fetches 10.74 GB from region eu-west-1 to eu-central-1, 0.2 EUR of egress"
    found = next(c for c in stage.status()["conditions"] if c["type"] == "WeightsReady")
    assert said in found["message"]


async def test_only_a_job_that_fetches_carries_a_route(stage: Stage) -> None:
    await about_to_fetch(stage, image=True, egressPerGiB="0.02")
    notes = [stage.kube.objects[JOBS + name]["metadata"]["annotations"] for name in stage.jobs()]
    routes = {note[names.PREWARM_KIND]: note.get(names.WEIGHTS_ROUTE) for note in notes}
    assert routes["fetch"] == "eu-west-1 eu-central-1"
    assert {kind for kind, route in routes.items() if route} == {"fetch"}
    assert "image" in routes


async def test_what_arrived_is_counted_and_then_the_job_may_go(stage: Stage) -> None:
    job = await about_to_fetch(stage, egressPerGiB="0.02")
    stage.finish_job(job, hash=HASH, bytes=10 * GIB, files=3, arrivedBytes=5 * GIB)
    await stage.step()
    assert "predicted" not in egress(stage)
    assert (egress(stage)["bytes"], egress(stage)["cost"]) == (5 * GIB, "0.1")
    assert (stage.status()["cost"]["spent"], stage.status()["cost"]["month"]["spent"]) == (
        "0.1",
        "0.1",
    )
    await stage.step()
    assert stage.jobs() == []
    await stage.step()
    assert egress(stage)["bytes"] == 5 * GIB


async def test_what_was_there_costs_nothing(stage: Stage) -> None:
    job = await about_to_fetch(stage, egressPerGiB="0.02")
    stage.finish_job(job, hash=HASH, bytes=10 * GIB, files=3, reason="Hit")
    await stage.step()
    assert egress(stage) == {}
    assert stage.status()["cost"]["spent"] == "0"
    await stage.step()
    assert stage.jobs() == []


async def test_what_an_engines_pod_fetches_by_itself_is_counted_once_as_well(stage: Stage) -> None:
    job = await about_to_fetch(stage, egressPerGiB="0.02")
    stage.finish_job(job, hash=HASH, bytes=10 * GIB, files=3, reason="Hit")
    await stage.step()
    stage.run_pod(ready_seconds_ago=0)
    path = "/api/v1/namespaces/ml/pods/tiny-1"
    pod = copy.deepcopy(stage.kube.objects[path])
    said = json.dumps({"reason": "Ready", "arrivedBytes": 10 * GIB})
    ended = {"exitCode": 0, "message": said, "finishedAt": stamp(5)}
    pod["status"]["initContainerStatuses"] = [
        {"name": "own", "state": {"terminated": {"exitCode": 0, "message": "arrivedBytes"}}},
        {"name": names.WEIGHTS_CONTAINER, "state": {"terminated": ended}},
    ]
    stage.kube.put(path, pod)
    for _ in range(3):
        await stage.step()
    assert (egress(stage)["bytes"], egress(stage)["cost"]) == (10 * GIB, "0.2")
    stage.kube.delete(path)
    await stage.step()
    assert egress(stage)["bytes"] == 10 * GIB


async def test_a_job_whose_last_words_are_lost_has_brought_everything(stage: Stage) -> None:
    job = await about_to_fetch(stage, egressPerGiB="0.02")
    stage.finish_job(job, hash=HASH)
    await stage.step()
    assert egress(stage)["bytes"] == 10 * GIB


async def test_a_price_that_nobody_says_is_asked_for_and_heals(stage: Stage) -> None:
    job = await about_to_fetch(stage)
    assert "cost" not in egress(stage)["predicted"]
    stage.finish_job(job, hash=HASH, bytes=10 * GIB, files=3, arrivedBytes=10 * GIB)
    await stage.step()
    assert "spent" not in stage.status()["cost"]
    assert stage.condition("Placed") == ("True", "PriceUnknown")
    stage.seen.classes["far"] = within("eu-west-1", egressPerGiB="0")
    await stage.step()
    assert stage.status()["cost"]["spent"] == "0"
    assert stage.condition("Placed") == ("True", "PlacedOnClass")


async def test_within_a_region_nothing_is_said(stage: Stage) -> None:
    stage.seen.classes["l40s"] = gpu_class()
    stage.seen.classes["l40s"]["spec"]["region"] = "eu-west-1"
    stage.apply(model=BUCKET)
    await stage.step()
    stage.finish_job(stage.jobs()[0], hash=HASH, bytes=10 * GIB, files=3)
    await stage.step()
    assert "egress" not in stage.status()["cost"]
    for job in stage.kube.objects.values():
        assert names.WEIGHTS_ROUTE not in (job["metadata"].get("annotations") or {})


async def killed(stage: Stage, after: int) -> Stage:
    """Let the controller run until it has written so often, and no more; return the one that follows it."""
    left = after

    def dead(asked: Asked) -> None:
        nonlocal left
        if asked.method != "GET":
            if left <= 0:
                raise Refusal(500, "the controller was killed")
            left -= 1

    stage.kube.before = dead
    for _ in range(3):
        with suppress(Exception):
            await stage.reconciler.run(KEY)
        await asyncio.sleep(0.01)
    await stage.statuses.close()
    stage.kube.before = lambda asked: None
    node, classes = copy.deepcopy(stage.kube.objects[NODE]), stage.seen.classes
    follower = Stage(stage.kube, stage._api)
    await follower.open()
    stage.kube.put(NODE, node)
    follower.seen.classes.update(classes)
    for obj in list(stage.kube.objects.values()):
        follower.hear("ADDED", copy.deepcopy(obj))
    await follower.add_gateway()
    return follower


@pytest.mark.parametrize("again", [0, 1, 3])
@pytest.mark.parametrize("after", range(7))
async def test_a_controller_killed_at_any_write_counts_a_download_once(
    stage: Stage, after: int, again: int
) -> None:
    job = await about_to_fetch(stage, egressPerGiB="0.02")
    stage.finish_job(job, hash=HASH, bytes=10 * GIB, files=3, arrivedBytes=10 * GIB)
    second = await killed(stage, after)
    third = await killed(second, again)
    try:
        for _ in range(4):
            await third.step()
        assert egress(third)["bytes"] == 10 * GIB
        assert egress(third)["cost"] == "0.2"
        assert third.jobs() == []
    finally:
        await second.close()
        await third.close()
