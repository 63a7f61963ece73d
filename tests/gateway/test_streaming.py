"""Streams: byte for byte, both ways, with comments while waiting and errors that are never silent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.gateway.conftest import MakeWorld
from tests.gateway.engines import DONE, FIXED_CHUNKS, USAGE_CHUNK
from tests.gateway.world import READY, World, until

PLAIN = b"".join(FIXED_CHUNKS) + DONE
WITH_USAGE = b"".join(FIXED_CHUNKS) + USAGE_CHUNK + DONE


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, PLAIN),
        ({"stream_options": None}, PLAIN),
        ({"stream_options": {"include_usage": False}}, PLAIN),
        ({"stream_options": {"include_usage": True}}, WITH_USAGE),
    ],
    ids=["unasked", "null", "unwanted", "wanted"],
)
async def test_a_stream_arrives_byte_for_byte_and_its_tokens_are_counted(
    world: World, options: dict[str, Any], text: bytes
) -> None:
    await world.awake()
    status, got, headers = await world.ask(stream=True, **options)
    assert (status, got) == (200, text)
    assert headers["Content-Type"].startswith("text/event-stream")
    assert (await world.demand())["tokens"] == {"prompt": 7, "completion": 3, "cached": 0}


async def test_chunks_are_passed_on_as_they_come(world: World) -> None:
    engine = await world.awake()
    engine.between = asyncio.Event()
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        assert await response.content.readany() == FIXED_CHUNKS[0]
        engine.between.set()
        assert await response.content.read() == PLAIN[len(FIXED_CHUNKS[0]) :]


async def test_an_answer_that_is_no_stream_is_counted_too(world: World) -> None:
    await world.awake()
    status, answer, _ = await world.ask()
    assert (status, answer["usage"]["prompt_tokens"]) == (200, 5)
    demand = await world.demand()
    assert demand["tokens"] == {"prompt": 5, "completion": 2, "cached": 0}
    assert demand["requests"] == {"total": 1, "succeeded": 1, "failed": 0}


async def test_unknown_members_and_the_query_reach_the_engine_unchanged(world: World) -> None:
    engine = await world.awake()
    body = b'{ "x" : 1.50, "model":"%s" , "y":"\\u00e9" }  '
    url = URL(world.url() + "?a=1&b=%2F", encoded=True)
    async with world.http.post(url, data=body % b"llama", headers={"x-mine": "1"}) as response:
        assert response.status == 200
    path, headers, got = engine.requests[0]
    assert path == "/v1/chat/completions?a=1&b=%2F"
    assert got == body % b"@shop/llama"
    assert headers["x-mine"] == "1"
    assert headers["Accept-Encoding"] == "identity"


async def test_every_name_of_a_model_is_spelled_as_only_its_engine_knows_it(world: World) -> None:
    model = {"source": "s3://models/x/", "name": "org/llama", "aliases": ["gpt-x"]}
    engine = await world.awake("org/llama", "gpt-x", model=model)
    for name in ["org/llama", "shop/org/llama", "shop/llama", "gpt-x", "shop/gpt-x"]:
        assert (await world.ask(name))[0] == 200, name
    sent = [json.loads(body)["model"] for _, _, body in engine.requests]
    assert sent == ["@shop/llama"] * 5


async def test_an_upload_names_its_model_in_the_form(world: World) -> None:
    engine = await world.awake()
    for name in ["llama", "shop/llama"]:
        form = aiohttp.FormData()
        form.add_field("file", b"\x00\r\n\x01" * 50, filename="a.wav")
        form.add_field("model", name)
        form.add_field("prompt", "model")
        url = world.url("/v1/audio/transcriptions")
        async with world.http.post(url, data=form) as response:
            assert response.status == 200
    first, second = (body for _, _, body in engine.requests)
    assert b'name="model"\r\n\r\n@shop/llama\r\n' in second
    assert b"\x00\r\n\x01" * 50 in second
    assert len(first) == len(second)


async def test_a_stream_that_waits_hears_comments_and_then_its_answer(
    make_world: MakeWorld,
) -> None:
    world = await make_world(warming_after=0.02, warming_every=0.02)
    world.sleeping()
    await world.lists("llama")
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        lines = [await response.content.readline() for _ in range(4)]
        assert lines[0].startswith(b": torpor warming up llama")
        assert lines[2].startswith(b": torpor warming up llama")
        world.pod(await world.engine())
        rest = await response.content.read()
    assert rest.endswith(PLAIN)
    comments = rest[: -len(PLAIN)].split(b"\n\n")
    assert all(c.startswith(b": torpor") for c in comments if c)


async def test_comments_say_what_the_controller_says(make_world: MakeWorld) -> None:
    world = await make_world(warming_after=0.02)
    world.sleeping()
    await world.lists("llama")
    endpoint = world.api.objects["/apis/torpor.dev/v1alpha1/inferenceendpoints"]["shop/llama"]
    awake = {"type": "Awake", "status": "False", "reason": "WarmingUp", "message": "weights\n43 %"}
    endpoint["status"]["conditions"] = [READY, awake]
    world.api.put("/apis/torpor.dev/v1alpha1/inferenceendpoints", endpoint)
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        line = await response.content.readline()
        assert line.endswith(b"s: weights 43 %\n")
        world.pod(await world.engine())
        assert (await response.content.read()).endswith(DONE)


async def test_a_failure_after_the_first_comment_is_an_event(make_world: MakeWorld) -> None:
    world = await make_world(warming_after=0.02)
    world.sleeping()
    await world.lists("llama")
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        assert (await response.content.readline()).startswith(b": torpor")
        world.endpoint(ready=READY | {"status": "False", "reason": "EngineCrashed", "message": "x"})
        last = (await response.content.read()).strip().split(b"\n\n")[-1]
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == "EngineCrashed"
    assert (await world.demand())["requests"]["failed"] == 1


async def test_an_error_of_the_engine_after_the_first_comment_is_an_event(
    make_world: MakeWorld,
) -> None:
    world = await make_world(warming_after=0.02)
    world.sleeping()
    await world.lists("llama")
    engine = await world.engine()
    engine.status, engine.error = 400, b'{"error": {"message": "too\\nlong", "code": 400}}'
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        assert (await response.content.readline()).startswith(b": torpor")
        world.pod(engine)
        last = (await response.content.read()).strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "too\nlong"


async def test_an_error_of_the_engine_is_passed_on_as_it_is(world: World) -> None:
    engine = await world.awake()
    engine.status, engine.error = 400, b'{"error":{"message":"too long"}}'
    status, answer, _ = await world.ask()
    assert (status, answer) == (400, {"error": {"message": "too long"}})


async def test_a_stream_that_breaks_ends_with_an_error_event(world: World) -> None:
    engine = await world.awake()
    engine.break_after = 2
    status, text, _ = await world.ask(stream=True)
    assert status == 200
    assert text.startswith(FIXED_CHUNKS[0] + FIXED_CHUNKS[1])
    error = json.loads(text.split(b"\n\n")[2].removeprefix(b"data: "))["error"]
    assert error["code"] == "engine_broke"
    assert len(engine.requests) == 1
    assert (await world.demand())["requests"]["failed"] == 1


async def test_a_stream_that_lasts_too_long_ends_with_an_error_event(world: World) -> None:
    engine = await world.awake(queue={"firstByteTimeout": "1s", "totalTimeout": "1s"})
    engine.between = asyncio.Event()
    _, text, _ = await world.ask(stream=True)
    error = json.loads(text.split(b"\n\n")[1].removeprefix(b"data: "))["error"]
    assert error["code"] == "engine_timeout"
    assert "totalTimeout" in error["message"]
    await until(lambda: engine.left == 1)
