"""OpenAI's clients and those built on them get from a gateway what they get from the engine itself."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from dev.clients import Talker
from dev.vllm.conversation import LOOK_OUTSIDE
from tests.clients.conftest import MODEL, MakeWorld, tell
from tests.engine_standin.conftest import Standin
from tests.gateway.world import World, until

pytestmark = pytest.mark.slow

SAID = "Grüße aus dem Schlaf"
HEARD = f"You said: {SAID}"
OFFICIAL = ("openai", "node")


async def test_a_chat(world: World, talker: Talker) -> None:
    got = await tell(talker, world, "chat", model=MODEL, said=SAID)
    assert got["text"] == HEARD
    assert got["tokens"] > 1


@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no-usage"])
async def test_a_stream_has_its_usage_exactly_where_it_was_asked_for(
    world: World, talker: Talker, usage: bool
) -> None:
    whole = await tell(talker, world, "chat", model=MODEL, said=SAID)
    got = await tell(talker, world, "stream", model=MODEL, said=SAID, usage=usage)
    assert got["text"] == HEARD
    assert got["told"] == ([whole["tokens"]] if usage else [])
    if talker.name in OFFICIAL:
        assert got["empty"] == usage
    counted = (await world.demand(f"shop/{MODEL}"))["tokens"]["completion"]
    assert counted == 2 * whole["tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_call_of_a_tool(world: World, talker: Talker, stream: bool) -> None:
    tool = {"type": "function", "function": LOOK_OUTSIDE}
    got = await tell(talker, world, "tools", model=MODEL, tool=tool, stream=stream)
    assert got["name"] == "look_outside"
    assert json.loads(got["arguments"]) == {"city": "Oslo"}
    assert got["finish"] == "tool_calls"


async def test_embeddings(world: World, talker: Talker) -> None:
    got = await tell(talker, world, "embed", model=MODEL, texts=["bear", "bear", "hare"])
    one, same, other = got
    assert one == same != other
    assert len(one) == 8
    assert sum(value * value for value in one) == pytest.approx(1.0, abs=1e-6)


async def test_an_endpoint_at_zero_is_woken_and_answers(
    make_world: MakeWorld, engine: Standin, talker: Talker
) -> None:
    world = await make_world()
    world.sleeping(MODEL)
    await world.lists(MODEL)
    asked = asyncio.create_task(tell(talker, world, "chat", model=MODEL, said=SAID))
    await until(lambda: world.api.patches, seconds=30)
    at: Any = SimpleNamespace(port=engine.port)
    world.pod(at, name=MODEL)
    assert (await asked)["text"] == HEARD


async def test_comments_while_it_wakes_disturb_no_client(
    make_world: MakeWorld, engine: Standin, talker: Talker
) -> None:
    world = await make_world(warming_after=0.01, warming_every=0.01)
    world.sleeping(MODEL)
    await world.lists(MODEL)
    asked = asyncio.create_task(tell(talker, world, "stream", model=MODEL, said=SAID, usage=False))
    await until(lambda: world.api.patches, seconds=30)
    await asyncio.sleep(0.1)
    at: Any = SimpleNamespace(port=engine.port)
    world.pod(at, name=MODEL)
    assert (await asked)["text"] == HEARD


@pytest.mark.parametrize("name", OFFICIAL)
async def test_the_list_and_the_newer_way_to_ask(
    world: World, talkers: dict[str, Talker], name: str
) -> None:
    assert await tell(talkers[name], world, "models") == [MODEL]
    assert await tell(talkers[name], world, "respond", model=MODEL, said=SAID) == HEARD
