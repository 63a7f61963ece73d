from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cluster_room.kubeapi import KubeApi, until
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.garbage import Home, NodeLabels
from torpor.controller.seen import Seen
from torpor.manifests.setting import Installation

Json = dict[str, Any]
LEASE = "/apis/coordination.k8s.io/v1/namespaces/torpor-system/leases/torpor-controller"
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
USED, UNUSED = "weights.torpor.dev/used", "weights.torpor.dev/unused"


class Yard:
    """Three nodes with weights, and one endpoint that uses those named `used`."""

    def __init__(self, kube: KubeApi, api: Api) -> None:
        self.kube = kube
        self.seen = Seen("torpor-system")
        install = Installation("example.com/torpor:1", "vllm:1", cache_dir="/cache")
        home = Home("torpor-system", "torpor-controller")
        self.labels = NodeLabels(self.seen, Objects(api), install, home)
        kube.put(
            LEASE,
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": "torpor-controller",
                    "namespace": "torpor-system",
                    "uid": "uid-lease",
                },
            },
        )
        self.seen.endpoints[("ml", "tiny")] = {"status": {"weights": {"hash": "used"}}}
        self.seen.endpoints[("ml", "new")] = {"metadata": {}}
        kube.told = self.hear
        for name in ("n1", "n2", "n3"):
            labels = {"zone": "a", USED: "ready", UNUSED: "ready"}
            kube.put(
                f"/api/v1/nodes/{name}",
                {"metadata": {"name": name, "labels": labels}, "status": READY},
            )

    def hear(self, _: str, obj: Json) -> None:
        self.seen.nodes[obj["metadata"]["name"]] = obj

    def labelled(self, label: str) -> list[str]:
        nodes = self.kube.objects.values()
        return [n["metadata"]["name"] for n in nodes if label in n["metadata"].get("labels", ())]


@pytest.fixture
def yard(kube: KubeApi, api: Api) -> Yard:
    return Yard(kube, api)


async def test_a_label_goes_when_nobody_stood_behind_it_twice(yard: Yard) -> None:
    await yard.labels.sweep()
    assert yard.kube.writes() == []
    await yard.labels.sweep()
    assert yard.labelled(UNUSED) == []
    assert yard.labelled(USED) == yard.labelled("zone") == ["n1", "n2", "n3"]
    yard.kube.asked.clear()
    await yard.labels.sweep()
    assert yard.kube.asked == []


async def test_weights_that_are_used_again_between_two_sweeps_stay(yard: Yard) -> None:
    await yard.labels.sweep()
    yard.seen.endpoints[("ml", "new")] = {"status": {"weights": {"hash": "unused"}}}
    await yard.labels.sweep()
    del yard.seen.endpoints[("ml", "new")]
    await yard.labels.sweep()  # suspected anew
    assert yard.labelled(UNUSED) == ["n1", "n2", "n3"]
    await yard.labels.sweep()
    assert yard.labelled(UNUSED) == []


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_node_that_cannot_be_written_does_not_stop_the_others(
    yard: Yard, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    yard.kube.refuse["PATCH /api/v1/nodes/n2"] = (status, "no")
    await yard.labels.sweep_at_once()
    assert yard.labelled(UNUSED) == ["n2"]
    assert "node n2: " in caplog.text
    yard.kube.refuse.clear()
    await yard.labels.sweep()
    assert yard.labelled(UNUSED) == []


async def test_who_ends_need_not_wait_for_a_second_look(yard: Yard) -> None:
    await yard.labels.sweep_at_once()
    assert (yard.labelled(UNUSED), yard.labelled(USED)) == ([], ["n1", "n2", "n3"])


async def test_nothing_is_swept_before_everything_was_listed(yard: Yard) -> None:
    listed, left = asyncio.Event(), asyncio.Event()
    left.set()
    running = asyncio.create_task(yard.labels.run(listed, left))
    await asyncio.sleep(0.01)
    assert yard.kube.asked == []
    listed.set()
    await until(lambda: yard.labelled(UNUSED) == [])  # at once: an endpoint has left
    assert not left.is_set()
    yard.seen.endpoints.clear()
    left.set()
    await until(lambda: yard.labelled(USED) == [])
    running.cancel()


async def test_a_job_clears_the_disk_of_every_node_before_its_label_goes(yard: Yard) -> None:
    yard.seen.endpoints[("ml", "tiny")] = {
        "status": {"weights": {"hash": "used", "parts": ["used", "adapter"]}}
    }
    await yard.labels.sweep_at_once()
    jobs = [obj for path, obj in yard.kube.objects.items() if "/jobs/" in path]
    assert len(jobs) == 3
    for job in jobs:
        assert job["metadata"]["namespace"] == "torpor-system"
        assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-lease"
        pod = job["spec"]["template"]["spec"]
        args = pod["containers"][0]["args"]
        assert args == ["prewarm", "collect", "--keep", "adapter", "--keep", "used"]
        assert pod["volumes"][0]["hostPath"]["path"] == "/cache"
    writes = [line for line in yard.kube.writes() if "/jobs" in line or "/nodes/n1" in line]
    assert writes.index("PATCH /api/v1/nodes/n1") > 0


async def test_a_label_stays_while_no_job_can_be_made(yard: Yard) -> None:
    path = "/apis/batch/v1/namespaces/torpor-system/jobs"
    yard.kube.refuse[f"POST {path}"] = (403, "no")
    await yard.labels.sweep_at_once()
    assert yard.labelled(UNUSED) == ["n1", "n2", "n3"]


async def test_what_a_job_fetches_or_a_pod_runs_is_used_although_no_status_says_so_yet(
    yard: Yard,
) -> None:
    notes = {"torpor.dev/weights": "unused", "torpor.dev/weights-parts": "unused"}
    job = {"metadata": {"name": "f", "namespace": "ml", "uid": "j", "annotations": notes,
                        "labels": {"torpor.dev/endpoint": "new"}}}  # fmt: skip
    yard.seen.take_child("Job", job, deleted=False)
    await yard.labels.sweep_at_once()
    assert yard.labelled(UNUSED) == ["n1", "n2", "n3"]
    yard.seen.take_child("Job", job, deleted=True)
    await yard.labels.sweep_at_once()
    assert yard.labelled(UNUSED) == []


async def test_what_is_being_listed_anew_is_still_what_its_engine_would_find(yard: Yard) -> None:
    key = ("ml", "tiny")
    yard.seen.endpoints[key] = {"status": {"weights": {"spec": "another digest"}}}
    notes = {"torpor.dev/weights": "used", "torpor.dev/weights-parts": "used"}
    yard.seen.deployments[key] = {"spec": {"template": {"metadata": {"annotations": notes}}}}
    await yard.labels.sweep_at_once()
    assert (yard.labelled(USED), yard.labelled(UNUSED)) == (["n1", "n2", "n3"], [])
    kept = [
        o["spec"]["template"]["spec"]["containers"][0]["args"]
        for p, o in yard.kube.objects.items()
        if "/jobs/" in p
    ]
    assert kept == [["prewarm", "collect", "--keep", "used"]] * 3


async def test_a_node_that_is_down_keeps_its_labels_until_it_is_back(yard: Yard) -> None:
    path = "/api/v1/nodes/n2"
    node = yard.kube.objects[path]
    yard.kube.put(
        path, {**node, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    )
    await yard.labels.sweep_at_once()
    assert yard.labelled(UNUSED) == ["n2"]
    yard.kube.put(path, {**yard.kube.objects[path], "status": READY})
    await yard.labels.sweep()
    assert yard.labelled(UNUSED) == []
