"""What pods fail at and what the gateway holds, counted."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.world import World, until


async def samples(world: World, name: str) -> dict[str, float]:
    """Give the samples of a metric of the gateway by their label `reason`, which may be missing."""
    _, page = await world.internal("/metrics")
    return {
        sample.labels.get("reason", ""): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name == f"torpor_gateway_{name}"
    }


async def test_each_way_in_which_a_pod_can_fail_is_counted(world: World) -> None:
    engine = await world.awake(queue={"firstByteTimeout": "1s", "totalTimeout": "1s"})
    assert await samples(world, "upstream_failures_total") == {}
    engine.break_after = 0
    assert (await world.ask())[0] == 502
    engine.break_after, engine.gate = None, asyncio.Event()
    assert (await world.ask())[0] == 504
    engine.gate, engine.between = None, asyncio.Event()
    await world.ask(stream=True)
    assert await samples(world, "upstream_failures_total") == {
        "broke": 1,
        "first_byte_timeout": 1,
        "total_timeout": 1,
    }


async def test_a_pod_that_is_not_reached_is_counted_once_for_each_request(world: World) -> None:
    engine = await world.awake()
    port = engine.port
    await engine.stop()
    asked = world.asking()
    await world.waiting(1)
    await engine.start(port)
    assert (await asked)[0] == 200
    assert await samples(world, "upstream_failures_total") == {"unreached": 1}
    assert await samples(world, "retries_total") == {"": 1}


async def test_bodies_are_held_until_their_answers_begin(world: World) -> None:
    engine = await world.awake()
    engine.gate = asyncio.Event()
    asked = world.asking(prompt="x" * 5000)
    await until(lambda: engine.running == 1)
    held = (await samples(world, "body_bytes"))[""]
    assert 5000 < held < 5200
    assert await samples(world, "held_bytes") == {"": 0}  # it is at the engine, and not parked
    engine.gate.set()
    await asked
    assert await samples(world, "body_bytes") == {"": 0}
