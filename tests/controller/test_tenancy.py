"""A node that is paid for as a whole: what a pass sees of it, and what the status then says, through the controller."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

from tests.controller.stage import NODE, Stage, gpu_class, stamp
from tests.controller.test_yielding import pod
from torpor import clock
from torpor.controller.seen import Key

Json = dict[str, Any]
BERT: Key = ("shop", "bert")


def whole_node() -> Json:
    found = gpu_class()
    found["spec"]["price"]["scope"] = "node"
    return found


async def on_a_node_of_eight(stage: Stage, created_seconds_ago: float = 1_000) -> None:
    """Let the endpoint run, since ten minutes, on one GPU of a node with eight that is paid for as a whole."""
    stage.seen.classes["l40s"] = whole_node()
    node = copy.deepcopy(stage.kube.objects[NODE])
    node["metadata"] |= {"uid": "uid-node", "creationTimestamp": stamp(created_seconds_ago)}
    stage.kube.put(NODE, node)
    await stage.make_ready(scaling={"keepAlive": {"policy": "fixed", "after": "1h"}})
    stage.run_pod()
    stage.report = {"lastByteAtMs": clock.now_ms() - 60_000}
    await stage.demand.ask()


def tenants(stage: Stage) -> dict[str, bool]:
    (node,) = stage.status()["cost"]["nodes"]
    return {one["uid"]: bool(one.get("mine")) for one in node["tenants"]}


async def test_who_is_alone_on_a_node_pays_for_all_of_it(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    await stage.step()
    cost = stage.status()["cost"]
    assert Decimal(cost["perHour"]) == 8 * Decimal("1.80")
    assert list(tenants(stage).values()) == [True]
    about = Decimal("1.80") * 7 * 610 / 3600  # the node was there before anybody wanted it
    assert abs(Decimal(cost["byPhase"]["node"]) - about) < Decimal("0.02")
    assert Decimal(cost["spent"]) > Decimal(cost["byPhase"]["node"])


async def test_a_node_that_was_made_for_a_pod_is_paid_for_from_its_creation(stage: Stage) -> None:
    await on_a_node_of_eight(stage, created_seconds_ago=800)
    waiting = copy.deepcopy(stage.kube.objects["/api/v1/namespaces/ml/pods/tiny-1"])
    waiting["metadata"]["creationTimestamp"] = stamp(830)
    stage.kube.put("/api/v1/namespaces/ml/pods/tiny-1", waiting)
    await stage.step()
    about = Decimal("1.80") * (7 * 610 + 8 * 190) / 3600
    assert abs(Decimal(stage.status()["cost"]["byPhase"]["node"]) - about) < Decimal("0.02")


async def test_who_shares_it_pays_a_share(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    metadata: Json = {"name": BERT[1], "namespace": BERT[0], "uid": "ie-bert"}
    stage.seen.endpoints[BERT] = {"metadata": metadata, "spec": {}}
    stage.seen.take_pod(pod(BERT, 3), False, clock.now_ms())
    await stage.step()
    assert Decimal(stage.status()["cost"]["perHour"]) == 2 * Decimal(
        "1.80"
    )  # one, and a quarter of four
    assert tenants(stage)["uid-bert"] is False


async def test_it_goes_on_costing_after_the_last_pod_and_ends_with_the_node(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    await stage.step()
    stage.kube.delete("/api/v1/namespaces/ml/pods/tiny-1")
    deployment = copy.deepcopy(stage.kube.objects["/apis/apps/v1/namespaces/ml/deployments/tiny"])
    deployment["spec"]["replicas"] = 0
    stage.kube.put("/apis/apps/v1/namespaces/ml/deployments/tiny", deployment)
    await stage.step()
    assert Decimal(stage.status()["cost"]["perHour"]) == 8 * Decimal("1.80")
    node = stage.seen.nodes.pop("node-1")
    stage.seen.node_left(node, clock.now_ms())
    await stage.step()
    cost = stage.status()["cost"]
    assert Decimal(cost["perHour"]) == 0
    (stay,) = cost["nodes"]  # last words are waited for
    assert stay["removedMs"] <= clock.now_ms()


async def test_what_another_ledger_remembers_of_it_counts(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    now = clock.now_ms()
    before = {
        "uid": "uid-old",
        "gpus": 8,
        "startMs": now - 900_000,
        "endMs": now - 700_000,
        "mine": True,
    }
    stay = {"uid": "uid-node", "createdMs": now - 1_000_000, "prices": [], "tenants": [before]}
    stage.seen.endpoints[BERT] = {
        "metadata": {"name": BERT[1], "namespace": BERT[0], "uid": "ie-bert"},
        "spec": {},
        "status": {"cost": {"nodes": [stay]}},
    }
    await stage.step()
    assert tenants(stage)["uid-old"] is False
    about = (
        Decimal("1.80") * 7 * 610 / 3600
    )  # nothing before its own pod came: the other one's left it last
    assert abs(Decimal(stage.status()["cost"]["byPhase"]["node"]) - about) < Decimal("0.02")


async def test_without_its_class_a_node_stays_at_its_price(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    await stage.step()
    del stage.seen.classes["l40s"]
    await stage.step()
    (stay,) = stage.status()["cost"]["nodes"]
    assert "removedMs" not in stay
    assert Decimal(stage.status()["cost"]["perHour"]) == 8 * Decimal("1.80")


async def test_a_class_that_is_edited_to_prices_of_gpus_ends_it_there(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    await stage.step()
    stage.seen.classes["l40s"] = gpu_class()
    await stage.step()
    cost = stage.status()["cost"]
    assert Decimal(cost["perHour"]) == Decimal("1.80")
    (stay,) = cost["nodes"]
    assert abs(stay["removedMs"] - clock.now_ms()) < 10_000
    assert Decimal(cost["byPhase"]["node"]) > 2  # what was counted stays


async def test_an_earlier_node_of_the_same_name_is_another_one(stage: Stage) -> None:
    await on_a_node_of_eight(stage, created_seconds_ago=100)  # the pod was there before it
    await stage.step()
    assert not stage.status()["cost"]["nodes"]


async def test_with_prices_of_gpus_nothing_of_nodes_is_kept(stage: Stage) -> None:
    await on_a_node_of_eight(stage)
    stage.seen.classes["l40s"] = gpu_class()
    await stage.step()
    assert not stage.status()["cost"]["nodes"]
    assert Decimal(stage.status()["cost"]["perHour"]) == Decimal("1.80")
