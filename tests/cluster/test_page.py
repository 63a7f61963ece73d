"""The page in a real pod: it listens on the pod's loopback only, and `kubectl port-forward` reaches it there."""

import httpx
import pytest

from tests.cluster.apiserver import PODS, until
from tests.cluster.killing import SYSTEM, find_leader
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

PORT = 8082


def test_the_page_is_reached_by_forwarding_and_by_nothing_else(space: Space) -> None:
    space.start("shown")
    leader = find_leader(space.api).pod
    with (
        space.torpor.kube.forwarding(f"pod/{leader}", PORT, SYSTEM) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=10) as client,
    ):
        page = client.get("/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        text = until("the endpoint on the page", lambda: _listed(client, space), timeout=30)
        assert "AWS_SECRET" not in text
        foreign = client.get("/", headers={"host": "evil.example"})
        assert foreign.status_code == 421
    pod = space.api.get(f"{PODS.format(SYSTEM)}/{leader}")
    assert pod is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{pod['status']['podIP']}:{PORT}/", trust_env=False, timeout=10)


def _listed(client: httpx.Client, space: Space) -> str | None:
    text = client.get("/endpoints.json").text
    return text if f'"{space.name}"' in text and '"shown"' in text else None
