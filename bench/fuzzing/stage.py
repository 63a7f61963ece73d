"""A gateway process, an engine that remembers what it was asked, and the means to look at both."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from bench.doors.gatewayprocess import GatewayProcess, running_gateway
from bench.fuzzing.conversations import HIDDEN, MARK, Conversation
from bench.fuzzing.judging import Wrong, hold, judge
from tests.gateway.engines import Engine
from tests.gateway.world import READY, World
from torpor.gateway.door import MODEL_PATHS

PORTIONS = {"header_timeout": "0.3", "body_timeout": "0.3", "idle_timeout": "0.3"}
"""Times, in seconds, so short that a conversation that was cut off ends soon."""
SETTLE_SECONDS = 35.0
"""An idle connection to the API server is kept for 15 s, and looked at as often."""
BROKEN = READY | {"status": "False", "reason": "ImagePullFailed", "message": "no image x:1"}


class Listener(Engine):
    """An engine that answers 400 to what it cannot read."""

    async def _answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        try:
            return await super()._answer(request, body)
        except (ValueError, RecursionError) as error:
            told = {"message": str(error), "type": "BadRequestError", "param": None, "code": 400}
            return web.json_response({"error": told}, status=400)


@dataclass
class Stage:
    """Where conversations are held."""

    gateway: GatewayProcess
    engine: Engine
    log: Path
    held: int = 0
    reached: int = 0
    found: int = 0
    codes: dict[int, int] = field(default_factory=dict)

    async def hold(self, all_said: list[Conversation]) -> None:
        """Hold some conversations at once and judge all that came of them.

        Raises:
            Wrong: something must not be.
        """
        heard = await asyncio.gather(*(hold(self.gateway.port, said) for said in all_said))
        for said, answers in zip(all_said, heard, strict=True):
            judge(said, answers)
            for answer in answers:
                self.codes[answer.status] = self.codes.get(answer.status, 0) + 1
        self.held += len(all_said)
        self._look_at_engine()
        await self.look_around()

    async def look_around(self) -> None:
        """Check what must hold between conversations: nobody waits or runs, nothing is in the log.

        Raises:
            Wrong: it does not hold.
        """
        for _ in range(200):
            found = (await self.gateway.demand()).get("shop/llama", {})
            if not found.get("waiting") and not found.get("inFlight"):
                break
            await asyncio.sleep(0.01)
        else:
            raise Wrong(f"requests stay behind: {found}")
        if text := self.log.read_text(errors="replace"):
            raise Wrong(f"the gateway's log says: {text[:2000]}")

    async def settle(self, files: int = 0) -> int:
        """Return how many files the gateway has open: *files*, if they become that few while nobody asks."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (seen := self.gateway.open_files()) > files and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        return seen

    def _look_at_engine(self) -> None:
        for path, headers, _ in self.engine.requests:
            marks = [value for name, value in headers.items() if name.lower() == MARK.decode()]
            if HIDDEN.decode() in marks:
                raise Wrong(f"a hidden request reached the engine: {path} {headers}")
            if path.partition("?")[0] not in MODEL_PATHS:
                raise Wrong(f"the engine was asked for {path}")
            for name, value in headers.items():
                if any(ord(letter) < 32 and letter != "\t" for letter in name + value):
                    raise Wrong(
                        f"the engine got a header with control characters: {name}: {value!r}"
                    )
        self.reached += len(self.engine.requests)
        self.engine.requests.clear()


@asynccontextmanager
async def open_stage(folder: Path, core: int = 0) -> AsyncIterator[Stage]:
    """Run it while the block runs: an endpoint that is awake, one with a key, and one that cannot wake."""
    world = World(folder)
    await world.api.start()
    try:
        engine = await Listener("llama").start()
        world.engines.append(engine)
        world.endpoint("llama", scaling={"maxReplicas": 1, "inFlightPerReplica": 1000})
        world.deployment("llama", replicas=1)
        world.pod(engine, ready=True)
        key = {"name": "k", "sha256": hashlib.sha256(b"right").hexdigest()}
        world.endpoint("locked", ready=BROKEN, access={"keys": [key]})
        world.endpoint("broken", ready=BROKEN)
        log = folder / "gateway.log"
        async with running_gateway(world, core, settings=PORTIONS, log=log) as gateway:
            yield Stage(gateway, engine, log)
    finally:
        await world.http.close()
        for found in world.engines:
            await found.stop()
        await world.api.stop()
