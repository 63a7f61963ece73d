"""Loads on whatever relays: as many requests as it takes, and hundreds of streams; each with the CPU that they cost."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Protocol

from bench.doors.streams import Clients, Pace
from dev.cluster import HarnessError

PATH = "/v1/chat/completions"
STREAMS, TOKENS_PER_SECOND = 500, 15
"""With events of 250 to 330 bytes about 4 KB a second each."""
CONNECTIONS = 64
_WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[%s]]
"""


class Relaying(Protocol):
    """A process that answers at a port by asking somebody else."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        ...


async def ask_most(who: Relaying, body: bytes, seconds: int, core: int) -> tuple[float, float]:
    """Let wrk on *core* ask as fast as it is answered; return requests a second and µs of CPU for each.

    Raises:
        HarnessError: an answer was not 200, or wrk said nothing that could be read.
    """
    before = who.cpu_seconds()
    printed = await _wrk(f"http://127.0.0.1:{who.port}{PATH}", body, seconds, core)
    cpu = who.cpu_seconds() - before
    if found := re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", printed):
        raise HarnessError(f"wrk: {found.group(0)}")
    rate = re.search(r"Requests/sec: +([\d.]+)", printed)
    total = re.search(r"(\d+) requests in", printed)
    if rate is None or total is None:
        raise HarnessError(f"wrk printed no rate: {printed}")
    return float(rate.group(1)), 1e6 * cpu / int(total.group(1))


async def stream_all(who: Relaying, pace: Pace, seconds: float) -> tuple[float, float]:
    """Have 500 clients read streams of *pace*; return µs of CPU for each event, and KB a second of each stream.

    Raises:
        HarnessError: streams did not begin, or not every event arrived.
    """
    loop, clients = asyncio.get_running_loop(), Clients()
    for _ in range(STREAMS):
        await loop.create_connection(clients.reader, "127.0.0.1", who.port)
    try:
        await _begun(pace)
        await pace.run(TOKENS_PER_SECOND, 1)
        await asyncio.sleep(0.5)
        before, events, got = who.cpu_seconds(), clients.events, clients.bytes
        sent = await pace.run(TOKENS_PER_SECOND, seconds)
        await asyncio.sleep(0.5)
        used, kbytes = who.cpu_seconds() - before, (clients.bytes - got) / 1000
        if clients.events - events != sent:
            raise HarnessError(f"{sent} events sent, {clients.events - events} arrived")
        for one in list(pace.streams):
            one.end()
        await asyncio.sleep(0.5)
    finally:
        clients.hang_up()
    await _ended(pace)
    return 1e6 * used / sent, kbytes / STREAMS / seconds


async def _wrk(url: str, body: bytes, seconds: int, core: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_WRK % body.decode())
        command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        process = await asyncio.create_subprocess_exec(
            *command, "-s", str(script), url, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        return printed.decode()


async def _begun(pace: Pace) -> None:
    for _ in range(200):
        if len(pace.streams) == STREAMS:
            return
        await asyncio.sleep(0.05)
    raise HarnessError(f"{len(pace.streams)} of {STREAMS} streams began")


async def _ended(pace: Pace) -> None:
    """Forget the streams whose connections are kept: the next round begins them anew."""
    pace.streams.clear()
    await asyncio.sleep(0.2)
