from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster_room.kubeapi import Asked, KubeApi, Refusal, until
from torpor.cluster.connect import Api
from torpor.controller.audit import Audit
from torpor.controller.handlers import Ears
from torpor.controller.seen import Key, Seen
from torpor.controller.workers import Workers
from torpor.manifests import names

Json = dict[str, Any]
KEY = ("ml", "tiny")
ALL_PODS = "/api/v1/pods"
ENDPOINTS = "/apis/torpor.dev/v1alpha1/inferenceendpoints"


def path(name: str) -> str:
    return f"/api/v1/namespaces/ml/pods/{name}"


class Watched:
    """A cluster that is heard of by `Ears` and audited; what is put while `deaf` no watch tells."""

    def __init__(self, kube: KubeApi, api: Api) -> None:
        self.kube = kube
        self.seen = Seen("torpor-system")
        self.passes: list[Key] = []
        self.workers = Workers(self._run)
        self.shelves = {s.path: s for s in Ears(self.seen, self.workers, api).shelves()}
        self._api = api

    def auditor(self, **pace: Any) -> Audit:
        return Audit(self._api, list(self.shelves.values()), **pace)

    async def _run(self, key: Key) -> int | None:
        self.passes.append(key)
        return None

    def known(self, plural: str = "pods") -> set[str]:
        return {obj["metadata"]["name"] for obj in self.seen.known(plural).values()}

    def put_pod(self, name: str, there: bool = True) -> None:
        labels = {names.PART_OF: "torpor", names.ENDPOINT_LABEL: "tiny"}
        labels |= {names.COMPONENT_LABEL: "engine"}
        pod = {"kind": "Pod", "metadata": {"name": name, "namespace": "ml", "labels": labels}}
        stored = self.kube.put(path(name), pod)
        self.seen.take_pod(copy.deepcopy(stored), False, 0)
        if not there:
            del self.kube.objects[path(name)]  # and no event says so

    def endpoint(self) -> None:
        self.seen.endpoints[KEY] = {
            "metadata": {"namespace": "ml", "name": "tiny", "uid": "uid-ie"},
        }


@pytest.fixture
async def watched(kube: KubeApi, api: Api) -> AsyncIterator[Watched]:
    made = Watched(kube, api)
    made.endpoint()
    yield made
    await made.workers.stop()


async def test_what_is_gone_is_taken_out_and_its_endpoint_touched(watched: Watched) -> None:
    watched.put_pod("stays")
    watched.put_pod("gone", there=False)
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    assert watched.known() == {"stays"}
    gone = {p.name: p.gone_ms for p in watched.seen.engine_pods(KEY, 0)}
    assert gone["stays"] is None
    assert gone["gone"] is not None  # its bill can be closed
    await until(lambda: watched.passes == [KEY])


async def test_what_is_all_there_touches_nobody(watched: Watched) -> None:
    watched.put_pod("stays")
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    assert watched.known() == {"stays"}
    await asyncio.sleep(0.01)
    assert watched.passes == []


async def test_only_names_are_asked_for_and_only_of_what_is_watched(watched: Watched) -> None:
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    (asked,) = watched.kube.asked
    assert asked.query["labelSelector"] == "app.kubernetes.io/part-of=torpor"
    assert "as=PartialObjectMetadataList" in asked.accept
    await watched.auditor().audit(watched.shelves["/api/v1/nodes"])
    assert "labelSelector" not in watched.kube.asked[-1].query


async def test_what_comes_during_the_listing_is_not_taken_for_gone(watched: Watched) -> None:
    watched.put_pod("gone", there=False)

    def meanwhile(asked: Asked) -> None:
        watched.put_pod("new", there=False)  # heard of, and not in this answer yet

    watched.kube.before = meanwhile
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    assert watched.known() == {"new"}


async def test_what_an_event_takes_out_during_the_listing_is_not_taken_out_twice(
    watched: Watched,
) -> None:
    watched.put_pod("gone", there=False)
    (pod,) = watched.seen.known("pods").values()

    def meanwhile(asked: Asked) -> None:
        watched.seen.take_pod(pod, True, 5)

    watched.kube.before = meanwhile
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    (gone,) = watched.seen.engine_pods(KEY, 5)
    assert gone.gone_ms == 5
    await asyncio.sleep(0.01)
    assert watched.passes == []


@pytest.mark.parametrize("status", [403, 410, 500])
async def test_a_listing_that_fails_takes_nothing_out(watched: Watched, status: int) -> None:
    watched.put_pod("gone", there=False)
    watched.kube.refuse[f"GET {ALL_PODS}"] = (status, "no")
    with pytest.raises(ValueError, match=str(status)):
        await watched.auditor().audit(watched.shelves[ALL_PODS])
    assert watched.known() == {"gone"}


async def test_a_long_list_is_read_to_its_last_page(watched: Watched) -> None:
    for number in range(5):
        watched.put_pod(f"stays-{number}")
    watched.put_pod("gone", there=False)
    await watched.auditor(page=2).audit(watched.shelves[ALL_PODS])
    assert watched.known() == {f"stays-{number}" for number in range(5)}
    assert [a.query.get("continue") for a in watched.kube.asked] == [None, "2", "4"]


async def test_a_page_that_fails_takes_nothing_out(watched: Watched) -> None:
    for name in ("a", "b"):
        watched.put_pod(name)

    def expire(asked: Asked) -> None:
        if "continue" in asked.query:
            raise Refusal(410, "the continue token is too old")

    watched.kube.before = expire
    with pytest.raises(ValueError, match="410"):
        await watched.auditor(page=1).audit(watched.shelves[ALL_PODS])
    assert watched.known() == {"a", "b"}


async def test_nothing_is_audited_before_everything_has_been_listed(watched: Watched) -> None:
    listed = asyncio.Event()
    running = asyncio.create_task(watched.auditor(period=0.001).run(listed))
    await asyncio.sleep(0.02)
    assert watched.kube.asked == []
    listed.set()
    await until(lambda: len(watched.kube.asked) >= 2 * len(watched.shelves))
    running.cancel()


async def test_one_kind_that_cannot_be_listed_leaves_the_others(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.kube.refuse["GET /api/v1/nodes"] = (403, "no right to list nodes")
    watched.put_pod("gone", there=False)
    listed = asyncio.Event()
    listed.set()
    running = asyncio.create_task(watched.auditor(period=0.001).run(listed))
    await until(lambda: watched.known() == set())
    assert not running.done()
    running.cancel()
    assert "audit of /api/v1/nodes: the API server answered 403" in caplog.text


async def test_a_server_that_is_gone_ends_no_audit(watched: Watched) -> None:
    watched.put_pod("stays")
    await watched.kube.stop()
    listed = asyncio.Event()
    listed.set()
    running = asyncio.create_task(watched.auditor(period=0.001).run(listed))
    await asyncio.sleep(0.02)
    assert not running.done()
    assert watched.known() == {"stays"}
    running.cancel()


async def test_an_endpoint_that_is_gone_is_forgotten_with_its_worker(watched: Watched) -> None:
    watched.workers.touch(KEY)
    await until(lambda: watched.passes == [KEY])
    await watched.auditor().audit(watched.shelves[ENDPOINTS])
    assert watched.seen.endpoints == {}
    await until(lambda: "endpoint ml/tiny" not in {task.get_name() for task in asyncio.all_tasks()})


async def test_a_gateway_that_is_gone_is_asked_no_more(watched: Watched) -> None:
    labels = {names.PART_OF: "torpor", "app.kubernetes.io/component": "gateway"}
    metadata = {"name": "gw", "uid": "gw", "namespace": "torpor-system", "labels": labels}
    status = {"podIP": "10.0.0.1", "phase": "Running"}
    watched.seen.take_pod({"metadata": metadata, "status": status}, False, 0)
    await watched.auditor().audit(watched.shelves[ALL_PODS])
    assert list(watched.seen.gateway_pods(0)) == []
