"""What a body costs the gateway: its bytes once, counted as they come, and nothing for those who may use nothing."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from tests.gateway.conftest import MakeWorld
from tests.gateway.test_refusing import locked
from tests.gateway.world import CHAT, World
from torpor.api.quantities import parse_bytes
from torpor.domain.waitroom import Refusal
from torpor.gateway.holding import Holding, Holdings
from torpor.settings.programs import GatewaySettings

MIB = 1024 * 1024
SIZE = 8 * MIB


async def large_body(size: int = SIZE) -> AsyncIterator[bytes]:
    """Give a streaming chat request of about *size* bytes, of which the client itself keeps nothing."""
    yield b'{"model": "llama", "stream": true, "prompt": "'
    part = b"x" * 65_536
    for _ in range(size // len(part)):
        yield part
    yield b'"}'


async def send_large(world: World, size: int = SIZE) -> int:
    headers = {"Content-Type": "application/json"}
    async with world.http.post(world.url(), data=large_body(size), headers=headers) as response:
        await response.read()
        return response.status


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
async def test_a_held_body_costs_its_size_once(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    before, _ = tracemalloc.get_traced_memory()
    asked = asyncio.create_task(send_large(world))
    await world.waiting(1)
    held = tracemalloc.get_traced_memory()[0] - before
    assert SIZE <= held < 1.25 * SIZE
    world.pod(await world.engine())
    assert await asked == 200


@pytest.mark.usefixtures("traced")
async def test_a_body_is_let_go_when_its_answer_begins(make_world: MakeWorld) -> None:
    world = await make_world(max_held_bytes=SIZE + 1000)
    engine = await world.awake()
    engine.between = asyncio.Event()
    before, _ = tracemalloc.get_traced_memory()
    headers = {"Content-Type": "application/json"}
    async with world.http.post(world.url(), data=large_body(), headers=headers) as response:
        assert await response.content.readany()
        engine.requests.clear()
        at_engine = 2 * SIZE  # it runs in this process, and has parsed the body
        assert tracemalloc.get_traced_memory()[0] - before < at_engine + 0.5 * SIZE
        assert (await world.ask(prompt="x" * 1000))[0] == 200
        engine.between.set()
        await response.read()


async def test_bodies_that_are_still_coming_count(make_world: MakeWorld) -> None:
    world = await make_world(max_held_bytes=1500)
    await world.awake()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n".encode()
    lines = [await asyncio.open_connection("127.0.0.1", world.gateway.port) for _ in range(3)]
    for _, writer in lines:
        writer.write(head + b"x" * 600)
    answers = {asyncio.create_task(reader.readuntil(b"}}")) for reader, _ in lines}
    refused, pending = await asyncio.wait(answers, timeout=5, return_when="FIRST_COMPLETED")
    assert [(b" 429 " in a.result(), b"gateway_full" in a.result()) for a in refused] == [
        (True, True)
    ]
    for task in pending:
        task.cancel()
    for _, writer in lines:
        writer.close()
    deadline = time.monotonic() + 5
    while (await world.ask(prompt="x" * 900))[0] != 200:
        assert time.monotonic() < deadline, "what the clients who left had sent still counts"


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_who_may_use_nothing_is_told_before_the_body_comes(
    world: World, key: str | None
) -> None:
    world.sleeping(access=locked("right"))
    await world.lists("llama", key="right")
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    given = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n{given}\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"WWW-Authenticate: Bearer" in answer
    assert b"invalid_api_key" in answer
    writer.close()


async def test_who_may_use_something_is_still_told_of_an_unknown_model(world: World) -> None:
    world.sleeping(access=locked("right"))
    await world.lists("llama", key="right")
    assert (await world.ask("none", key="right"))[0] == 404
    assert (await world.ask("none", key="wrong"))[0] == 401


def test_what_does_not_fit_does_not_count_and_everything_is_given_back() -> None:
    together = Holdings(100)
    with Holding(together) as one, Holding(together) as other:
        assert one.grow(60) is None
        refusal = other.grow(41)
        assert isinstance(refusal, Refusal)
        assert refusal.status == 429
        assert "60" in refusal.message
        assert "41" in refusal.message
        assert "100" in refusal.message
        assert other.grow(40) is None
        one.settle(10)
        assert together.bytes == 50
    assert together.bytes == 0


def test_the_bound_leaves_room_in_the_memory_that_the_chart_allows() -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "charts/torpor/values.yaml").read_text())
    limit = parse_bytes(values["gateway"]["resources"]["limits"]["memory"])
    assert 4 * GatewaySettings().max_held_bytes <= limit
