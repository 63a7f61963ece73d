"""Labels of nodes: what has arrived, what is on its way, and what left to make room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.cluster_room.kubeapi import KubeApi
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.labelling import label_nodes
from torpor.controller.seen import Seen
from torpor.domain.prewarmjobs import CLAIM, JobKind, JobWanted, Weights, WeightsPlan

Json = dict[str, Any]
HASH, OTHER, BUNDLE = "a" * 32, "b" * 32, "c" * 32
PREFIX = "weights.torpor.dev/"
PLAN = WeightsPlan(Weights("digest", HASH, parts=(HASH,)))


def world(kube: KubeApi, **labels: str) -> Seen:
    seen = Seen("torpor-system")
    kube.told = lambda _, obj: seen.nodes.update({obj["metadata"]["name"]: obj})
    named = {PREFIX + name: value for name, value in labels.items()}
    kube.put("/api/v1/nodes/n1", {"metadata": {"name": "n1", "labels": named}})
    return seen


def labels(kube: KubeApi) -> Json:
    found: Json = kube.objects["/api/v1/nodes/n1"]["metadata"]["labels"]
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


async def test_a_node_is_marked_when_its_job_is_sent_and_again_when_it_is_done(
    kube: KubeApi, api: Api
) -> None:
    seen = world(kube)
    sent = replace(PLAN, jobs=(JobWanted(JobKind.FETCH, 1, "n1"),))
    await label_nodes(seen, Objects(api), sent)
    assert labels(kube) == {HASH: "arriving"}
    kube.asked.clear()
    await label_nodes(seen, Objects(api), sent)
    assert kube.writes() == []
    await label_nodes(seen, Objects(api), replace(PLAN, newly_ready=("n1",)))
    assert labels(kube) == {HASH: "ready"}


async def test_a_fetch_that_is_repeated_does_not_take_ready_back(kube: KubeApi, api: Api) -> None:
    seen = world(kube, **{HASH: "ready"})
    await label_nodes(seen, Objects(api), replace(PLAN, jobs=(JobWanted(JobKind.FETCH, 2, "n1"),)))
    assert labels(kube) == {HASH: "ready"}


async def test_what_made_room_loses_its_label_with_every_bundle_it_was_part_of(
    kube: KubeApi, api: Api
) -> None:
    seen = world(kube, **{OTHER: "ready", BUNDLE: "ready"})
    seen.endpoints[("ml", "x")] = {
        "status": {"weights": {"hash": BUNDLE, "parts": [OTHER, "d" * 32]}}
    }
    arrived = replace(PLAN, newly_ready=("n1",), evicted=(("n1", OTHER), ("n2", OTHER)))
    await label_nodes(seen, Objects(api), arrived)
    assert labels(kube) == {HASH: "ready"}


async def test_a_claim_is_no_node(kube: KubeApi, api: Api) -> None:
    seen = world(kube)
    plan = replace(PLAN, newly_ready=(CLAIM,), jobs=(JobWanted(JobKind.FETCH, 1, CLAIM),))
    await label_nodes(seen, Objects(api), plan)
    assert kube.writes() == []
