from __future__ import annotations

from typing import Any

import pytest

from tests.cluster_room.kubeapi import APPLY, MERGE, Asked, KubeApi
from torpor.cluster.connect import Api
from torpor.cluster.objects import Conflict, Missing, Objects, path_of
from torpor.errors import Stalled, Waiting

Json = dict[str, Any]
DEPLOYMENT = "/apis/apps/v1/namespaces/ml/deployments/tiny"
ENDPOINT = "/apis/torpor.dev/v1alpha1/namespaces/ml/inferenceendpoints/tiny"


def deployment(replicas: int = 0) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tiny", "namespace": "ml"},
        "spec": {"replicas": replicas},
    }


@pytest.fixture
def objects(api: Api) -> Objects:
    return Objects(api)


@pytest.mark.parametrize(
    ("version", "kind", "namespace", "path"),
    [
        ("apps/v1", "Deployment", "ml", "/apis/apps/v1/namespaces/ml/deployments/x"),
        ("batch/v1", "Job", "ml", "/apis/batch/v1/namespaces/ml/jobs/x"),
        ("v1", "ServiceAccount", "ml", "/api/v1/namespaces/ml/serviceaccounts/x"),
        ("v1", "Event", "ml", "/api/v1/namespaces/ml/events/x"),
        ("v1", "Node", None, "/api/v1/nodes/x"),
    ],
)
def test_every_kind_has_its_path(version: str, kind: str, namespace: str | None, path: str) -> None:
    metadata = {"name": "x"} | ({"namespace": namespace} if namespace else {})
    assert path_of({"apiVersion": version, "kind": kind, "metadata": metadata}) == path


async def test_create_posts_once_under_its_own_manager(kube: KubeApi, objects: Objects) -> None:
    created = await objects.create(deployment())
    assert created is not None
    assert created["metadata"]["uid"] == kube.objects[DEPLOYMENT]["metadata"]["uid"]
    assert await objects.create(deployment(3)) is None
    assert kube.objects[DEPLOYMENT]["spec"] == {"replicas": 0}
    assert {asked.manager for asked in kube.asked} == {"torpor-create"}


async def test_apply_is_server_side_and_takes_over(kube: KubeApi, objects: Objects) -> None:
    kube.put(DEPLOYMENT, deployment(2))
    wanted = deployment() | {"spec": {"revisionHistoryLimit": 2}}
    applied = await objects.apply(wanted)
    assert applied["spec"] == {"replicas": 2, "revisionHistoryLimit": 2}
    assert (kube.asked[0].content_type, kube.asked[0].manager) == (APPLY, "torpor")


async def test_scale_is_carried_out_on_the_version_it_was_decided_on(
    kube: KubeApi, objects: Objects
) -> None:
    version = kube.put(DEPLOYMENT, deployment(1))["metadata"]["resourceVersion"]
    assert await objects.scale("ml", "tiny", 0, version) == 0
    assert kube.objects[DEPLOYMENT]["spec"]["replicas"] == 0
    assert kube.asked[0].path == f"{DEPLOYMENT}/scale"
    assert (kube.asked[0].content_type, kube.asked[0].manager) == (MERGE, "torpor-scaler")


async def test_scale_loses_against_a_gateway_that_was_quicker(
    kube: KubeApi, objects: Objects
) -> None:
    old = kube.put(DEPLOYMENT, deployment(1))["metadata"]["resourceVersion"]
    kube.put(DEPLOYMENT, deployment(4))
    with pytest.raises(Conflict, match="has been modified"):
        await objects.scale("ml", "tiny", 0, old)
    assert kube.objects[DEPLOYMENT]["spec"]["replicas"] == 4


async def test_the_status_is_merged_and_nothing_else_touched(
    kube: KubeApi, objects: Objects
) -> None:
    endpoint = kube.put(
        ENDPOINT,
        {
            "apiVersion": "torpor.dev/v1alpha1",
            "kind": "InferenceEndpoint",
            "metadata": {"name": "tiny", "namespace": "ml"},
            "spec": {"model": {"source": "s3://b/p/"}},
            "status": {"url": "http://old", "failure": {"reason": "Unschedulable"}, "replicas": 1},
        },
    )
    patch = {"url": "http://new", "failure": None}
    written = await objects.write_status(endpoint, patch)
    assert written["status"] == {"url": "http://new", "replicas": 1}
    assert written["spec"] == endpoint["spec"]
    with pytest.raises(Conflict):
        await objects.write_status(endpoint, patch)


async def test_labels_come_and_go(kube: KubeApi, objects: Objects) -> None:
    node = "/api/v1/nodes/n1"
    labels = {"zone": "a", "weights.torpor.dev/old": "ready"}
    kube.put(node, {"kind": "Node", "metadata": {"name": "n1", "labels": labels}})
    await objects.label_node("n1", {"weights.torpor.dev/new": "ready"})
    await objects.label_node("n1", {"weights.torpor.dev/old": None})
    left = {"zone": "a", "weights.torpor.dev/new": "ready"}
    assert kube.objects[node]["metadata"]["labels"] == left


async def test_marks_of_pods_come_and_go(kube: KubeApi, objects: Objects) -> None:
    path = "/api/v1/namespaces/ml/pods/tiny-1"
    metadata = {"name": "tiny-1", "namespace": "ml", "uid": "u", "annotations": {"a": "b"}}
    kube.put(path, {"kind": "Pod", "metadata": metadata})
    await objects.mark_pod("ml", "tiny-1", "u", {"torpor.dev/spare": "7"})
    assert kube.objects[path]["metadata"]["annotations"] == {"a": "b", "torpor.dev/spare": "7"}
    await objects.mark_pod("ml", "tiny-1", "u", {"torpor.dev/spare": None})
    assert kube.objects[path]["metadata"]["annotations"] == {"a": "b"}
    assert kube.asked[-1].body["metadata"]["uid"] == "u"  # the server refuses it of another pod
    await objects.mark_pod("ml", "gone", "u", {"torpor.dev/spare": "7"})


async def test_delete_takes_only_the_object_it_means(kube: KubeApi, objects: Objects) -> None:
    old = kube.put(DEPLOYMENT, deployment())
    kube.delete(DEPLOYMENT)
    await objects.delete(old)  # gone already
    kube.put(DEPLOYMENT, deployment())
    await objects.delete(old)  # a namesake
    assert DEPLOYMENT in kube.objects
    await objects.delete(kube.objects[DEPLOYMENT])
    assert DEPLOYMENT not in kube.objects
    assert all(a.body["propagationPolicy"] == "Background" for a in kube.asked)


@pytest.mark.parametrize("status", [400, 403, 422])
async def test_a_refusal_stalls_and_says_what_the_server_said(
    kube: KubeApi, objects: Objects, status: int
) -> None:
    kube.refuse[f"PATCH {DEPLOYMENT}"] = (status, "spec.template: image is required")
    with pytest.raises(Stalled, match=r"refused PATCH .*tiny: spec\.template: image is required"):
        await objects.apply(deployment())


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_server_in_trouble_is_waited_for(
    kube: KubeApi, objects: Objects, status: int
) -> None:
    kube.refuse[f"GET {DEPLOYMENT}"] = (status, "busy")
    with pytest.raises(Waiting, match=f"answered {status}: busy") as caught:
        await objects.read(deployment())
    assert not isinstance(caught.value, Conflict | Missing)
    assert caught.value.after.total_seconds() > 0


async def test_what_a_server_forbids_while_it_starts_is_waited_for(
    kube: KubeApi, objects: Objects
) -> None:
    kube.refuse[f"GET {DEPLOYMENT}"] = (403, "no role is known yet")
    kube.refuse["GET /readyz"] = (500, "informer-sync failed")
    with pytest.raises(Waiting, match="it starts, and forbids GET"):
        await objects.read(deployment())


async def test_what_a_server_forbade_just_before_it_was_ready_is_asked_again(
    kube: KubeApi, objects: Objects
) -> None:
    kube.put(DEPLOYMENT, deployment())
    kube.refuse[f"GET {DEPLOYMENT}"] = (403, "no role is known yet")

    def know(asked: Asked) -> None:
        if asked.path == "/readyz":
            kube.refuse.clear()

    kube.before = know
    assert (await objects.read(deployment()))["metadata"]["name"] == "tiny"


async def test_what_is_missing_is_said_as_such(objects: Objects) -> None:
    with pytest.raises(Missing, match="not found"):
        await objects.read(deployment())


async def test_a_server_that_is_not_there_is_waited_for(kube: KubeApi, objects: Objects) -> None:
    await kube.stop()
    with pytest.raises(Waiting, match="cannot be reached"):
        await objects.read(deployment())
