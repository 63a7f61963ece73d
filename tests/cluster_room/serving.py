"""The small API server as fixtures: `kube` to look into it, `api` to talk to it as programs do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster_room.kubeapi import KubeApi
from torpor.cluster.connect import Api


@pytest.fixture
async def kube() -> AsyncIterator[KubeApi]:
    server = KubeApi()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def api(kube: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    # Plain HTTP: reading all the certificates that the machine trusts would take 50 ms a test.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    client = await kube.client(tmp_path)
    yield client
    await client.close()
