"""Ten thousand connections that do nothing: they cost little, hinder nobody, and leave nothing behind."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bench.doors.gatewayprocess import GatewayProcess, running_gateway
from tests.gateway.world import CHAT, World

pytestmark = pytest.mark.slow

MANY = 10_000
FILES = MANY + 1000
ROUNDS = 3
SENT = (
    b"",
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Half: ",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + b"x" * 400,
)
"""A quarter is silent, one has had an answer, one has sent half of its headers, and one half of its body."""


@pytest.fixture
def files() -> Iterator[None]:
    """As many as the clients need, which are in this process; the gateway sees to its own."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(hard, FILES)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def answers(gateway: GatewayProcess) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + CHAT, json={"model": "llama"}) as response,
    ):
        return response.status


async def has_files(gateway: GatewayProcess, least: int, most: int) -> None:
    """Wait until the gateway has so many files open; each look at them takes a while."""
    deadline = time.monotonic() + 60
    while not least <= (seen := gateway.open_files()) <= most:
        assert time.monotonic() < deadline, f"{seen} files are open, not {least} to {most}"
        await asyncio.sleep(0.1)


async def connect_all(gateway: GatewayProcess) -> list[socket.socket]:
    """Open every connection, and return once the gateway has taken them."""
    loop, lines = asyncio.get_running_loop(), []
    for number in range(MANY):
        line = socket.socket()
        line.setblocking(False)
        await loop.sock_connect(line, ("127.0.0.1", gateway.port))
        await loop.sock_sendall(line, SENT[number % len(SENT)])
        lines.append(line)
    await has_files(gateway, MANY, FILES)
    return lines


@pytest.mark.usefixtures("files")
async def test_they_leave_neither_memory_nor_files_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.api.start()
    engine = await world.engine()
    world.endpoint()
    world.deployment(replicas=1)
    world.pod(engine, ready=True)
    patient = {"header_timeout": "600", "body_timeout": "600", "idle_timeout": "600"}
    peaks = []
    try:
        async with running_gateway(world, 0, settings=patient) as gateway:
            assert await answers(gateway) == 200
            files = gateway.open_files()
            for _ in range(ROUNDS):
                lines = await connect_all(gateway)
                assert await answers(gateway) == 200
                peaks.append(gateway.resident_mb())
                for line in lines:
                    line.close()
                await has_files(gateway, 0, files)
                assert await answers(gateway) == 200
    finally:
        await world.http.close()
        await engine.stop()
        await world.api.stop()
    print(f"{MANY} connections: {', '.join(f'{peak:.0f} MB' for peak in peaks)}")
    assert max(peaks[1:]) < 1.1 * peaks[0]
    assert peaks[0] < 400
