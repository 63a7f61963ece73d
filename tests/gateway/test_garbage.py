"""What a request needed is gone with its answer: the garbage collector, which would stop everybody, finds nothing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World

MANY = 20


async def _whole(world: World) -> None:
    assert (await world.ask())[0] == 200


async def _streamed(world: World) -> None:
    assert (await world.ask(stream=True))[0] == 200


async def _unknown(world: World) -> None:
    assert (await world.ask("nobody"))[0] == 404


async def _listed(world: World) -> None:
    assert (await world.get("/v1/models"))[0] == 200


async def _anew(world: World) -> None:
    """Ask on a connection of its own."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(world.url(), json={"model": "llama"}) as answer,
    ):
        assert answer.status == 200


async def _broken(world: World) -> None:
    """Have the engine hang up instead of answering."""
    world.engines[0].break_after = 0
    assert (await world.ask())[0] == 502


async def _cut(world: World) -> None:
    """Hang up in the middle of a request."""
    _, line = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    line.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nx")
    await line.drain()
    line.close()
    await line.wait_closed()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("once", [_whole, _streamed, _unknown, _listed, _anew, _broken, _cut])
async def test_an_answer_leaves_nothing_to_the_garbage_collector(
    make_world: MakeWorld, once: Callable[[World], Awaitable[None]]
) -> None:
    world = await make_world()
    await world.awake()
    await once(world)
    await asyncio.sleep(0.05)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(MANY):
            await once(world)
        await asyncio.sleep(0.05)  # what was closed ends with the loop's next passes
        gc.collect()
        found = Counter(
            f"{type(left).__module__}.{type(left).__qualname__}"
            for left in gc.garbage
            if type(left).__module__.startswith("torpor.")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    print(found)
    assert not {name: n for name, n in found.items() if n >= MANY}
