"""Nothing is listened to before the API server serves every kind."""

from __future__ import annotations

import asyncio

from tests.cluster_room.kubeapi import Asked, KubeApi, until
from torpor.cluster.connect import Api
from torpor.cluster.reading import Reader
from torpor.cluster.served import until_served

CLASSES = "/apis/torpor.dev/v1alpha1/gpuclasses"
PODS = "/api/v1/pods"


async def test_a_kind_that_is_not_there_yet_is_waited_for(kube: KubeApi, api: Api) -> None:
    kube.refuse[f"GET {CLASSES}"] = (404, "the server could not find the requested resource")
    waiting = asyncio.create_task(until_served(Reader(api, 1.0), [PODS, CLASSES], 0.001))
    asked: list[Asked] = kube.asked
    await until(lambda: sum(one.path == CLASSES for one in asked) > 2)
    assert not waiting.done()
    kube.refuse.clear()
    await waiting
    assert {one.query["limit"] for one in asked} == {"1"}
    assert sum(one.path == PODS for one in asked) == 1
