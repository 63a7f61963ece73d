"""Sent again only if nothing can have been generated; and clients who leave stop counting at once."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from tests.gateway.apiserver import PODS
from tests.gateway.world import World, until

SHUTTING_DOWN = b'{"error":{"message":"cannot schedule new futures after shutdown"}}'


async def test_a_refused_connection_parks_the_request_again(world: World) -> None:
    engine = await world.awake()
    port = engine.port
    await engine.stop()
    asked = world.asking()
    await world.waiting(1)
    await engine.start(port)
    status, _, headers = await asked
    assert status == 200
    assert "x-torpor-waited-ms" in headers
    assert len(engine.requests) == 1


async def test_a_request_that_comes_back_waits_no_longer_than_any_other(world: World) -> None:
    engine = await world.awake(queue={"maxWait": "1s"})
    await engine.stop()
    status, answer, _ = await asyncio.wait_for(world.ask(), 4)
    assert (status, answer["error"]["code"]) == (504, "wait_timeout")


async def test_a_refused_connection_goes_to_another_pod(world: World) -> None:
    engine = await world.awake()
    other = await world.engine()
    world.pod(other, "pod-2", ready=True)
    await world.sees("pod-2")
    await engine.stop()
    answers = await asyncio.gather(*(world.ask() for _ in range(10)))
    assert [status for status, _, _ in answers] == [200] * 10
    assert len(other.requests) == 10


async def test_a_request_that_an_ending_engine_did_not_begin_is_parked_again(world: World) -> None:
    engine = await world.awake()
    engine.status, engine.error = 500, SHUTTING_DOWN
    other = await world.engine()
    asked = world.asking()
    await until(lambda: engine.requests)
    world.pod(other, "pod-2", ready=True)
    world.api.delete(PODS, "shop/pod-1")
    assert (await asked)[0] == 200
    assert len(other.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_breaks_after_sending_is_502_and_never_sent_again(
    world: World, stream: bool
) -> None:
    engine = await world.awake()
    engine.break_after = 0
    status, answer, _ = await world.ask(stream=stream)
    assert (status, answer["error"]["code"]) == (502, "engine_broke")
    assert len(engine.requests) == 1


async def test_other_errors_of_the_engine_are_not_tried_again(world: World) -> None:
    engine = await world.awake()
    engine.status, engine.error = 500, b'{"error":{"message":"cuda"}}'
    assert (await world.ask())[0] == 500
    assert len(engine.requests) == 1


async def test_a_client_that_leaves_while_waiting_stops_counting_and_the_wake_goes_on(
    world: World,
) -> None:
    world.sleeping()
    await world.lists("llama")
    leaver, stayer = world.asking(), world.asking()
    await world.waiting(2)
    leaver.cancel()
    await world.waiting(1)
    await until(lambda: world.api.patches)
    engine = await world.engine()
    world.pod(engine)
    assert (await stayer)[0] == 200
    assert len(engine.requests) == 1
    requests = (await world.demand())["requests"]
    assert requests == {"total": 2, "succeeded": 1, "failed": 0}


async def test_a_client_that_leaves_ends_its_request_at_the_engine(world: World) -> None:
    engine = await world.awake()
    engine.between = asyncio.Event()
    asked = world.asking(stream=True)
    await until(lambda: engine.running == 1)
    asked.cancel()
    await until(lambda: engine.left == 1)
    demand: dict[str, Any] = {"inFlight": 1}
    while demand["inFlight"]:
        demand = await world.demand()
    assert demand["pods"]["pod-1"]["inFlight"] == 0


@pytest.mark.parametrize("left", [True, False], ids=["client leaves", "engine breaks"])
async def test_what_was_used_until_an_answer_ends_early_counts(world: World, left: bool) -> None:
    engine = await world.awake()
    engine.first = b'data: {"choices":[{}],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    engine.between = asyncio.Event()
    engine.break_after = 1
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        line = await response.content.readline()
        assert line == b'data: {"choices":[{}]}\n'  # the client did not ask for usage
        if left:
            response.close()
        else:
            engine.between.set()
            assert b"engine_broke" in await response.content.read()
    demand: dict[str, Any] = {"inFlight": 1}
    while demand["inFlight"]:
        demand = await world.demand()
    assert demand["tokens"] == {"prompt": 7, "completion": 2, "cached": 0}
    assert demand["requests"]["failed"] == (0 if left else 1)


async def test_a_large_body_comes_through_with_expect_100(world: World) -> None:
    engine = await world.awake()
    body = b'{"model": "llama", "x": "' + b"y" * 3_000_000 + b'"}'
    async with world.http.post(world.url(), data=io.BytesIO(body), expect100=True) as response:
        assert response.status == 200
    assert engine.requests[0][2] == body.replace(b'"llama"', b'"@shop/llama"')
