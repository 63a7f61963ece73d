"""Which of several pods gets a request, and how one that could not be reached comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.engines import Engine
from tests.gateway.world import World, until


async def fleet(world: World, number: int, **spec: Any) -> list[Engine]:
    """An endpoint with several ready pods, known to every gateway."""
    engines = [await world.engine() for _ in range(number)]
    world.endpoint(**spec)
    world.deployment(replicas=number)
    for n, engine in enumerate(engines):
        world.pod(engine, f"pod-{n}", ready=True)
    for gateway in range(len(world.gateways)):
        for n in range(number):
            await world.sees(f"pod-{n}", gateway=gateway)
    return engines


def conversation(number: int, turns: int) -> list[dict[str, str]]:
    said = [{"role": "system", "content": f"You are marmot {number}. " * 60}]
    return said + [{"role": "user", "content": f"turn {n}"} for n in range(turns)]


async def test_every_turn_of_a_conversation_goes_to_the_same_pod_through_every_gateway(
    make_world: MakeWorld,
) -> None:
    world = await make_world(gateways=2)
    engines = await fleet(world, 3, scaling={"maxReplicas": 3, "routing": "prefix"})
    homes = set()
    for number in range(12):
        for engine in engines:
            engine.requests.clear()
        for turns in range(1, 5):
            messages = conversation(number, turns)
            assert (await world.ask(messages=messages, gateway=turns % 2))[0] == 200
        (home,) = [n for n, engine in enumerate(engines) if engine.requests]
        assert len(engines[home].requests) == 4
        homes.add(home)
    assert homes == {0, 1, 2}


async def test_a_prefix_that_everybody_sends_does_not_fill_one_pod(world: World) -> None:
    engines = await fleet(world, 3, scaling={"maxReplicas": 3, "routing": "prefix"})
    for engine in engines:
        engine.gate = asyncio.Event()
    asked = [world.asking(messages=conversation(1, 1)) for _ in range(30)]
    await until(lambda: sum(engine.running for engine in engines) == 30)
    assert max(engine.running for engine in engines) <= 14  # 1.25 times their average, and one
    assert min(engine.running for engine in engines) > 0
    for engine in engines:
        assert engine.gate is not None
        engine.gate.set()
    assert {status for status, _, _ in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize("routing", ["leastInFlight", "prefix"])
async def test_requests_without_a_prompt_go_where_there_are_fewest(
    world: World, routing: str
) -> None:
    engines = await fleet(world, 2, scaling={"maxReplicas": 2, "routing": routing})
    for engine in engines:
        engine.gate = asyncio.Event()
    asked = [world.asking(path="/v1/embeddings", input="same") for _ in range(8)]
    await until(lambda: sum(engine.running for engine in engines) == 8)
    assert [engine.running for engine in engines] == [4, 4]
    for engine in engines:
        assert engine.gate is not None
        engine.gate.set()
    await asyncio.gather(*asked)


async def test_a_pod_that_could_not_be_reached_comes_back_though_nobody_waits(
    world: World,
) -> None:
    one, other = await fleet(world, 2, scaling={"maxReplicas": 2})
    port = one.port
    await one.stop()
    other.gate = asyncio.Event()
    asked = [world.asking(), world.asking()]
    await until(lambda: other.running == 2)  # one of them was to go to the other pod
    await one.start(port)
    await until(lambda: one.connections)  # nobody waits, and it is looked at
    async with asyncio.timeout(5):
        while not one.requests:  # the look may have begun, and not ended yet
            more = world.asking()
            await until(lambda: one.requests or other.running == 3)
            more.cancel()
            await until(lambda: one.requests or other.running == 2)
    other.gate.set()
    assert {(await task)[0] for task in asked} == {200}
