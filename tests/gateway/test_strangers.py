"""An address may belong to another pod by now: what answers there and is not the endpoint's own is never believed."""

from __future__ import annotations

import json

import pytest

from tests.gateway.apiserver import PODS
from tests.gateway.engines import Engine
from tests.gateway.world import World
from torpor.api.endpoint import own_name

ADAPTERS = [{"name": "legal", "source": "s3://models/legal/"}]
NAMESAKE = own_name("mall", "llama")


async def taken_over(world: World, *names: str) -> tuple[Engine, Engine]:
    """Have another engine at the address of a pod whose end the gateway has not heard of; return both."""
    gone = await world.awake()
    assert (await world.ask())[0] == 200
    world.api.late.add(PODS)
    await gone.stop()
    return gone, await world.engine(*names, port=gone.port)


async def test_the_engine_of_a_namesake_gets_nothing_to_generate(world: World) -> None:
    gone, stranger = await taken_over(world, "llama", NAMESAKE)
    asked = world.asking()
    await world.waiting(1)
    new = await world.engine("llama")
    world.api.delete(PODS, "shop/pod-1")
    world.pod(new, "pod-2", ready=True)
    world.hear_pods()
    assert (await asked)[0] == 200
    assert len(new.requests) == 1
    assert stranger.generated == 0
    assert gone.generated == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_who_met_a_stranger_is_answered_by_the_next_pod(world: World, stream: bool) -> None:
    _, stranger = await taken_over(world, "other")
    other = await world.engine("llama")
    asked = world.asking(stream=stream)
    await world.waiting(1)
    world.pod(other, "pod-2", ready=True)
    world.hear_pods()
    assert (await asked)[0] == 200
    assert (stranger.generated, other.generated) == (0, 1)


async def test_a_wrong_server_is_asked_for_nothing_more_until_it_is_ours(world: World) -> None:
    _, stranger = await taken_over(world, "other")
    asked = [world.asking() for _ in range(5)]
    await world.waiting(5)
    met = len(stranger.requests)
    assert 1 <= met <= 5
    stranger.names = ["llama", own_name("shop", "llama")]
    assert [(await one)[0] for one in asked] == [200] * 5
    assert len(stranger.requests) == met + 5


async def test_a_404_of_its_own_engine_reaches_the_client(world: World) -> None:
    engine = await world.awake("llama", model={"source": "s3://models/x/", "adapters": ADAPTERS})
    status, answer, _ = await world.ask("legal")
    assert (status, answer["error"]["code"]) == (404, 404)
    assert "`legal` does not exist" in answer["error"]["message"]
    assert [json.loads(body)["model"] for _, _, body in engine.requests] == ["legal"]
    assert (await world.ask())[0] == 200
