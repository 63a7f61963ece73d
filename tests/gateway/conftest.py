from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.gateway.world import World

MakeWorld = Callable[..., Awaitable[World]]


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
