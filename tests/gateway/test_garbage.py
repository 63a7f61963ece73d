"""What a request needed is gone with its answer: the garbage collector, which would stop everybody, finds nothing."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

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


@pytest.mark.parametrize("once", [_whole, _streamed, _unknown, _listed])
async def test_an_answer_leaves_nothing_to_the_garbage_collector(
    make_world: MakeWorld, once: Callable[[World], Awaitable[None]]
) -> None:
    world = await make_world()
    await world.awake()
    await once(world)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(MANY):
            await once(world)
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
