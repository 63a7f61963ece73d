"""curl, as people type it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.cluster.machine import ensure_packages
from tests.clients.conftest import MODEL, MakeWorld
from tests.clients.test_errors import MOST, STATES
from tests.engine_standin.conftest import Standin
from tests.gateway.world import World, until

pytestmark = pytest.mark.slow
JSON = ("-H", "Content-Type: application/json")


@pytest.fixture(scope="session", autouse=True)
def curl_is_there() -> None:
    ensure_packages({"curl": "curl"})


async def curl(world: World, path: str, *words: str) -> tuple[int, bytes]:
    """Return curl's exit code and what it printed."""
    command = ("curl", "-sS", "--max-time", "60", world.url(path), *words)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed


def question(**more: Any) -> str:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | more)


async def test_a_chat_and_a_stream(world: World) -> None:
    code, printed = await curl(world, "/v1/chat/completions", *JSON, "-d", question())
    assert code == 0
    assert json.loads(printed)["choices"][0]["message"]["content"] == "You said: hello"
    stream = question(stream=True)
    code, printed = await curl(world, "/v1/chat/completions", "-N", *JSON, "-d", stream)
    assert code == 0
    assert printed.endswith(b"data: [DONE]\n\n")
    assert b"usage" not in printed


async def test_what_the_engine_compresses_or_cuts_into_chunks_comes_out_right(world: World) -> None:
    words = ("--compressed", "-H", "Transfer-Encoding: chunked", *JSON, "-d", question())
    code, printed = await curl(world, "/v1/chat/completions", *words)
    assert code == 0
    assert json.loads(printed)["usage"]["completion_tokens"] > 0


async def test_an_endpoint_at_zero(make_world: MakeWorld, engine: Standin) -> None:
    world = await make_world()
    world.sleeping(MODEL)
    await world.lists(MODEL)
    asked = asyncio.create_task(curl(world, "/v1/chat/completions", *JSON, "-d", question()))
    await until(lambda: world.api.patches, seconds=30)
    at: Any = SimpleNamespace(port=engine.port)
    world.pod(at, name=MODEL)
    assert b"You said: hello" in (await asked)[1]


async def test_an_upload(make_world: MakeWorld, tmp_path: Path) -> None:
    world = await make_world()
    sound = tmp_path / "sound.wav"
    sound.write_bytes(bytes(range(256)) * 8000)  # above 1 MiB curl waits for 100 Continue
    engine = await world.engine(MODEL)
    world.endpoint(MODEL)
    world.deployment(MODEL, replicas=1)
    world.pod(engine, name=MODEL, ready=True)
    await world.sees("pod-1", f"shop/{MODEL}")
    form = ("-F", f"file=@{sound}", "-F", f"model=shop/{MODEL}")
    code, _ = await curl(world, "/v1/audio/transcriptions", *form)
    assert code == 0
    (_, _, body), *none = engine.requests
    assert not none
    assert sound.read_bytes() in body
    assert f'name="model"\r\n\r\n@shop/{MODEL}\r\n'.encode() in body


@pytest.mark.parametrize("status", STATES)
async def test_an_error_is_an_object_and_fails_the_command(
    make_world: MakeWorld, tmp_path: Path, status: int
) -> None:
    world = await make_world(max_body_bytes=MOST)
    bring_about, words = STATES[status]
    await bring_about(world)
    body = tmp_path / "body"
    body.write_text(question(x="x" * 8_000_000) if status == 413 else question())
    given = ("-H", "Authorization: Bearer wrong", *JSON, "--data-binary", f"@{body}")
    told = ("--fail-with-body", "-w", "\n%{http_code}", *given)
    code, printed = await curl(world, "/v1/chat/completions", *told)
    answer, _, number = printed.rpartition(b"\n")
    assert (code, int(number)) == (22, status)
    assert words in json.loads(answer)["error"]["message"]
