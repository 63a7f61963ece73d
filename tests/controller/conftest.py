from collections.abc import AsyncIterator

import pytest

from tests.cluster_room.kubeapi import KubeApi
from tests.cluster_room.serving import api, kube
from tests.controller.stage import Stage
from torpor.cluster.connect import Api

__all__ = ["api", "kube", "stage"]


@pytest.fixture
async def stage(kube: KubeApi, api: Api) -> AsyncIterator[Stage]:
    made = Stage(kube, api)
    await made.open()
    yield made
    await made.close()
