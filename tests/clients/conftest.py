"""Running clients, one process each for the whole session, and a gateway with an engine behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from dev.clients import PYTHON_CLIENTS, Clients, Talker, ensure_clients
from tests.engine_standin.conftest import Standin, launch, make_checkpoint
from tests.gateway.world import World
from torpor.api.endpoint import own_name

MakeWorld = Callable[..., Awaitable[World]]
CLIENTS = (*PYTHON_CLIENTS, "node")
MODEL = "tiny"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on uvloop, as the gateway itself does."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def installed() -> Clients:
    """Every client; installed on first use."""
    return ensure_clients()


@pytest.fixture(scope="session")
def talkers(installed: Clients) -> Iterator[dict[str, Talker]]:
    running = {name: Talker(name, installed) for name in CLIENTS}
    yield running
    for talker in running.values():
        talker.end()


@pytest.fixture(params=CLIENTS)
def talker(request: pytest.FixtureRequest, talkers: dict[str, Talker]) -> Talker:
    """One client after the other."""
    return talkers[request.param]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    """An engine that speaks as vLLM does, on a port of its own."""
    folder = tmp_path_factory.mktemp("engine")
    names = ("--served-model-name", MODEL, "alias", own_name("shop", MODEL))
    running = launch(make_checkpoint(folder / "model"), folder / "log", *names, TOKENS_PER_SECOND=0)
    yield running.wait_healthy()
    running.end()


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Make a world with settings of one's own; it is closed after the test."""
    made: list[World] = []

    async def make(**settings: object) -> World:
        made.append(World(tmp_path, **settings))
        return await made[-1].open()

    yield make
    for world in made:
        await world.close()


@pytest.fixture
async def world(make_world: MakeWorld, engine: Standin) -> World:
    """A gateway that knows one endpoint, which is awake."""
    world = await make_world()
    run_pod(world, engine)
    await world.sees("pod-1", f"shop/{MODEL}")
    return world


def run_pod(world: World, engine: Standin) -> None:
    """Have an endpoint with one ready pod that is *engine*."""
    at: Any = SimpleNamespace(port=engine.port)
    world.endpoint(MODEL)
    world.deployment(MODEL, replicas=1)
    world.pod(at, name=MODEL, ready=True)


async def tell(talker: Talker, world: World, do: str, *, key: str = "none", **wish: Any) -> Any:
    """Tell a client what to ask the gateway; the loop goes on meanwhile, for the gateway runs in it."""
    url = world.url("/v1")
    return await asyncio.to_thread(talker.tell, do, url=url, key=key, **wish)
