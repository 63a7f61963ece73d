import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from tests.gateway.world import World

MakeWorld = Callable[..., Awaitable[World]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on uvloop, as the gateway itself does."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Make a world with settings of one's own; it is closed after the test."""
    made: list[World] = []

    async def make(gateways: int = 1, **settings: object) -> World:
        world = World(tmp_path, **settings)
        made.append(world)
        return await world.open(gateways)

    yield make
    for world in made:
        await world.close()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    return await make_world()
