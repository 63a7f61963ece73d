"""The access log, and the ids that its lines and the answers share."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from typing import Any

import pytest

from tests.docs.reading import blocks
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_keys import keys
from tests.gateway.world import CHAT, World, until
from torpor.gateway.accesslog import MOST_LINES, AccessLog

Json = dict[str, Any]
Captured = pytest.CaptureFixture[bytes]


def id_of(headers: dict[str, str]) -> str:
    return {name.lower(): value for name, value in headers.items()}["x-request-id"]


class Lines:
    """What was written to the standard output."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self.raw = b""

    def read(self) -> list[Json]:
        self.raw += self._captured.readouterr().out
        return [json.loads(line) for line in self.raw.splitlines()]

    async def of(self, path: str, number: int = 1) -> list[Json]:
        """Wait for so many lines about a path."""
        found: list[Json] = []

        def there() -> bool:
            found[:] = [line for line in self.read() if line["path"] == path]
            return len(found) >= number

        await until(there)
        return found


@pytest.fixture
def lines(capfdbinary: Captured) -> Lines:
    return Lines(capfdbinary)


async def test_a_request_is_one_line_with_all_there_is_to_know_but_what_was_said(
    make_world: MakeWorld, lines: Lines
) -> None:
    world = await make_world(access_log=True)
    world.sleeping(access=keys(web=None))
    await world.lists("llama", key="sk-web")
    asked = world.asking("shop/llama", key="sk-web", messages=[{"content": "a marmot's secret"}])
    await world.waiting(1)
    world.pod(await world.engine())
    _, answer, headers = await asked
    (line,) = await lines.of(CHAT)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["id"] == id_of(headers)
    said = ["method", "path", "endpoint", "model", "key", "status", "promptTokens"]
    assert [line[name] for name in said] == [
        "POST",
        CHAT,
        "shop/llama",
        "shop/llama",
        "web",
        200,
        5,
    ]
    assert (line["completionTokens"], line["cachedTokens"]) == (2, None)
    assert 0 < line["waitedMs"] < line["firstByteMs"] <= line["totalMs"]
    assert line["bytes"] == len(json.dumps(answer))
    (shown,) = [block for block in blocks("json") if block.path == "docs/requests.md"]
    assert list(line) == list(json.loads(shown.text))
    for secret in (b"marmot", b"sk-web", keys(web=None)["keys"][0]["sha256"].encode()):
        assert secret not in lines.raw


async def test_refusals_lists_and_clients_that_leave_have_lines_too(
    make_world: MakeWorld, lines: Lines
) -> None:
    world = await make_world(access_log=True)
    engine = await world.awake()
    engine.between = asyncio.Event()
    await world.lists("llama")
    assert (await world.ask("nobody"))[0] == 404
    assert (await world.get("/nowhere?prompt=secret"))[0] == 404
    asked = world.asking(stream=True)
    await until(lambda: engine.running == 1)
    asked.cancel()
    refused, left = await lines.of(CHAT, 2)
    assert (refused["status"], refused["model"], refused["endpoint"]) == (404, "nobody", "")
    assert (left["status"], left["model"], left["endpoint"]) == (499, "llama", "shop/llama")
    (nowhere,) = await lines.of("/nowhere")
    assert nowhere["status"] == 404
    assert b"secret" not in lines.raw
    listing, *_ = await lines.of("/v1/models")
    assert (listing["method"], listing["status"], listing["endpoint"]) == ("GET", 200, "")
    assert listing["bytes"] > 0


async def test_a_stream_that_broke_is_told_as_it_ended(make_world: MakeWorld, lines: Lines) -> None:
    world = await make_world(access_log=True)
    engine = await world.awake()
    engine.break_after = 1
    status, text, _ = await world.ask(stream=True)
    assert status == 200
    assert b"engine_broke" in text
    assert (await lines.of(CHAT))[0]["status"] == 502


async def test_without_the_setting_nothing_is_written(world: World, lines: Lines) -> None:
    await world.awake()
    await world.ask()
    await world.gateway.close()
    assert lines.read() == []


async def test_what_a_reader_does_not_take_is_counted_and_nobody_waits_for_it() -> None:
    taken, reader, out = threading.Event(), threading.Event(), io.BytesIO()

    def write(data: bytes) -> None:
        taken.set()
        reader.wait()
        out.write(data)

    log = AccessLog(write)
    log.add(b"first\n")
    await until(taken.is_set)  # the reader has it, and stands still
    for _ in range(MOST_LINES + 7):
        log.add(b"x\n")
    reader.set()
    await log.close()
    written = out.getvalue().splitlines()
    assert written[0] == b"first"
    assert written.count(b"x") == MOST_LINES
    assert json.loads(written[-1]) == {"dropped": 7}


# Request ids


@pytest.mark.parametrize(
    "given", ["0b1f9a6e-7c1b-4b6e-9a39-1a2b3c4d5e6f", "trace:1/2=x", "a" * 128]
)
async def test_a_clients_id_comes_back_and_reaches_the_engine(world: World, given: str) -> None:
    engine = await world.awake()
    _, _, headers = await world.ask(headers={"X-Request-ID": given})
    assert id_of(headers) == given
    assert id_of(engine.requests[0][1]) == given


@pytest.mark.parametrize("given", ["a" * 129, "a b", '"', "é", ""])
async def test_an_id_that_cannot_be_passed_on_is_replaced(world: World, given: str) -> None:
    engine = await world.awake()
    _, _, headers = await world.ask(headers={"X-Request-ID": given})
    made = id_of(headers)
    assert re.fullmatch(r"req-[0-9a-f]{16}-[0-9a-f]+", made)
    assert id_of(engine.requests[0][1]) == made


async def test_every_answer_has_an_id_of_its_own(make_world: MakeWorld) -> None:
    world = await make_world(gateways=2, warming_after=0.02)
    world.sleeping()
    for gateway in range(2):
        await world.lists("llama", gateway=gateway)
    found = [id_of((await world.ask("nobody", gateway=n % 2))[2]) for n in range(4)]
    async with world.http.get(world.url("/v1/models")) as response:
        found.append(response.headers["x-request-id"])
    async with world.http.get(world.url("/health")) as response:
        found.append(response.headers["x-request-id"])
    body = {"model": "llama", "stream": True}
    async with world.http.post(world.url(), json=body) as response:
        found.append(response.headers["x-request-id"])  # begun before there is a pod
        world.pod(await world.engine())
        await response.read()
    assert len(set(found)) == len(found)
