"""The least that a relay on this machine can cost: bytes from one socket to another on uvloop, nothing looked at.

Run as a process of its own, `python -m bench.doors.barerelay PORT UPSTREAM_PORT`, it opens a connection to the upstream
for each that it accepts. What a gateway takes beyond it is HTTP, routing, counting and waiting; what the relay takes is
the machine's part, and no gateway of ours can be quicker than that.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.frame.interpreter import as_shipped, cpu_seconds
from dev.cluster import HarnessError
from dev.ports import free_port

READY_SECONDS = 15.0


class Side(asyncio.Protocol):
    """One of a relay's two connections; what it reads goes to its *peer*."""

    def __init__(self, peer: Side | None = None) -> None:
        """Write to *peer*, or wait until there is one."""
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way, and give it what came before it stood."""
        self.transport = cast(asyncio.Transport, transport)
        if self.peer is not None:
            self.peer.meet(self)

    def meet(self, peer: Side) -> None:
        """Take a peer whose connection stands."""
        self.peer = peer
        assert peer.transport is not None
        if self._early:
            peer.transport.write(bytes(self._early))
            self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        peer = self.peer
        if peer is None or peer.transport is None:
            self._early += data
        else:
            peer.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the other one along."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class Front(Side):
    """The connection of a client."""

    def __init__(self, upstream: int) -> None:
        """Relay to a port of this machine."""
        super().__init__()
        self._upstream = upstream
        self._dialling: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dial the upstream."""
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        dial = loop.create_connection(lambda: Side(self), "127.0.0.1", self._upstream)
        self._dialling = loop.create_task(dial)


@dataclass(frozen=True)
class BareRelay:
    """A relay that runs."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, in user and system mode."""
        return cpu_seconds(self.pid)


@asynccontextmanager
async def running_relay(core: int, upstream: int) -> AsyncIterator[BareRelay]:
    """Relay to a port of this machine, on *core*, while the block runs.

    Raises:
        HarnessError: it does not listen.
    """
    port = free_port()
    python, more = as_shipped()
    command = ["taskset", "-c", str(core), python, "-m", "bench.doors.barerelay"]
    process = subprocess.Popen([*command, str(port), str(upstream)], env=os.environ | more)
    try:
        await _listening(port, process)
        yield BareRelay(process.pid, port)
    finally:
        process.kill()
        process.wait()


async def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise HarnessError(f"the bare relay does not listen on {port}")


async def serve(port: int, upstream: int) -> None:
    """Relay until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(upstream), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
