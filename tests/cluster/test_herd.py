"""At the door: a herd wakes an endpoint with one write, and strangers are turned away."""

import asyncio
from collections import Counter

import pytest

from dev.install.installed import create_key
from tests.cluster.apiserver import DEPLOYMENTS, Seen
from tests.cluster.crowd import ask_all
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

HERD = 100


def _writes(deployments: Seen, name: str) -> list[int]:
    """Return `metadata.generation` each time it grew: every write of the spec moves it by one."""
    seen = [int(obj["metadata"]["generation"]) for _, _, obj in deployments.of(name)]
    return sorted(set(seen))


@pytest.mark.parametrize("doors", ["service", "both gateways"])
def test_a_herd_wakes_an_endpoint_with_exactly_one_write(space: Space, doors: str) -> None:
    space.start(
        "herd",
        keep_alive="5m",
        spec={
            "scaling": {"inFlightPerReplica": HERD, "keepAlive": {"policy": "fixed", "after": "5m"}}
        },
    )
    asleep = space.deployment("herd")["metadata"]["generation"]
    addresses = [f"http://{ip}:8080" for ip in space.torpor.gateway_pods()]
    assert len(addresses) == 2
    chosen = addresses if doors == "both gateways" else [space.torpor.gateway]
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        statuses = asyncio.run(ask_all(space, "herd", chosen, HERD))
    deployment = space.deployment("herd")
    assert Counter(statuses) == {200: HERD}
    assert _writes(deployments, "herd") == [asleep, asleep + 1]
    assert deployment["metadata"]["generation"] == asleep + 1
    assert deployment["spec"]["replicas"] == 1
    (write,) = [
        e for e in deployment["metadata"]["managedFields"] if e.get("subresource") == "scale"
    ]
    assert write["manager"] == "torpor-gateway"


def test_an_unknown_model_is_a_404_of_the_openai_kind(space: Space) -> None:
    space.apply(space.compose("known"))
    reply = space.chat("unknown")
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert "unknown" in reply.error["message"]


def test_only_a_key_from_torpor_key_create_opens_the_door(space: Space) -> None:
    key, entry = create_key("shop")
    other, _ = create_key("stranger")
    space.start("locked", spec={"access": {"keys": [entry]}}, keep_alive="1s")
    for wrong in (None, other, key[:-1]):
        reply = space.chat("locked", key=wrong)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert space.replicas("locked") == 0
    assert space.chat("locked", key=key).status == 200
