from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster_room.kubeapi import Asked, KubeApi
from tests.controller.stage import ACCOUNT, DEPLOYMENT, JOBS, KEY
from torpor.cluster.connect import Api
from torpor.cluster.objects import Conflict, Objects
from torpor.controller.children import Children, Wanted, covers
from torpor.controller.seen import Seen
from torpor.errors import Stalled, Waiting

Json = dict[str, Any]


def child(version: str, kind: str, name: str, **more: Any) -> Json:
    labels = {"torpor.dev/endpoint": "tiny"}
    owner = {"uid": "uid-ie", "kind": "InferenceEndpoint", "name": "tiny"}
    metadata = {"name": name, "namespace": "ml", "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def job(name: str) -> Json:
    return child("batch/v1", "Job", name, spec={"backoffLimit": 0})


ACCOUNT_WANTED = child("v1", "ServiceAccount", "tiny-engine", automountServiceAccountToken=False)
FIRST = child("apps/v1", "Deployment", "tiny", spec={"replicas": 0, "template": {"image": "a"}})
APPLIED = child("apps/v1", "Deployment", "tiny", spec={"template": {"image": "a", "cpu": "0.5"}})
WANTED = Wanted(ACCOUNT_WANTED, (job("tiny-check-1"),), FIRST, APPLIED)


class Nursery:
    """The children of one endpoint, the watches of the API server fed back."""

    def __init__(self, kube: KubeApi, api: Api) -> None:
        self.kube = kube
        self.seen = Seen("torpor-system")
        self.children = Children(self.seen, Objects(api))
        kube.told = self.hear

    def hear(self, event: str, obj: Json) -> None:
        self.seen.take_child(obj["kind"], obj, event == "DELETED")

    async def settle(self, wanted: Wanted = WANTED, hold: bool = False) -> list[str]:
        """Settle once and return the writes it took."""
        self.kube.asked.clear()
        await self.children.settle(KEY, wanted, hold)
        return self.kube.writes()


@pytest.fixture
def nursery(kube: KubeApi, api: Api) -> Nursery:
    return Nursery(kube, api)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_a_watch_tells_before_the_answer_comes_is_not_overwritten_by_it(
    nursery: Nursery, method: str
) -> None:
    """The answer to a write may be older than the last word about the object, which nobody says again."""
    newer: list[Json] = []

    def hear(event: str, obj: Json) -> None:
        nursery.hear(event, obj)
        if obj["kind"] in ("Deployment", "Job") and nursery.kube.asked[-1].method == method:
            later = copy.deepcopy(obj)
            later["metadata"]["resourceVersion"] += "9"
            newer.append(later)
            nursery.hear("MODIFIED", later)

    nursery.kube.told = hear
    await nursery.settle(hold=method == "POST")
    known = [nursery.seen.deployments[KEY], *nursery.seen.jobs(KEY)]
    assert [obj["kind"] for obj in newer] == {
        "POST": ["Job", "Deployment"],
        "PATCH": ["Deployment"],
    }[method]
    assert all(obj in known for obj in newer)


async def test_a_deployment_that_is_not_what_was_heard_is_read_again(nursery: Nursery) -> None:
    await nursery.settle()
    missed = copy.deepcopy(nursery.kube.objects[DEPLOYMENT])
    nursery.kube.told = lambda _event, _obj: None
    nursery.kube.put(DEPLOYMENT, missed)
    stale = nursery.seen.deployments[KEY]["metadata"]["resourceVersion"]
    await nursery.children.read_deployment(KEY)
    now = nursery.seen.deployments[KEY]["metadata"]["resourceVersion"]
    assert now == nursery.kube.objects[DEPLOYMENT]["metadata"]["resourceVersion"] != stale


async def test_children_are_made_once_and_then_left_alone(nursery: Nursery) -> None:
    assert await nursery.settle() == [
        "POST /api/v1/namespaces/ml/serviceaccounts",
        "POST /apis/batch/v1/namespaces/ml/jobs",
        "POST /apis/apps/v1/namespaces/ml/deployments",
        f"PATCH {DEPLOYMENT}",
    ]
    assert nursery.kube.objects[DEPLOYMENT]["spec"]["replicas"] == 0
    assert await nursery.settle() == []


async def test_replicas_of_the_gateway_are_no_drift(nursery: Nursery) -> None:
    await nursery.settle()
    woken = copy.deepcopy(nursery.kube.objects[DEPLOYMENT])
    woken["spec"]["replicas"] = 3
    nursery.kube.put(DEPLOYMENT, woken)
    assert await nursery.settle() == []
    assert nursery.kube.objects[DEPLOYMENT]["spec"]["replicas"] == 3


@pytest.mark.parametrize(("path", "field"), [(DEPLOYMENT, "spec"), (ACCOUNT, "metadata")])
async def test_what_somebody_changed_is_put_back(nursery: Nursery, path: str, field: str) -> None:
    await nursery.settle()
    meddled = copy.deepcopy(nursery.kube.objects[path])
    if field == "spec":
        meddled["spec"]["template"]["image"] = "evil"
    else:
        meddled["metadata"]["ownerReferences"] = []
    nursery.kube.put(path, meddled)
    assert await nursery.settle() == [f"PATCH {path}"]
    assert await nursery.settle() == []


async def test_what_was_deleted_before_a_watch_says_so_is_not_made_by_an_apply(
    nursery: Nursery,
) -> None:
    """Applied without `replicas` to nothing, a Deployment is made with one: a GPU started by nobody."""
    await nursery.settle()
    meddled = copy.deepcopy(nursery.kube.objects[DEPLOYMENT])
    meddled["spec"]["template"]["image"] = "evil"
    nursery.kube.put(DEPLOYMENT, meddled)
    nursery.kube.told = lambda _event, _obj: None
    nursery.kube.delete(DEPLOYMENT)
    with pytest.raises(Conflict):
        await nursery.settle()
    assert DEPLOYMENT not in nursery.kube.objects
    nursery.seen.take_child("Deployment", meddled, deleted=True)
    nursery.kube.told = nursery.hear
    await nursery.settle()
    assert nursery.kube.objects[DEPLOYMENT]["spec"]["replicas"] == 0


async def test_a_value_that_the_server_writes_otherwise_is_applied_once(nursery: Nursery) -> None:
    def normalise(asked: Asked) -> None:
        if asked.method == "PATCH":
            asked.body["spec"]["template"]["cpu"] = "500m"

    nursery.kube.before = normalise
    await nursery.settle()
    assert nursery.kube.objects[DEPLOYMENT]["spec"]["template"]["cpu"] == "500m"
    assert await nursery.settle() == []
    woken = copy.deepcopy(nursery.kube.objects[DEPLOYMENT])
    woken["spec"]["replicas"] = 3
    nursery.kube.put(DEPLOYMENT, woken)
    assert await nursery.settle() == [], "a wake brings no apply with it"
    other = copy.deepcopy(APPLIED)
    other["spec"]["template"]["image"] = "b"
    changed = Wanted(ACCOUNT_WANTED, WANTED.jobs, FIRST, other)
    assert await nursery.settle(changed) == [f"PATCH {DEPLOYMENT}"]
    assert await nursery.settle(changed) == []


async def test_a_deployment_held_back_keeps_its_template(nursery: Nursery) -> None:
    await nursery.settle()
    other = copy.deepcopy(APPLIED)
    other["spec"]["template"]["image"] = "b"
    changed = Wanted(ACCOUNT_WANTED, WANTED.jobs, FIRST, other)
    assert await nursery.settle(changed, hold=True) == []
    assert nursery.kube.objects[DEPLOYMENT]["spec"]["template"]["image"] == "a"
    assert await nursery.settle(changed) == [f"PATCH {DEPLOYMENT}"]


async def test_new_jobs_are_made_and_those_no_longer_wanted_deleted_when_that_may_be(
    nursery: Nursery,
) -> None:
    await nursery.settle()
    moved = Wanted(ACCOUNT_WANTED, (job("tiny-fetch-1"),))
    over = copy.deepcopy(nursery.kube.objects[JOBS + "tiny-check-1"])
    over["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    nursery.kube.put(JOBS + "tiny-check-1", over)
    assert await nursery.settle(moved) == ["POST /apis/batch/v1/namespaces/ml/jobs"]
    nursery.kube.asked.clear()
    await nursery.children.clear_jobs(KEY, moved.job_names)
    assert nursery.kube.writes() == [f"DELETE {JOBS}tiny-check-1"]
    assert await nursery.settle(moved) == []
    assert DEPLOYMENT in nursery.kube.objects  # not wanted yet is not unwanted


async def test_a_job_that_is_not_wanted_and_has_nothing_to_tell_yet_goes_at_once(
    nursery: Nursery,
) -> None:
    await nursery.settle()
    assert await nursery.settle(Wanted(ACCOUNT_WANTED)) == [f"DELETE {JOBS}tiny-check-1"]


async def test_a_job_that_is_going_away_is_not_deleted_again(nursery: Nursery) -> None:
    await nursery.settle()
    going = copy.deepcopy(nursery.kube.objects[JOBS + "tiny-check-1"])
    going["metadata"]["deletionTimestamp"] = "2026-11-23T21:00:00Z"
    nursery.kube.put(JOBS + "tiny-check-1", going)
    nursery.kube.asked.clear()
    await nursery.children.clear_jobs(KEY, frozenset())
    assert nursery.kube.writes() == []


@pytest.mark.parametrize("foreign", [FIRST, ACCOUNT_WANTED], ids=lambda obj: str(obj["kind"]))
async def test_an_object_of_somebody_else_is_told_and_never_touched(
    nursery: Nursery, foreign: Json
) -> None:
    path = DEPLOYMENT if foreign["kind"] == "Deployment" else ACCOUNT
    theirs = {k: v for k, v in foreign.items() if k != "metadata"}
    theirs["metadata"] = {"name": foreign["metadata"]["name"], "namespace": "ml", "labels": {}}
    stored = copy.deepcopy(nursery.kube.put(path, theirs))
    for _ in range(2):
        with pytest.raises(Stalled, match=f"a {foreign['kind']} .* is not this endpoint's") as told:
            await nursery.settle()
        assert told.value.reason == "NameConflict"
    assert nursery.kube.objects[path] == stored


@pytest.mark.parametrize("left", [FIRST, ACCOUNT_WANTED], ids=lambda obj: str(obj["kind"]))
@pytest.mark.parametrize("heard", [True, False], ids=["heard of", "not heard of"])
async def test_what_a_namesake_left_behind_is_waited_out(
    nursery: Nursery, left: Json, heard: bool
) -> None:
    path = DEPLOYMENT if left["kind"] == "Deployment" else ACCOUNT
    theirs = copy.deepcopy(left)
    theirs["metadata"]["ownerReferences"][0]["uid"] = "uid-of-the-old-one"
    if not heard:
        nursery.kube.told = lambda event, obj: None
    stored = copy.deepcopy(nursery.kube.put(path, theirs))
    nursery.kube.told = nursery.hear
    with pytest.raises(Waiting, match="is on its way out") as told:
        await nursery.settle()
    assert 0 < told.value.after.total_seconds() <= 2
    assert nursery.kube.objects[path] == stored
    nursery.kube.delete(path)  # Kubernetes collects it
    await nursery.settle()
    owner = nursery.kube.objects[path]["metadata"]["ownerReferences"][0]
    assert owner["uid"] == "uid-ie"
    assert await nursery.settle() == []


async def test_somebody_elses_object_that_is_going_away_is_waited_out(nursery: Nursery) -> None:
    metadata = {"name": "tiny", "namespace": "ml", "deletionTimestamp": "2026-11-23T21:00:00Z"}
    nursery.kube.put(DEPLOYMENT, FIRST | {"metadata": metadata})
    with pytest.raises(Waiting, match="is on its way out"):
        await nursery.settle()


async def test_an_own_object_that_was_not_heard_of_yet_is_taken(nursery: Nursery) -> None:
    await nursery.settle()
    nursery.seen.deployments.clear()
    nursery.seen.accounts.clear()
    await nursery.settle()
    assert KEY in nursery.seen.deployments


@pytest.mark.parametrize(
    ("wanted", "current", "yes"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": {"b": 1}}, {"a": None}, False),
        ({"a": {}}, {}, True),
        ({"a": []}, {"a": None}, True),
        ({"a": None}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, True),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 2}]}, False),
        ({"a": 0}, {}, False),
        ({"a": False}, {}, False),
        ({"paused": False}, {}, True),
        ({"paused": False}, {"paused": True}, False),
    ],
)
def test_covers_what_is_wanted_and_lets_others_add(wanted: Json, current: Json, yes: bool) -> None:
    assert covers(wanted, current) is yes
