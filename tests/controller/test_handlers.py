from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from tests.cluster_room.kubeapi import until
from tests.controller import podstates as states
from tests.controller.stage import gpu_class, node
from torpor import clock
from torpor.cluster.connect import Api
from torpor.controller import workers
from torpor.controller.handlers import OURS, Departed, Ears, settings
from torpor.controller.seen import Key, Seen
from torpor.controller.workers import Workers
from torpor.manifests import names

Json = dict[str, Any]
KEY, OTHER = ("ml", "tiny"), ("ml", "other")
PLURALS = {
    "gpuclasses",
    "nodes",
    "pods",
    "deployments",
    "jobs",
    "serviceaccounts",
    "services",
    "endpointslices",
    "inferenceendpoints",
}


NO_GPU: Json = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
}


def _pod_on(endpoint: str, gpu_class: str) -> Json:
    labels = {
        names.ENDPOINT_LABEL: endpoint,
        names.COMPONENT_LABEL: names.COMPONENT_ENGINE,
        names.GPU_CLASS_LABEL: gpu_class,
    }
    name = f"{endpoint}-pod"
    metadata = {"namespace": "ml", "name": name, "uid": f"uid-of-{name}", "labels": labels}
    return {"metadata": metadata, "status": {}}


@pytest.fixture(autouse=True)
def _unspread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose pass runs is the question here, and not when."""
    monkeypatch.setattr(workers, "SPREAD_SECONDS", 0.0)


class Listener:
    """kopf's part: calls the handlers that were registered, as its watches would."""

    def __init__(self, api: Api, departed: Departed = lambda _obj, _pods: None) -> None:
        self.seen = Seen("torpor-system")
        self.passes: list[Key] = []
        self.workers = Workers(self._run)
        self.ears = Ears(self.seen, self.workers, api, departed)
        registry = self.ears.registry()
        self.indices = self._functions(registry._indexing, "listed-")
        self.events = self._functions(registry._watching, "hear-")

    def _functions(self, part: Any, prefix: str) -> dict[str, Any]:
        return {str(h.id).removeprefix(prefix): h.fn for h in part._handlers}

    async def _run(self, key: Key) -> int | None:
        self.passes.append(key)
        return None

    async def list(self, plural: str, *objects: Json) -> None:
        """The first listing: every object goes through the index before any handler runs."""
        for obj in objects:
            await self.indices[plural](body=kopf_body(obj))

    async def hear(self, plural: str, obj: Json, kind: str | None = "MODIFIED") -> set[Key]:
        """Let an event be heard and return whose passes ran."""
        if kind != "DELETED":
            await self.indices[plural](body=kopf_body(obj))
        await self.events[plural](body=kopf_body(obj), type=kind)
        return await self.ran()

    async def ran(self) -> set[Key]:
        await asyncio.sleep(0.002)
        ran = set(self.passes)
        self.passes.clear()
        return ran


def kopf_body(obj: Json) -> Any:
    raw: Any = copy.deepcopy(obj)
    return kopf.Body(raw)


def endpoint(name: str = "tiny") -> Json:
    return {"metadata": {"namespace": "ml", "name": name, "uid": f"uid-of-{name}"}}


@pytest.fixture
async def listener(api: Api) -> AsyncIterator[Listener]:
    made = Listener(api)
    yield made
    await made.workers.stop()


@pytest.fixture
async def full(listener: Listener) -> Listener:
    """With two endpoints, a class, a node and a pod, all listed and passed over."""
    await listener.list("nodes", node())
    await listener.list("gpuclasses", gpu_class())
    await listener.list("pods", states.READY)
    await listener.list("inferenceendpoints", endpoint(), endpoint("other"))
    assert await listener.hear("inferenceendpoints", endpoint(), None) == {KEY, OTHER}
    return listener


def test_every_kind_is_indexed_and_heard(listener: Listener) -> None:
    assert set(listener.indices) == set(listener.events) == PLURALS


async def test_the_listing_fills_what_is_seen_before_anybody_decides(listener: Listener) -> None:
    deployment = {
        "metadata": {"namespace": "ml", "name": "tiny", "labels": {names.ENDPOINT_LABEL: "tiny"}}
    }
    await listener.list("inferenceendpoints", endpoint(), endpoint("other"))
    await listener.list("nodes", node())
    await listener.list("gpuclasses", gpu_class())
    await listener.list("deployments", deployment)
    await listener.list("pods", states.READY)
    assert await listener.ran() == set()
    assert not listener.ears.listed.is_set()
    assert set(listener.seen.endpoints) == {KEY, OTHER}
    assert (set(listener.seen.nodes), set(listener.seen.classes)) == ({"node-1"}, {"l40s"})
    assert listener.seen.deployments == {KEY: deployment}
    assert len(listener.seen.engine_pods(KEY, clock.now_ms())) == 1
    # The first handler of any kind touches everybody whom the listing concerned.
    assert await listener.hear("nodes", node(), None) == {KEY, OTHER}
    assert listener.ears.listed.is_set()


async def test_an_endpoint_that_is_deleted_is_forgotten_and_cleaned_up_after(
    full: Listener,
) -> None:
    assert not full.ears.left.is_set()
    assert await full.hear("inferenceendpoints", endpoint(), "DELETED") == set()
    assert set(full.seen.endpoints) == {OTHER}
    assert full.ears.left.is_set()
    working = {task.get_name() for task in asyncio.all_tasks()}
    assert "endpoint ml/other" in working
    assert "endpoint ml/tiny" not in working


async def test_a_pod_that_finds_no_gpu_concerns_those_who_hold_one_that_costs_nothing(
    full: Listener,
) -> None:
    await full.hear("pods", _pod_on("other", "l40s"))
    pending = _pod_on("tiny", "l40s") | {"status": {"conditions": [NO_GPU]}}
    assert await full.hear("pods", pending) == {KEY}  # here a GPU is paid for by the hour
    owned = gpu_class()
    owned["spec"]["capacityType"] = "owned"
    await full.hear("gpuclasses", owned)
    assert await full.hear("pods", pending) == {KEY, OTHER}
    assert await full.hear("pods", _pod_on("tiny", "l40s")) == {KEY}


async def test_who_was_deleted_is_told_once_as_it_was_last_and_with_its_pods(api: Api) -> None:
    told: list[tuple[Json, list[str]]] = []
    listener = Listener(api, lambda obj, pods: told.append((obj, [pod.uid for pod in pods])))
    await listener.list("pods", states.READY)
    await listener.list("inferenceendpoints", endpoint(), endpoint("other"))
    last = endpoint() | {"status": {"tokens": {"prompt": 3}}}
    for _ in range(2):  # the audit may find what an event tells as well
        await listener.hear("inferenceendpoints", last, "DELETED")
    assert told == [(last, [states.READY["metadata"]["uid"]])]
    await listener.workers.stop()


async def test_the_echo_of_figures_that_were_written_concerns_nobody(full: Listener) -> None:
    full.seen.endpoints[KEY]["metadata"]["resourceVersion"] = "7"
    written = endpoint() | {"status": {"cost": {"accrued": "2"}}}
    written["metadata"]["resourceVersion"] = "8"
    full.seen.wrote(KEY, full.seen.endpoints[KEY], written, quiet=True)
    assert await full.hear("inferenceendpoints", written) == set()
    edited = copy.deepcopy(written)
    edited["metadata"]["resourceVersion"] = "9"
    assert await full.hear("inferenceendpoints", edited) == {KEY}


async def test_the_echo_of_anything_else_that_was_written_is_looked_at(full: Listener) -> None:
    full.seen.endpoints[KEY]["metadata"]["resourceVersion"] = "7"
    written = endpoint() | {"status": {"weights": {"state": "Listed"}}}
    written["metadata"]["resourceVersion"] = "8"
    full.seen.wrote(KEY, full.seen.endpoints[KEY], written, quiet=False)
    assert await full.hear("inferenceendpoints", written) == {KEY}


async def test_an_echo_that_comes_before_the_answer_is_looked_at(full: Listener) -> None:
    before = copy.deepcopy(full.seen.endpoints[KEY])
    before["metadata"]["resourceVersion"] = "7"
    written = copy.deepcopy(before)
    written["metadata"]["resourceVersion"] = "8"
    assert await full.hear("inferenceendpoints", written) == {KEY}
    full.seen.wrote(KEY, before, written, quiet=True)
    edited = copy.deepcopy(written)
    edited["metadata"]["resourceVersion"] = "9"
    assert await full.hear("inferenceendpoints", edited) == {KEY}


async def test_a_pod_concerns_its_endpoint_alone(full: Listener) -> None:
    assert await full.hear("pods", states.TERMINATING) == {KEY}
    assert await full.hear("pods", states.TERMINATED, "DELETED") == {KEY}
    (gone,) = full.seen.engine_pods(KEY, clock.now_ms())
    assert gone.gone_ms is not None


async def test_a_child_that_is_deleted_touches_its_endpoint(full: Listener) -> None:
    metadata = {
        "namespace": "ml",
        "name": "tiny",
        "uid": "d",
        "labels": {"torpor.dev/endpoint": "tiny"},
    }
    deployment = {"metadata": metadata}
    assert await full.hear("deployments", deployment, "ADDED") == {KEY}
    assert await full.hear("deployments", deployment, "DELETED") == {KEY}
    assert full.seen.deployments == {}


async def test_what_belongs_to_an_endpoint_not_heard_of_touches_nobody(full: Listener) -> None:
    labels = states.READY["metadata"]["labels"] | {names.ENDPOINT_LABEL: "unknown"}
    assert await full.hear("pods", states.pod({"phase": "Running"}, labels=labels)) == set()


async def test_a_nodes_heartbeat_touches_nobody(full: Listener) -> None:
    beat = node()
    beat["metadata"]["resourceVersion"] = "9"
    beat["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-11-23T21:00:05Z"
    beat["status"]["images"] = [{"names": ["x"]}]
    assert await full.hear("nodes", beat) == set()
    assert full.seen.nodes["node-1"] == beat


def offer(**changes: Any) -> Json:
    made = node()
    for place, value in changes.items():
        part, _, key = place.partition("_")
        made.setdefault(part, {})[key] = value
    return made


@pytest.mark.parametrize(
    "changed",
    [
        offer(metadata_labels={"gpu": "h200"}),
        offer(status_allocatable={"nvidia.com/gpu": "4"}),
        offer(spec_unschedulable=True),
        offer(status_conditions=[{"type": "Ready", "status": "Unknown"}]),
    ],
    ids=["labels", "allocatable", "cordoned", "not ready"],
)
async def test_what_a_node_offers_concerns_every_endpoint(full: Listener, changed: Json) -> None:
    assert await full.hear("nodes", changed) == {KEY, OTHER}
    assert await full.hear("nodes", changed) == set()


async def test_a_node_or_a_class_that_is_gone_concerns_every_endpoint(full: Listener) -> None:
    assert await full.hear("nodes", node(), "DELETED") == {KEY, OTHER}
    assert await full.hear("gpuclasses", gpu_class(), "DELETED") == {KEY, OTHER}
    assert (full.seen.nodes, full.seen.classes) == ({}, {})


async def test_every_kind_has_a_shelf_that_shows_and_takes_out_what_is_known(
    full: Listener,
) -> None:
    shelves = {shelf.path.rsplit("/", 1)[1]: shelf for shelf in full.ears.shelves()}
    assert set(shelves) == PLURALS
    narrowed = {plural for plural, shelf in shelves.items() if shelf.selector == OURS}
    ours = {"pods", "deployments", "jobs", "serviceaccounts", "services", "endpointslices"}
    assert narrowed == ours
    assert {s.selector for p, s in shelves.items() if p not in narrowed} == {""}
    pods = shelves["pods"]
    (pod,) = pods.known().values()
    pods.gone(pod)
    assert pods.known() == {}
    await until(lambda: full.passes == [KEY])


def test_what_is_listed_by_the_audit_is_what_kopf_watches(listener: Listener) -> None:
    operator = kopf.OperatorSettings()
    settings(operator)
    shelves = {s.path.rsplit("/", 1)[1]: s.selector for s in listener.ears.shelves()}
    selectors: dict[Any, str] = dict(operator.watching.label_selectors)
    narrowed = {selector.any_name: label for selector, label in selectors.items()}
    assert narrowed == {plural: label for plural, label in shelves.items() if label}
    assert not operator.posting.enabled


def test_kopf_compares_nothing_and_keeps_nothing_for_comparing() -> None:
    operator = kopf.OperatorSettings()
    settings(operator)
    storage, patch = operator.persistence.diffbase_storage, kopf.Patch()
    body = kopf.Body({"metadata": {"name": "tiny"}, "spec": {"model": {}}})
    assert storage.build(body=body, extra_fields=[("spec", "model")]) == {}
    storage.store(body=body, patch=patch, essence=storage.build(body=body))
    assert (storage.fetch(body=body), dict(patch)) == (None, {})


async def test_kopf_reaches_the_server_that_the_controller_reaches(
    listener: Listener, api: Api
) -> None:
    before = clock.now()
    info = await listener.ears.log_in()
    assert info.server == (await api.access()).server
    assert info.expiration is not None
    assert 0 < (info.expiration - before).total_seconds() <= 1800.5
