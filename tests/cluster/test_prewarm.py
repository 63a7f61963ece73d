"""Weights are on the node before anybody asks; what is on its way, gone or in the way is told and cleared."""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.places import WEIGHTS
from dev.install.checkpoint import write_checkpoint
from tests.cluster.apiserver import ENDPOINTS, until
from tests.cluster.space import Space
from tests.cluster.storefront import Storefront, open_storefront
from torpor.api.endpoint import InferenceEndpoint

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
NODES, EVENTS, JOBS = (
    "/api/v1/nodes",
    "/api/v1/namespaces/{}/events",
    "/apis/batch/v1/namespaces/{}/jobs",
)
MB = 1_000_000


@pytest.fixture
def front(space: Space) -> Iterator[Storefront]:
    with open_storefront(space.torpor.bucket.endpoint) as opened:
        yield opened


def put_weights(space: Space, folder: Path, megabytes: int, name: str = "model") -> str:
    """Put a checkpoint of the test's own into the bucket; returns its address."""
    source = f"s3://t-tests/{space.name}/{name}/"
    write_checkpoint(folder / name, megabytes=megabytes, seed=f"{space.name}/{name}")
    space.torpor.bucket.put(folder / name, source)
    return source


def through(space: Space, front: Storefront, source: str, **more: Any) -> Json:
    """Return `spec.model` that reads through the door."""
    s3 = {**space.torpor.s3_of(), "endpoint": front.endpoint}
    return {"model": {"source": source, "s3": s3}, **more}


def labels_of(space: Space, weights_hash: str) -> dict[str, str]:
    """Node → value of the label of these weights."""
    key = f"weights.torpor.dev/{weights_hash}"
    found = {n["metadata"]["name"]: n["metadata"]["labels"] for n in space.api.items(NODES)}
    return {name: labels[key] for name, labels in found.items() if key in labels}


def on_disk(weights_hash: str) -> list[str]:
    """Whatever lies in the node's cache under this hash."""
    root = WEIGHTS / "weights"
    kinds = ("models", "partial")
    return [kind for kind in kinds if (root / kind / weights_hash).exists()]


def test_a_prewarmed_wake_asks_the_bucket_for_nothing(
    space: Space, front: Storefront, tmp_path: Path
) -> None:
    source = put_weights(space, tmp_path, 8)
    space.apply(space.compose("warm", spec=through(space, front, source)))
    ready = space.wait_weights("warm")
    (node,) = ready.status.weights.nodes
    assert (node.state, node.percent, node.verified) == ("Ready", 100, "crc32")  # as it was put
    assert node.since is not None
    assert any(line.startswith("GET") for line in front.requests)
    before = len(front.requests)
    assert space.chat("warm").status == 200
    space.wait_asleep("warm")
    assert space.chat("warm").status == 200
    assert front.requests[before:] == []


def test_a_download_tells_how_far_it_is(space: Space, front: Storefront, tmp_path: Path) -> None:
    source = put_weights(space, tmp_path, 48)
    front.bytes_per_second = 8 * MB
    with space.api.watching(space.path(ENDPOINTS)) as told:
        space.apply(space.compose("slow", spec=through(space, front, source)))
        space.wait_weights("slow")
    seen = [
        (at, node)
        for at, _, obj in told.of("slow")
        for node in obj.get("status", {}).get("weights", {}).get("nodes", ())
    ]
    shares = [
        node["percent"]
        for _, node in seen
        if node.get("state") == "Fetching" and node.get("percent")
    ]
    print(f"{len(told.of('slow'))} versions of the object; percent: {shares}")
    assert shares == sorted(shares)
    assert len(shares) >= 2
    moving = [node for _, node in seen if node.get("bytesPerSecond")]
    assert any(node.get("secondsLeft") for node in moving)
    rates = [node["bytesPerSecond"] for node in moving]
    assert 2 * MB < statistics.median(rates) < 20 * MB, rates
    assert len(told.of("slow")) < 40
    wanted = {"WeightsFetching", "WeightsOnNodes"}  # posted after the status is written
    until("both Events", lambda: wanted <= _reasons(space) or None, 30)


def test_a_wake_on_a_cold_node_starts_pod_and_download_together(
    space: Space, front: Storefront, tmp_path: Path
) -> None:
    source = put_weights(space, tmp_path, 32)
    front.bytes_per_second = 16 * MB
    spec = through(space, front, source, prewarm={"nodes": "none"})
    space.apply(space.compose("cold", spec=spec))
    found = space.wait_condition("cold", "WeightsReady", reason="WeightsListed")
    assert on_disk(str(found.status.weights.hash)) == []
    with space.api.watching(space.path(ENDPOINTS)) as told:
        assert space.chat("cold").status == 200
    messages = [
        condition["message"]
        for _, _, obj in told.of("cold")
        for condition in obj.get("status", {}).get("conditions", ())
        if condition["type"] == "Awake" and condition["reason"] == "WarmingUp"
    ]
    assert any("; weights " in message and "GB/s" in message for message in messages), messages
    until("the node's label", lambda: labels_of(space, str(found.status.weights.hash)) or None, 30)
    assert on_disk(str(found.status.weights.hash)) == ["models"]


def test_an_endpoint_deleted_while_it_downloads_leaves_nothing(
    space: Space, front: Storefront, tmp_path: Path
) -> None:
    source = put_weights(space, tmp_path, 64)
    space.start("other")
    front.bytes_per_second = 4 * MB
    space.apply(space.compose("leaving", spec=through(space, front, source)))
    fetching = until("a download under way", lambda: _fetching(space, "leaving"), 60)
    weights_hash = str(fetching.status.weights.hash)
    assert on_disk(weights_hash) == ["partial"]
    space.api.delete(space.path(ENDPOINTS, "leaving"))
    until("an empty disk", lambda: on_disk(weights_hash) == [] or None, 60)
    until("no label", lambda: labels_of(space, weights_hash) == {} or None, 30)
    until("no Job", lambda: not _jobs(space, "leaving") or None, 60)
    assert space.chat("other").status == 200


def test_a_node_that_leaves_while_it_downloads_is_forgotten(
    space: Space, front: Storefront, tmp_path: Path
) -> None:
    source = put_weights(space, tmp_path, 8)
    name = f"ghost-{space.name[-4:]}"
    make_ghost(space, name)
    try:
        space.apply(space.compose("tiny", spec=through(space, front, source)))
        both = until("two nodes wanted", lambda: _wants(space, "tiny", 2), 60)
        assert {n.name for n in both.status.weights.nodes} >= {name}
        until(
            "its Job",
            lambda: [j for j in _jobs(space, "tiny") if name in json.dumps(j)] or None,
            60,
        )
        space.api.delete(f"{NODES}/{name}")
        alone = until("one node wanted", lambda: _wants(space, "tiny", 1), 60)
        assert name not in {n.name for n in alone.status.weights.nodes}
        until(
            "no Job for it",
            lambda: not [j for j in _jobs(space, "tiny") if name in json.dumps(j)] or None,
            60,
        )
        space.wait_weights("tiny")
        assert space.chat("tiny").status == 200
    finally:
        with suppress(AssertionError):
            space.api.delete(f"{NODES}/{name}")


def test_on_a_full_node_who_was_used_less_gives_way_and_comes_back_when_it_wakes(
    space: Space, tmp_path: Path
) -> None:
    cache = {"prewarm": {"cache": {"budget": "24M"}}}  # room for one of them, whatever else must go
    first = put_weights(space, tmp_path, 16, "first")
    second = put_weights(space, tmp_path, 16, "second")
    space.apply(space.compose("first", source=first, spec=cache))
    one = space.wait_weights("first")
    time.sleep(1.1)  # creation times are whole seconds, and they rank who was never used
    space.apply(space.compose("second", source=second, spec=cache))
    # What has just arrived is left alone until every list of who runs knows of it.
    space.wait_condition("second", "WeightsReady", "False", "WeightsCacheFull", timeout=60)
    two = space.wait_condition("second", "WeightsReady", reason="WeightsOnNodes", timeout=180)
    assert on_disk(str(one.status.weights.hash)) == []
    gone = space.wait_condition("first", "WeightsReady", "False", "WeightsCacheFull", timeout=60)
    ready = gone.status.condition("Ready")
    assert ready is not None
    assert ready.status == "True"
    assert space.chat("first").status == 200
    assert on_disk(str(one.status.weights.hash)) == ["models"]
    assert on_disk(str(two.status.weights.hash)) == []
    space.wait_asleep("first")
    assert space.chat("second").status == 200


def make_ghost(space: Space, name: str) -> None:
    """Make a Node that offers GPUs and runs nothing, as one whose kubelet has just died looks."""
    real = space.api.items(NODES)[0]
    kept = {
        k: v
        for k, v in real["metadata"]["labels"].items()
        if not k.startswith("weights.torpor.dev/")
    }
    kept["kubernetes.io/hostname"] = name
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": kept}}
    # Only what must be there: a check of the weights, which may run anywhere, would never run here.
    elsewhere = {"taints": [{"key": "torpor.dev/ghost", "effect": "PreferNoSchedule"}]}
    space.api.create(NODES, node | {"spec": elsewhere})
    status = real["status"]
    ready = [c for c in status["conditions"] if c["type"] == "Ready"]
    body = {
        "status": {
            "capacity": status["capacity"],
            "allocatable": status["allocatable"],
            "conditions": ready,
        }
    }
    space.api.patch(f"{NODES}/{name}/status", body)


def _fetching(space: Space, name: str) -> InferenceEndpoint | None:
    endpoint = space.read(name)
    nodes = endpoint.status.weights.nodes
    return endpoint if any(n.state == "Fetching" and n.bytes for n in nodes) else None


def _wants(space: Space, name: str, count: int) -> InferenceEndpoint | None:
    endpoint = space.read(name)
    return endpoint if endpoint.status.weights.nodes_wanted == count else None


def _jobs(space: Space, name: str) -> list[Json]:
    return space.api.items(space.path(JOBS), f"torpor.dev/endpoint={name}")


def _reasons(space: Space) -> set[str]:
    return {event["reason"] for event in space.api.items(space.path(EVENTS))}
