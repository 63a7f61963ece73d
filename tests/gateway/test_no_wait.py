"""`x-torpor-no-wait`: an answer at once, and an endpoint that is woken all the same."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.apiserver import ENDPOINTS
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World, until

HASTE = {"x-torpor-no-wait": "true"}


async def test_at_zero_it_is_told_at_once_and_the_wake_is_written(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    status, answer, headers = await world.ask(headers=HASTE, stream=True)
    assert (status, answer["error"]["code"]) == (503, "would_wait")
    assert answer["error"]["type"] == "server_error"
    assert headers["Retry-After"] == "30"
    await until(lambda: world.api.patches)
    assert world.api.replicas("shop/llama") == 1
    demand = await world.demand()
    assert (demand["waiting"], demand["inFlight"]) == (0, 0)
    assert demand["lastByteAtMs"] is not None


async def test_its_wake_is_measured_and_the_next_one_is_answered(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    assert (await world.ask(headers=HASTE))[0] == 503
    await until(lambda: world.api.patches)
    engine = await world.engine()
    world.pod(engine, ready=True)
    await world.sees("pod-1")
    assert (await world.ask(headers=HASTE))[0] == 200
    (wake,) = (await world.demand())["wakes"]
    assert wake["atMs"] <= wake["patchedMs"] <= wake["healthyMs"] <= wake["firstByteMs"]
    _, sent, _ = engine.requests[0]
    assert sent
    assert "x-torpor-no-wait" not in {name.lower() for name in engine.requests[0][1]}


async def test_a_write_that_failed_is_tried_again_for_it(world: World) -> None:
    world.api.patch_answers = [503, 503]
    world.sleeping()
    await world.lists("llama")
    assert (await world.ask(headers=HASTE))[0] == 503
    await until(lambda: world.api.replicas("shop/llama") == 1)


async def test_retry_after_is_what_recent_wakes_took(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    endpoint = world.api.objects[ENDPOINTS]["shop/llama"]
    endpoint["status"]["wakes"] = {"count": 3, "p50Seconds": "41.500"}
    world.api.put(ENDPOINTS, endpoint)
    headers: dict[str, str] = {}
    async with asyncio.timeout(5):
        while headers.get("Retry-After") not in ("42", "41"):
            status, _, headers = await world.ask(headers=HASTE)
            assert status == 503


async def test_busy_pods_are_not_waited_for_either(world: World) -> None:
    engine = await world.awake(scaling={"inFlightPerReplica": 1})
    engine.gate = asyncio.Event()
    first = world.asking(headers=HASTE)
    await until(lambda: engine.running == 1)
    status, answer, headers = await world.ask(headers=HASTE)
    assert (status, answer["error"]["code"], headers["Retry-After"]) == (503, "would_wait", "5")
    assert "busy with 1 requests" in answer["error"]["message"]
    engine.gate.set()
    assert (await first)[0] == 200


@pytest.mark.parametrize("value", ["false", "", "0"])
async def test_only_true_means_it(world: World, value: str) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking(headers={"x-torpor-no-wait": value})
    await world.waiting(1)
    world.pod(await world.engine())
    assert (await asked)[0] == 200


async def test_a_stream_that_waits_hears_how_long_a_wake_usually_takes(
    make_world: MakeWorld,
) -> None:
    world = await make_world(warming_after=0.02)
    world.sleeping()
    endpoint = world.api.objects[ENDPOINTS]["shop/llama"]
    endpoint["status"]["wakes"] = {"count": 3, "p50Seconds": "41.500"}
    world.api.put(ENDPOINTS, endpoint)
    await world.lists("llama")
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        line = await response.content.readline()
        assert b" s, about 4" in line
        assert b" s more:" in line
        world.pod(await world.engine())
        assert (await response.content.read()).endswith(b"data: [DONE]\n\n")
