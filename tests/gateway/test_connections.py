"""Connections of clients that are slow, silent, deaf, no HTTP or too many: a clear answer, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.world import CHAT, World, until
from torpor.gateway.descriptors import files_for_connections, open_to_the_limit
from torpor.settings.programs import GatewaySettings

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[..., Awaitable[Line]]
BODY = b'{"model": "llama"}'
REQUEST = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Connects to a world's gateway; hangs up after the test."""
    lines: list[Line] = []

    async def connect(world: World, limit: int = 65_536) -> Line:
        port = world.gateway.port
        lines.append(await asyncio.open_connection("127.0.0.1", port, limit=limit))
        return lines[-1]

    yield connect
    for _, writer in lines:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """Read one answer of known length: status, headers, parsed body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (li.partition(": ") for li in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, json.loads(body)


async def ended(reader: asyncio.StreamReader) -> None:
    """Return once the gateway has hung up."""
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_half_a_request_is_told_to_hurry_and_then_hung_up_on(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(header_timeout=0.05)
    reader, writer = await dial(world)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nX-Slow: 1".encode())
    status, headers, answer = await answer_of(reader)
    assert (status, answer["error"]["code"]) == (408, "header_timeout")
    assert "0.05 s" in answer["error"]["message"]
    assert headers["connection"] == "close"
    await ended(reader)


async def test_headers_that_come_a_byte_at_a_time_do_not_win_time(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(header_timeout=0.2)
    reader, writer = await dial(world)
    answer = asyncio.create_task(answer_of(reader))
    writer.write(b"GET /v1/models HTTP/1.1\r\nX: ")
    while not answer.done():
        writer.write(b"x")
        await asyncio.sleep(0.01)
    assert (await answer)[0] == 408


async def test_a_connection_may_rest_between_its_requests(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(header_timeout=0.05)
    await world.awake()
    reader, writer = await dial(world)
    for _ in range(2):
        writer.write(REQUEST + b"\r\n")
        assert (await answer_of(reader))[0] == 200
        writer.write(b"\r\n")
        await asyncio.sleep(0.2)


async def test_headers_in_pieces_are_no_problem_and_neither_is_a_long_body(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(header_timeout=0.2)
    await world.awake()
    reader, writer = await dial(world)
    head, _, body = REQUEST.partition(b"\r\n\r\n")
    for part in (head[:20], head[20:] + b"\r\n\r\n" + body[:4]):
        writer.write(part)
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.4)
    writer.write(body[4:])
    assert (await answer_of(reader))[0] == 200


async def test_a_body_of_a_byte_at_a_time_is_408_in_the_end(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(body_timeout=0.2)
    world.sleeping()
    await world.lists("llama")
    reader, writer = await dial(world)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n".encode())
    answer = asyncio.create_task(answer_of(reader))
    while not answer.done():
        writer.write(b"x")
        await asyncio.sleep(0.01)
    assert (await answer)[2]["error"]["code"] == "body_timeout"
    assert world.api.patches == []


async def test_a_body_that_is_cut_off_leaves_nothing_behind(world: World, dial: Dial) -> None:
    world.sleeping()
    await world.lists("llama")
    door = world.gateway._door
    for cut in ("close", "abort", "half"):
        reader, writer = await dial(world)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
        writer.write(BODY)
        await until(lambda: door.active == 1)
        if cut == "half":
            writer.write_eof()
            await ended(reader)
        elif cut == "abort":
            writer.transport.abort()
        else:
            writer.close()
        await until(lambda: not door.active)
    assert world.api.patches == []
    assert door.holdings.bytes == 0


async def test_a_client_that_reads_nothing_stops_the_engine_and_is_cut_off(
    make_world: MakeWorld, dial: Dial
) -> None:
    """Its answer is never in memory: what is read of the engine is what was taken, and a few buffers."""
    world = await make_world(send_timeout=0.3)
    engine = await world.awake()
    engine.endless = True
    body = b'{"model": "llama", "stream": true}'
    deaf = socket.create_connection(("127.0.0.1", world.gateway.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    deaf.sendall(
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    await until(lambda: engine.left == 1, seconds=15)
    await until(lambda: world.gateway._door.active == 0)
    assert (await world.demand())["inFlight"] == 0
    assert (await world.ask())[0] == 200
    deaf.close()


async def test_a_slow_reader_is_waited_for_and_the_engine_with_it(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world()
    engine = await world.awake()
    engine.endless = True
    body = b'{"model": "llama", "stream": true}'
    reader, writer = await dial(world, limit=2048)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    await reader.readuntil(b"\r\n\r\n")

    async def engine_stands_still() -> int:
        seen = -1
        while seen != engine.sent:
            seen = engine.sent
            for _ in range(50):
                await reader.read(1)
                await asyncio.sleep(0.01)
        return seen

    sent = await asyncio.wait_for(engine_stands_still(), 30)
    assert sent < 40 * 1024 * 1024  # the sockets' own buffers, on both sides of the gateway
    writer.transport.abort()
    await until(lambda: engine.left == 1)


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "invalid_http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_http"),
        (b"GET /v1/models HTTP/1.1\r\nHost x\r\n\r\n", 400, "invalid_http"),
        (b"GET /v1/models HTTP/0.9\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /v1/models HTTP/2.0\r\n\r\n", 505, "http_version_not_supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_http"),
        (b"GET /v1/models HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(200)) + b"\r\n",
            431,
            "headers_too_large",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            400,
            "invalid_http",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_http",
        ),
    ],
)
async def test_what_is_no_http_is_told_so_in_openai_form_and_does_not_fill_the_log(
    world: World, dial: Dial, caplog: pytest.LogCaptureFixture, sent: bytes, status: int, code: str
) -> None:
    with caplog.at_level(logging.INFO):
        reader, writer = await dial(world)
        writer.write(sent)
        got, _, answer = await answer_of(reader)
    assert (got, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in answer["error"]["message"]
    assert caplog.records == []
    await ended(reader)


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415), ("zstd", 415)]
)
async def test_a_body_that_cannot_be_unpacked_is_refused_and_not_in_the_log(
    world: World, dial: Dial, caplog: pytest.LogCaptureFixture, coding: str, status: int
) -> None:
    with caplog.at_level(logging.INFO):
        reader, writer = await dial(world)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {coding}\r\n"
        writer.write(head.encode() + b"Content-Length: 900\r\n\r\n" + b"\xffnothing packed" * 50)
        got, _, answer = await answer_of(reader)
        assert (got, answer["error"]["type"]) == (status, "invalid_request_error")
        await ended(reader)
    assert caplog.records == []


async def test_one_connection_too_many_costs_the_one_that_is_idle_for_longest(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(max_connections=3)
    await world.http.close()
    lines = [await dial(world) for _ in range(3)]
    connections = world.gateway._public_port.connections
    await until(lambda: connections.open == 3)
    late = await dial(world)
    await ended(lines[0][0])
    for reader, writer in (*lines[1:], late):
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer_of(reader))[0] == 200
    assert connections.open == 3
    for _, writer in (*lines, late):
        writer.close()
    await until(lambda: (connections.open, connections.idle) == (0, 0))


async def test_where_all_are_busy_the_new_one_is_told_to_come_back(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(max_connections=2)
    world.sleeping()
    await until(lambda: "shop/llama" in world.gateway._hall.directory.entries)
    lines = [await dial(world) for _ in range(2)]
    for _, writer in lines:
        writer.write(REQUEST)
    await world.waiting(2)
    reader, writer = await dial(world)
    writer.write(REQUEST)
    status, headers, answer = await answer_of(reader)
    assert (status, answer["error"]["code"]) == (503, "too_many_connections")
    assert "limit 2" in answer["error"]["message"]
    assert int(headers["retry-after"]) >= 1
    silent, _ = await dial(world)
    await ended(silent)
    await ended(reader)
    connections = world.gateway._public_port.connections
    await until(lambda: (connections.open, connections.leaving) == (2, 0), seconds=15)
    world.pod(await world.engine())
    for reader, _ in lines:
        assert (await answer_of(reader))[0] == 200


async def test_a_crowd_that_is_too_many_is_closed_without_a_word(
    make_world: MakeWorld, dial: Dial
) -> None:
    world = await make_world(max_connections=1)
    world.sleeping()
    await until(lambda: "shop/llama" in world.gateway._hall.directory.entries)
    _, writer = await dial(world)
    writer.write(REQUEST)
    await world.waiting(1)
    connections = world.gateway._public_port.connections
    crowd = [await dial(world) for _ in range(400)]
    await until(lambda: connections.open == 1)
    assert connections.leaving <= 257
    for reader, _ in crowd:
        await ended(reader)
    await until(lambda: (connections.open, connections.leaving) == (1, 0), seconds=15)


async def test_open_files_bound_connections_too(world: World, dial: Dial) -> None:
    """A request needs a second socket, to its engine: without one left it could be answered by nobody."""
    world.sleeping()
    await until(lambda: "shop/llama" in world.gateway._hall.directory.entries)
    connections = world.gateway._public_port.connections
    await world.http.close()
    await until(lambda: connections.open == 0)
    connections.limits = dataclasses.replace(connections.limits, files=5)
    lines = [await dial(world) for _ in range(3)]
    for _, writer in lines[:2]:
        writer.write(REQUEST)
    await until(lambda: (connections.open, connections.idle) == (3, 1))
    late, writer = await dial(world)  # two that are busy count twice
    await ended(lines[2][0])
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answer_of(late))[0] == 200


def test_files_are_counted_with_some_left_for_the_rest() -> None:
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for soft, left in [(4000, 4000 - 512), (30, 16)]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert files_for_connections() == left
        open_to_the_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_every_limit_of_the_settings_bounds_something() -> None:
    settings = GatewaySettings()
    assert settings.header_timeout < settings.idle_timeout
    assert settings.max_connections * 8192 < settings.max_held_bytes
