"""At the door: a herd wakes an endpoint with one write, strangers are turned away, and a roll-out loses nobody."""

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dev.install.installed import create_key
from tests.cluster.apiserver import DEPLOYMENTS, Seen, until
from tests.cluster.crowd import ask_all
from tests.cluster.space import HELLO, Space

pytestmark = pytest.mark.cluster

HERD = 100
WALKERS = 8
SPEED = {"STANDIN_TOKENS_PER_SECOND": "20", "STANDIN_REPLY_TOKENS": "20"}
"""Each answer takes a second, so that some are always on their way while gateways come and go."""


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


def test_a_rollout_of_the_gateways_under_traffic_loses_nothing(space: Space) -> None:
    space.start("traffic", keep_alive="5m", switches=SPEED)
    assert space.chat("traffic").status == 200
    stop, kube = threading.Event(), space.torpor.kube
    with ThreadPoolExecutor(WALKERS) as pool:
        walks = [pool.submit(_walk, space, stop, n % 2 == 0) for n in range(WALKERS)]
        try:
            old = _doors(space)
            began = time.monotonic()
            where = ("-n", space.torpor.namespace)
            kube.run(*where, "rollout", "restart", "deployment/torpor-gateway")
            until(
                "the old gateways are gone, two new ones are there",
                lambda: True if len(now := _doors(space)) == 2 and not now & old else None,
                timeout=90,
            )
            took = time.monotonic() - began
        finally:
            stop.set()
        outcomes = Counter(outcome for walk in walks for outcome in walk.result())
    print(f"rollout took {took:.1f} s under traffic: {dict(outcomes)}")
    assert set(outcomes) == {"answered"}
    assert outcomes["answered"] >= 2 * WALKERS


def _doors(space: Space) -> set[str]:
    """Return the addresses of all gateways, those that drain included."""
    return set(space.torpor.gateway_pods())


def _walk(space: Space, stop: threading.Event, keep: bool) -> list[str]:
    """Stream one answer after the other until told to stop: over one connection, or over a new one each time."""
    outcomes = []
    asked = {"model": f"{space.name}/traffic", "messages": HELLO, "max_tokens": 20, "stream": True}
    client = httpx.Client(timeout=60, trust_env=False)
    while not stop.is_set():
        if not keep:
            client.close()
            client = httpx.Client(timeout=60, trust_env=False)
        try:
            url = f"{space.torpor.url}/chat/completions"
            with client.stream("POST", url, json=asked) as answer:
                told = b"".join(answer.iter_bytes())
            whole = answer.status_code == 200 and told.rstrip().endswith(b"data: [DONE]")
            outcomes.append("answered" if whole else f"{answer.status_code}: {told[-200:]!r}")
        except httpx.HTTPError as error:
            outcomes.append(repr(error))
    client.close()
    return outcomes
