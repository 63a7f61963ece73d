"""Nothing is listened to before discovery names every kind."""

from __future__ import annotations

import asyncio

import pytest

from tests.cluster_room.kubeapi import KubeApi, until
from torpor.cluster.connect import Api
from torpor.cluster.reading import Reader
from torpor.cluster.served import until_served

OURS = "/apis/torpor.dev/v1alpha1"
KINDS = [
    ("", "v1", "pods"),
    ("torpor.dev", "v1alpha1", "gpuclasses"),
    ("torpor.dev", "v1alpha1", "inferenceendpoints"),
]


def serve(kube: KubeApi, group: bool, *plurals: str) -> None:
    """Have discovery name pods, and of torpor's kinds those *plurals*, if it names their *group*."""
    names = ["apps", "torpor.dev"] if group else ["apps"]
    kube.objects["/apis"] = {"groups": [{"name": name} for name in names]}
    kube.objects["/api/v1"] = {"resources": [{"name": "pods"}, {"name": "pods/status"}]}
    kube.objects[OURS] = {"resources": [{"name": plural} for plural in plurals]}


@pytest.mark.parametrize(
    ("group", "plurals"),
    [
        (False, ("gpuclasses", "inferenceendpoints")),
        (True, ("inferenceendpoints", "inferenceendpoints/status")),
        (True, ()),
    ],
)
async def test_a_kind_that_is_not_there_yet_is_waited_for(
    kube: KubeApi, api: Api, group: bool, plurals: tuple[str, ...]
) -> None:
    serve(kube, group, *plurals)
    waiting = asyncio.create_task(until_served(Reader(api, 1.0), KINDS, 0.001))
    await until(lambda: sum(one.path == "/apis" for one in kube.asked) > 2)
    assert not waiting.done()
    serve(kube, True, "gpuclasses", "inferenceendpoints")
    await waiting


async def test_an_api_server_that_does_not_answer_is_waited_for(kube: KubeApi, api: Api) -> None:
    serve(kube, True, "gpuclasses", "inferenceendpoints")
    kube.refuse[f"GET {OURS}"] = (503, "not yet")
    waiting = asyncio.create_task(until_served(Reader(api, 1.0), KINDS, 0.001))
    await until(lambda: sum(one.path == OURS for one in kube.asked) > 2)
    assert not waiting.done()
    kube.refuse.clear()
    await waiting
