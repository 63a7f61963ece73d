"""The traffic of the losses benchmark tells what is lost from what is not, and its script knows each byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bench.doors.script import Script, compose, learn
from bench.doors.traffic import Asked, traffic

Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


def spoken(asked: bytes, identity: str = "a") -> bytes:
    """Return what the engine says: the last message, as the stand-in echoes it, in one piece or in three."""
    body = json.loads(asked)
    text = "You said: " + body["messages"][0]["content"]
    head = {"id": identity, "created": 7, "model": body["model"]}
    if not body.get("stream"):
        return json.dumps({**head, "choices": [{"message": {"content": text}}]}).encode()
    parts = [text[at : at + 4] for at in range(0, len(text), 4)]
    events = [{**head, "choices": [{"delta": {"content": part}}]} for part in parts]
    lines = [b"data: " + json.dumps(event, separators=(",", ":")).encode() for event in events]
    return b"\n\n".join([*lines, b"data: [DONE]", b""])


async def tell(_: web.BaseRequest, asked: bytes) -> web.StreamResponse:
    return web.Response(body=spoken(asked).replace(b'": ', b'":'))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """Serve while the block runs; gives `host:port`."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await answer(request, await request.read())

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def learned() -> Script:
    async with serving(tell) as address:
        return await learn(address, "m")


async def sent(answer: Answer, count: int) -> list[Asked]:
    script = await learned()
    async with (
        serving(answer) as address,
        traffic(f"http://{address}", "m", script, rate=200) as load,
    ):
        await load.send(count)
        await load.rest()
    return load.asked


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_counts_only_if_every_byte_is_its_own(stream: bool) -> None:
    script = await learned()

    def told(number: str, identity: str = "z") -> bytes:
        asked = json.dumps(compose("m", number, stream)).encode()
        return spoken(asked, identity).replace(b'": ', b'":')

    right = told("00001234")
    assert script.objection(1234, stream, right) is None
    assert script.objection(1234, stream, b": torpor warming up\n\n" * stream + right) is None
    assert script.objection(1234, stream, told("00001235")) is not None
    assert script.objection(1234, stream, right[:-1]) is not None
    assert script.objection(1234, stream, right + b"\n") is not None
    assert script.objection(1234, stream, right.replace(b"word", b"w0rd", 1)) is not None
    mixed = right + b'"id":"other"'
    assert script.objection(1234, stream, mixed) == "one answer has two ids"


async def test_what_is_answered_right_is_not_lost() -> None:
    asked = await sent(tell, 8)
    assert [one.lost for one in asked] == [False] * 8
    assert {one.stream for one in asked} == {False, True}
    assert not [one for one in asked if one.faults]


async def test_another_status_is_lost_and_not_asked_again() -> None:
    came: list[bytes] = []

    async def busy(_: web.BaseRequest, asked: bytes) -> web.StreamResponse:
        came.append(asked)
        return web.Response(status=503, text="busy")

    asked = await sent(busy, 4)
    assert [one.reason for one in asked] == ["503 b'busy'"] * 4
    assert len(came) == 4


async def test_what_breaks_in_the_middle_is_lost_and_not_asked_again() -> None:
    came: list[bytes] = []

    async def cut(request: web.BaseRequest, asked: bytes) -> web.StreamResponse:
        came.append(asked)
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"data: ")
        assert request.transport is not None
        request.transport.abort()
        return reply

    asked = await sent(cut, 4)
    assert all(one.lost and one.reason.startswith("cut off after 6 bytes") for one in asked)
    assert len(came) == 4


async def test_a_new_connection_that_is_cut_is_lost_though_the_second_try_is_answered() -> None:
    seen: set[str] = set()

    async def first_time_cut(request: web.BaseRequest, asked: bytes) -> web.StreamResponse:
        content = json.loads(asked)["messages"][0]["content"]
        if content not in seen:
            seen.add(content)
            assert request.transport is not None
            request.transport.abort()
        return await tell(request, asked)

    asked = await sent(first_time_cut, 4)
    assert all(one.answered and one.lost for one in asked)


async def test_a_used_connection_that_is_just_closed_is_the_clients_race() -> None:
    used: set[object] = set()

    async def second_time_cut(request: web.BaseRequest, asked: bytes) -> web.StreamResponse:
        assert request.transport is not None
        if request.transport in used:
            request.transport.abort()
        used.add(request.transport)
        return await tell(request, asked)

    script = await learned()
    async with (
        serving(second_time_cut) as address,
        traffic(f"http://{address}", "m", script, rate=200) as load,
    ):
        for _ in range(8):
            await load.send(1)
            await load.rest()
            await asyncio.sleep(0)
    kept = [one for one in load.asked if one.faults]
    assert kept
    assert all(fault.used for one in kept for fault in one.faults)
    assert not [one for one in load.asked if one.lost]
