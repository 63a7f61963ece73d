"""What the controller reads, and how a gateway ends."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from tests.gateway.apiserver import ENDPOINTS, PODS
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World, until


async def test_an_untouched_endpoint_is_not_listed(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    _, body = await world.internal("/internal/v1/demand")
    report = json.loads(body)
    assert report["endpoints"] == {}
    assert report["gateway"] == "gateway-1"
    assert report["startedAtMs"] <= report["asOfMs"]


async def test_demand_counts_who_waits_and_who_runs_where(world: World) -> None:
    engine = await world.awake(scaling={"inFlightPerReplica": 2})
    engine.gate = asyncio.Event()
    asked = [world.asking() for _ in range(5)]
    await world.waiting(3)
    demand = await world.demand()
    assert (demand["waiting"], demand["inFlight"]) == (3, 2)
    assert demand["pods"]["pod-1"]["inFlight"] == 2
    ((begin, end),) = demand["pods"]["pod-1"]["busy"]
    assert end is None
    engine.gate.set()
    await asyncio.gather(*asked)
    demand = await world.demand()
    assert (demand["waiting"], demand["inFlight"]) == (0, 0)
    assert demand["requests"] == {"total": 5, "succeeded": 5, "failed": 0}
    busy = demand["pods"]["pod-1"]["busy"]
    assert busy[0][0] == begin
    assert all(end is not None for _, end in busy)
    assert demand["lastByteAtMs"] >= busy[-1][1]


async def test_pods_are_remembered_with_what_the_meter_needs(world: World) -> None:
    await world.awake()
    seen = (await world.demand())["podsSeen"]["pod-1"]
    assert seen == {
        "name": "pod-1",
        "gpuClass": "l40s",
        "gpus": 2,
        "scheduledAtMs": 1767323045000,
        "firstReadyAtMs": 1767323045000,
        "deletedAtMs": None,
        "finishedAtMs": None,
        "goneAtMs": None,
    }
    pod = world.api.objects[PODS]["shop/pod-1"]
    pod["metadata"] |= {
        "deletionTimestamp": "2026-01-02T03:05:35Z",
        "deletionGracePeriodSeconds": 30,
    }
    pod["status"]["conditions"] = []
    pod["status"]["containerStatuses"] = [
        {"name": "engine", "state": {"terminated": {"finishedAt": "2026-01-02T03:05:10Z"}}}
    ]
    world.api.put(PODS, pod)
    world.api.delete(PODS, "shop/pod-1")
    while not (seen := (await world.demand())["podsSeen"]["pod-1"])["goneAtMs"]:
        pass
    assert seen["firstReadyAtMs"] == 1767323045000
    assert seen["deletedAtMs"] == 1767323105000
    assert seen["finishedAtMs"] == 1767323110000


async def test_metrics_are_text_with_bounded_labels(world: World) -> None:
    await world.awake()
    await world.ask()
    await world.ask("unknown")
    status, body = await world.internal("/metrics")
    assert status == 200
    text = body.decode()
    rest = 'model_name="llama",namespace="shop"'
    asked = f'{{adapter="",code="200",endpoint="llama",key="",{rest}}}'
    assert f"torpor_gateway_requests_total{asked} 1.0" in text
    told = f'{{adapter="",endpoint="llama",key="",kind="prompt",{rest}}}'
    assert f"torpor_gateway_tokens_total{told} 5.0" in text
    assert f'torpor_gateway_in_flight{{endpoint="llama",{rest}}} 0.0' in text
    assert "unknown" not in text


async def test_the_internal_paths_are_not_on_the_public_port(world: World) -> None:
    for path in ("/metrics", "/internal/v1/demand", "/readyz"):
        assert (await world.get(path))[0] == 404


async def test_readiness_waits_for_the_first_lists(make_world: MakeWorld) -> None:
    world = await make_world(gateways=0)
    await world.api.stop()
    adding = asyncio.create_task(world.add_gateway())
    await until(lambda: world.gateways and world.gateway.internal_port)
    status, body = await world.internal("/readyz")
    assert (status, b"endpoints, deployments, pods" in body) == (503, True)
    assert (await world.internal("/healthz"))[0] == 200
    status, answer, headers = await world.ask()
    assert (status, answer["error"]["code"]) == (503, "gateway_starting")
    assert headers["Retry-After"] == "1"
    await world.api.start()
    await adding


async def test_a_draining_gateway_answers_all_who_are_there_and_takes_nobody_new(
    make_world: MakeWorld,
) -> None:
    world = await make_world(drain_delay=0.3)
    engine = await world.awake()
    engine.between = asyncio.Event()
    world.sleeping("other")
    await world.lists("llama", "other")
    running = world.asking(stream=True)
    waiting = world.asking("other")
    await world.waiting(1, "shop/other")
    await until(lambda: engine.running)
    draining = asyncio.create_task(world.gateway.drain(asyncio.Event()))
    await until(lambda: world.gateway.draining)
    assert (await world.internal("/readyz"))[0] == 503
    status, _, headers = await world.ask(path="/v1/embeddings")
    assert (status, headers["Connection"]) == (200, "close")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await _knock_until_closed(client, world.url("/health"))
    assert not draining.done()
    engine.between.set()
    world.pod(await world.engine("other"), "pod-2", name="other")
    assert (await running)[0] == 200
    assert (await waiting)[0] == 200
    await draining


async def _knock_until_closed(client: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with client.get(url) as response:
            assert response.headers["Connection"] == "close"


async def test_a_hurry_ends_the_grace(make_world: MakeWorld) -> None:
    world = await make_world()
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    hurry = asyncio.Event()
    draining = asyncio.create_task(world.gateway.drain(hurry))
    await until(lambda: world.gateway.draining)
    assert not draining.done()
    hurry.set()
    await draining
    asked.cancel()


async def test_who_still_waits_when_the_grace_is_over_is_told(make_world: MakeWorld) -> None:
    world = await make_world(drain_grace=0.1)
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    await world.gateway.drain(asyncio.Event())
    status, answer, headers = await asked
    assert (status, answer["error"]["code"]) == (503, "gateway_ending")
    assert headers["Retry-After"] == "1"


async def test_a_namesake_of_a_deleted_endpoint_starts_from_nothing(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    world.api.delete(ENDPOINTS, "shop/llama")
    assert (await asked)[0] == 404
    world.sleeping()
    await world.lists("llama")
    assert await world.demand() == {}


async def test_the_last_report_is_left_to_be_read(make_world: MakeWorld) -> None:
    world = await make_world(farewell=5.0)
    await world.awake()
    draining = asyncio.create_task(world.gateway.drain(asyncio.Event()))
    await until(lambda: world.gateway.draining)
    while not draining.done():
        await world.demand()
    await draining
