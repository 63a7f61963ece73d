"""One gateway as a process of its own on a core of its own, told of endpoints and pods by a small API server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.frame.interpreter import as_shipped, cpu_seconds
from dev.cluster import HarnessError
from dev.ports import free_port
from tests.cluster_room.kubeconfig import write_kubeconfig
from tests.gateway.world import World

Json = dict[str, Any]
READY_SECONDS = 30.0
QUIET = {"TORPOR_GATEWAY_DRAIN_DELAY": "0", "TORPOR_GATEWAY_FAREWELL": "0"}
"""It ends at once when told to."""


@dataclass(frozen=True)
class GatewayProcess:
    """A gateway that runs."""

    pid: int
    port: int
    internal_port: int

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, in user and system mode."""
        return cpu_seconds(self.pid)

    def resident_mb(self) -> float:
        """Return the memory that it holds now, in MB (10^6 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024 / 1e6

    def open_files(self) -> int:
        """Return how many files, which sockets are, it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def demand(self) -> Json:
        """Return its demand report by endpoint."""
        url = f"http://127.0.0.1:{self.internal_port}/internal/v1/demand"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            found: Json = (await answer.json())["endpoints"]
            return found


@asynccontextmanager
async def running_gateway(
    world: World,
    core: int,
    name: str = "gateway-1",
    settings: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway on *core* while the block runs, with more *settings* by field; *log* gets what it says.

    Raises:
        HarnessError: it did not become ready.
    """
    port, internal = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = write_kubeconfig(Path(folder), f"http://127.0.0.1:{world.api.port}", token="t")
        env = (
            os.environ
            | QUIET
            | {
                "TORPOR_GATEWAY_HOST": "127.0.0.1",
                "TORPOR_GATEWAY_PORT": str(port),
                "TORPOR_GATEWAY_INTERNAL_PORT": str(internal),
                "TORPOR_GATEWAY_POD_NAME": name,
                "TORPOR_GATEWAY_KUBECONFIG": config,
                "TORPOR_GATEWAY_LOG_LEVEL": "ERROR",
            }
            | {
                f"TORPOR_GATEWAY_{field.upper()}": value
                for field, value in (settings or {}).items()
            }
        )
        python, more = as_shipped()
        env |= more
        command = ["taskset", "-c", str(core), python, "-m", "torpor", "gateway"]
        output = None if log is None else log.open("wb")
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        try:
            found = GatewayProcess(process.pid, port, internal)
            await _ready(found, process)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if output is not None:
                output.close()


async def _ready(found: GatewayProcess, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise HarnessError(f"the gateway ended with {process.returncode}")
            try:
                url = f"http://127.0.0.1:{found.internal_port}/readyz"
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise HarnessError(f"the gateway was not ready after {READY_SECONDS:g} s")
