"""Keys that share an endpoint: turns while they wait, and a limit on what each may have here."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from tests.gateway.world import World, until


def keys(**limits: int | None) -> dict[str, Any]:
    """Give `spec.access` with a key for each name, `sk-NAME`, and its limit."""
    made = []
    for name, limit in limits.items():
        key: dict[str, Any] = {
            "name": name,
            "sha256": hashlib.sha256(f"sk-{name}".encode()).hexdigest(),
        }
        made.append(key | ({"maxInFlight": limit} if limit else {}))
    return {"keys": made}


async def test_a_key_that_queued_many_delays_another_by_one_turn_only(world: World) -> None:
    engine = await world.awake(access=keys(batch=None, web=None), scaling={"inFlightPerReplica": 1})
    engine.gate = asyncio.Event()
    crowd = [world.asking(key="sk-batch", who="batch") for _ in range(20)]
    await world.waiting(19)
    single = world.asking(key="sk-web", who="web")
    await world.waiting(20)
    engine.gate.set()
    assert {status for status, _, _ in await asyncio.gather(single, *crowd)} == {200}
    order = [json.loads(body)["who"] for _, _, body in engine.requests]
    assert order.index("web") == 2
    assert engine.most == 1


async def test_a_key_at_its_limit_is_told_and_others_are_not(world: World) -> None:
    engine = await world.awake(access=keys(shop=2, batch=None), scaling={"inFlightPerReplica": 1})
    engine.gate = asyncio.Event()
    running = world.asking(key="sk-shop")
    await until(lambda: engine.running == 1)
    waits = world.asking(key="sk-shop")
    await world.waiting(1)
    status, answer, headers = await world.ask(key="sk-shop")
    assert (status, answer["error"]["code"]) == (429, "key_busy")
    assert answer["error"]["type"] == "rate_limit_error"
    assert headers["Retry-After"] == "5"
    assert "key shop has 2 of 2 requests in flight" in answer["error"]["message"]
    other = world.asking(key="sk-batch")
    await world.waiting(2)
    waits.cancel()
    await world.waiting(1)
    again = world.asking(key="sk-shop")
    await world.waiting(2)
    engine.gate.set()
    assert [(await task)[0] for task in (running, other, again)] == [200, 200, 200]


async def test_a_limit_counts_on_the_way_to_zero_and_back(world: World) -> None:
    world.sleeping(access=keys(shop=1))
    await world.lists("llama", key="sk-shop")
    waits = world.asking(key="sk-shop")
    await world.waiting(1)
    assert (await world.ask(key="sk-shop"))[0] == 429
    world.pod(await world.engine())
    assert (await waits)[0] == 200
    assert (await world.ask(key="sk-shop"))[0] == 200
