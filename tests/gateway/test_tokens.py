"""Ten thousand requests, a tenth of them left in the middle: the gateway's tokens beside the engine's own counters."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from tests.engine_standin.conftest import Standin, launch, make_checkpoint
from tests.gateway.conftest import MakeWorld
from tests.gateway.engines import Engine
from tests.gateway.world import World
from torpor.api.endpoint import own_name

REQUESTS, AT_ONCE = 10_000, 48
TOKENS_PER_SECOND = 400
"""Slow enough that a client can leave while the answer is still being made."""
STOP = {"ignore_eos": True}


@dataclass
class Told:
    """What the clients saw."""

    prompt: int = 0
    completion: int = 0
    """Of answers that came whole, by their own usage."""
    left: int = 0
    delivered: int = 0
    """Chunks with text that came to the clients who left."""
    most: int = 0
    """Answer tokens that those had asked for."""


async def ask_whole(world: World, words: dict[str, Any], told: Told) -> None:
    status, answer, _ = await world.ask(**words)
    assert status == 200
    told.prompt += answer["usage"]["prompt_tokens"]
    told.completion += answer["usage"]["completion_tokens"]


async def ask_streamed(world: World, words: dict[str, Any], told: Told) -> None:
    """Half of the clients ask for usage; the others must not see any."""
    wants = words["max_tokens"] % 2 == 0
    if wants:
        words["stream_options"] = {"include_usage": True}
    status, text, _ = await world.ask(stream=True, **words)
    assert status == 200
    assert text.endswith(b"data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: {")]
    assert [bool(chunk.get("usage")) for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    assert ("usage" in chunks[-1]) is wants
    if wants:
        told.prompt += chunks[-1]["usage"]["prompt_tokens"]
        told.completion += chunks[-1]["usage"]["completion_tokens"]


async def leave(world: World, words: dict[str, Any], told: Told, after: int) -> None:
    """Read so many chunks with text, and go."""
    body = {"model": "llama", "stream": True} | words
    async with world.http.post(world.url(), json=body) as response:
        assert response.status == 200
        seen = 0
        while seen < after and (line := await response.content.readline()):
            if line.startswith(b"data: {"):
                choice = json.loads(line[6:])["choices"][0]
                seen += bool(choice["delta"].get("content"))
        response.close()
    told.left += 1
    told.delivered += seen
    told.most += words["max_tokens"]


async def ask_all(world: World, told: Told) -> None:
    chance = random.Random(7)
    numbers = iter(range(REQUESTS))

    async def client() -> None:
        for number in numbers:
            length = chance.randint(3, 12)
            said = " ".join(["word"] * chance.randint(1, 40))
            words: dict[str, Any] = {
                "messages": [{"role": "user", "content": said}],
                "max_tokens": length,
                **STOP,
            }
            match number % 10:
                case 0:
                    await leave(world, words, told, chance.randint(1, length - 1))
                case 1 | 2 | 3:
                    await ask_streamed(world, words, told)
                case _:
                    await ask_whole(world, words, told)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def at_rest(world: World, engine: Standin) -> tuple[dict[str, int], dict[str, int]]:
    """Wait until nothing runs on either side; return the tokens of both."""
    demand: dict[str, Any] = {"inFlight": 1}
    while demand["inFlight"]:
        demand = await world.demand()
    engine.wait_until(lambda: engine.metric("vllm:num_requests_running") == 0)
    own = {
        "prompt": int(engine.metric("vllm:prompt_tokens_total")),
        "completion": int(engine.metric("vllm:generation_tokens_total")),
    }
    return {kind: demand["tokens"][kind] for kind in own}, own


@pytest.mark.slow
async def test_tokens_equal_the_engine_s_own_but_for_what_nobody_was_given(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    engine = launch(
        make_checkpoint(tmp_path / "model"),
        tmp_path / "log",
        "--served-model-name",
        "llama",
        own_name("shop", "llama"),
        TOKENS_PER_SECOND=TOKENS_PER_SECOND,
    )
    try:
        engine.wait_healthy()
        world = await make_world()
        await world.http.close()
        world.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        world.endpoint(scaling={"inFlightPerReplica": AT_ONCE})
        world.deployment(replicas=1)
        world.pod(cast("Engine", SimpleNamespace(port=engine.port, names=[])), ready=True)
        await world.sees("pod-1")
        told = Told()
        await ask_all(world, told)
        counted, own = await at_rest(world, engine)
    finally:
        engine.end()
    print(f"{REQUESTS} requests, {told.left} left: counted {counted}, engine {own}, clients {told}")
    assert told.left == REQUESTS // 10
    assert counted["prompt"] == own["prompt"]
    undelivered = own["completion"] - counted["completion"]
    assert 0 <= undelivered <= told.most - told.delivered
