"""HTTP/1.1 as it comes over the wire: bytes in, bytes out, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.engines import Engine
from tests.gateway.world import CHAT, World, until

BODY = json.dumps({"model": "llama", "messages": []}).encode()
SENT = BODY.replace(b"llama", b"@shop/llama")
"""What the engine gets of it."""


class Line:
    """One connection to the gateway, written to and read from by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer that has a Content-Length or is chunked."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = b"" if first.split()[1] == "100" else await self.reader.read()
        return int(first.split()[1]), headers, body

    async def hung_up(self) -> bool:
        """Return whether nothing more comes."""
        return await asyncio.wait_for(self.reader.read(), 10) == b""


_open: list[Line] = []


@pytest.fixture(autouse=True)
async def lines() -> AsyncIterator[None]:
    """Hang up after each test."""
    yield
    for line in _open:
        line.writer.transport.abort()
    _open.clear()


async def connect(world: World) -> Line:
    line = Line(*await asyncio.open_connection("127.0.0.1", world.gateway.port, limit=1 << 21))
    _open.append(line)
    return line


def post(body: bytes = BODY, *fields: str, version: str = "1.1", path: str = CHAT) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, *fields: str, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = "\r\n".join([f"POST {CHAT} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *fields])
    return head.encode() + b"\r\n\r\n" + framed


@pytest.fixture
async def engine(world: World) -> Engine:
    return await world.awake()


async def test_a_connection_is_used_again_and_requests_sent_ahead_are_answered_in_order(
    world: World, engine: Engine
) -> None:
    line = await connect(world)
    line.send(post() + b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"{}") + post())
    statuses = [await line.answer() for _ in range(4)]
    assert [status for status, _, _ in statuses] == [200, 200, 400, 200]
    assert json.loads(statuses[1][2])["object"] == "list"
    line.send(post())
    assert (await line.answer())[0] == 200
    assert len(engine.requests) == 3


async def test_a_hundred_requests_sent_ahead_are_all_answered(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(post() * 100)
    for _ in range(100):
        assert (await line.answer())[0] == 200
    assert (len(engine.requests), engine.most) == (100, 1)


async def test_a_chunked_body_reaches_the_engine_whole(world: World, engine: Engine) -> None:
    line = await connect(world)
    for size in (1, 7, 1000):
        line.send(chunked(BODY, size=size))
        assert (await line.answer())[0] == 200
    assert [body for _, _, body in engine.requests] == [SENT] * 3


async def test_a_body_that_comes_byte_by_byte_is_read(world: World, engine: Engine) -> None:
    line = await connect(world)
    for byte in post():
        line.send(bytes([byte]))
        await line.writer.drain()
        await asyncio.sleep(0)
    assert (await line.answer())[0] == 200
    assert engine.requests[0][2] == SENT


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(BODY, mtime=0)), ("deflate", zlib.compress(BODY)), ("identity", BODY)],
)
async def test_a_packed_body_is_unpacked_for_the_engine(
    world: World, engine: Engine, encoding: str, packed: bytes
) -> None:
    line = await connect(world)
    line.send(post(packed, f"Content-Encoding: {encoding}"))
    assert (await line.answer())[0] == 200
    assert engine.requests[0][2] == SENT
    assert "content-encoding" not in {name.lower() for name in engine.requests[0][1]}


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        (100_000, post(gzip.compress(b" " * 100_001), "Content-Encoding: gzip")),
        (2000, chunked(b" " * 2001, size=2001)),
    ],
    ids=["packed", "chunked, all at once"],
)
async def test_a_body_is_bounded_by_what_is_in_it_whatever_its_length_says(
    make_world: MakeWorld, limit: int, sent: bytes
) -> None:
    world = await make_world(max_body_bytes=limit)
    await world.awake()
    line = await connect(world)
    line.send(sent)
    status, _, body = await line.answer()
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("fields", "body", "status", "code"),
    [
        (("Content-Encoding: br",), b"x", 415, "unsupported_encoding"),
        (("Content-Encoding: gzip",), b"no gzip", 400, "invalid_body"),
        (("Content-Encoding: gzip",), gzip.compress(BODY, mtime=0)[:-9], 400, "invalid_body"),
    ],
)
async def test_a_body_packed_otherwise_is_refused(
    world: World, engine: Engine, fields: tuple[str, ...], body: bytes, status: int, code: str
) -> None:
    line = await connect(world)
    line.send(post(body, *fields))
    found, _, said = await line.answer()
    assert (found, json.loads(said)["error"]["code"]) == (status, code)
    assert not engine.requests


async def test_who_expects_a_go_gets_one_only_if_the_body_is_wanted(
    make_world: MakeWorld,
) -> None:
    world = await make_world(max_body_bytes=1024)
    await world.awake()
    line = await connect(world)
    line.send(post(BODY, "Expect: 100-continue").removesuffix(BODY))
    assert (await line.answer())[0] == 100
    line.send(BODY)
    assert (await line.answer())[0] == 200
    line.send(post(b" " * 2000, "Expect: 100-continue").rstrip(b" "))
    assert (await line.answer())[0] == 413
    assert await line.hung_up()


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n Content-Length: 5\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_request_is_400_and_ends_the_connection(
    world: World, engine: Engine, bad: bytes
) -> None:
    line = await connect(world)
    line.send(bad)
    status, headers, body = await line.answer()
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert await line.hung_up()
    assert not engine.requests


async def test_nonsense_behind_a_request_does_not_take_its_answer(
    world: World, engine: Engine
) -> None:
    engine.gate = asyncio.Event()
    line = await connect(world)
    line.send(post() + b"nonsense\r\n\r\n")
    await until(lambda: engine.requests)
    engine.gate.set()
    assert (await line.answer())[0] == 200
    assert (await line.answer())[0] == 400
    assert await line.hung_up()


async def test_a_chunk_that_is_none_is_400(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(chunked(b"").removesuffix(b"0\r\n\r\n") + b"zz\r\n")
    status, _, body = await line.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_body")
    assert await line.hung_up()
    assert not engine.requests


async def test_a_long_head_is_431_whether_it_ends_or_not(world: World, engine: Engine) -> None:
    for end in (b"\r\n\r\n", b""):
        line = await connect(world)
        line.send(b"GET /health HTTP/1.1\r\nX: " + b"y" * 70_000 + end)
        assert (await line.answer())[0] == 431
        assert await line.hung_up()


async def test_a_silent_connection_is_closed_and_a_used_one_is_not(make_world: MakeWorld) -> None:
    world = await make_world(idle_timeout=1.0)
    engine = await world.awake()
    engine.gate = asyncio.Event()
    silent, used = await connect(world), await connect(world)
    used.send(post())
    assert await silent.hung_up()
    engine.gate.set()
    assert (await used.answer())[0] == 200


async def test_http_1_0_gets_its_answer_without_chunks(world: World, engine: Engine) -> None:
    line = await connect(world)
    streamed = json.dumps({"model": "llama", "stream": True}).encode()
    line.send(post(streamed, version="1.0"))
    status, headers, body = await line.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert "transfer-encoding" not in headers
    assert body.endswith(b"data: [DONE]\n\n")


async def test_http_1_0_may_keep_its_connection(world: World, engine: Engine) -> None:
    line = await connect(world)
    for _ in range(2):
        line.send(post(BODY, "Connection: keep-alive", version="1.0"))
        status, headers, _ = await line.answer()
        assert (status, headers["connection"]) == (200, "keep-alive")


async def test_who_asks_for_another_protocol_is_answered_in_this_one(
    world: World, engine: Engine
) -> None:
    line = await connect(world)
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: ")
    line.send(post(BODY, *wish) + post(BODY, *wish)[:-5])
    assert (await line.answer())[0] == 200
    line.send(BODY[-5:] + post())
    assert [(await line.answer())[0] for _ in range(2)] == [200, 200]
    sent = {name.lower() for name in engine.requests[0][1]}
    assert not sent & {"upgrade", "http2-settings"}
    assert [body for _, _, body in engine.requests] == [SENT] * 3


async def test_a_tunnel_is_refused(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n\x16\x03")
    status, headers, _ = await line.answer()
    assert (status, headers["connection"]) == (404, "close")
    assert await line.hung_up()


async def test_a_head_request_gets_no_body(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await line.reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head
    line.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await line.answer())[0] == 200


async def test_a_whole_url_and_a_query_are_understood(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(post(path=f"http://example.com{CHAT}?a=%20b&c"))
    assert (await line.answer())[0] == 200
    assert engine.requests[0][0] == f"{CHAT}?a=%20b&c"


async def test_fields_of_one_connection_go_no_further(world: World, engine: Engine) -> None:
    line = await connect(world)
    line.send(post(BODY, "Connection: x-mine", "X-Mine: 1", "X-Yours: 2", "TE: trailers"))
    assert (await line.answer())[0] == 200
    sent = {name.lower(): value for name, value in engine.requests[0][1].items()}
    assert sent["x-yours"] == "2"
    assert not {"x-mine", "te", "keep-alive"} & sent.keys()
