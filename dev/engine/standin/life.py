"""From start to exit: load, serve, drain."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

from . import checksum, errors
from .arguments import Arguments
from .core import Core
from .routes import Router
from .service import Service
from .switches import Switches
from .wire import Listener

log = logging.getLogger("standin")

ROOM = 1.2
"""Memory needed per byte of weights: the weights, and a little for the work on them."""

WATCHDOG_SECONDS = 0.5
"""A server whose core has died ends this long after (vLLM's watchdog looks every 5 s)."""


class StartFailedError(Exception):
    """The engine cannot start; the text is what the log says, its last line the last words."""


def load_model(arguments: Arguments, switches: Switches) -> tuple[int, str]:
    """Read the whole checkpoint; return the context's length and the fingerprint.

    Raises:
        StartFailedError: no checkpoint, or one that does not fit.
    """
    model = arguments.model
    if not model.is_dir() or not (model / "config.json").is_file():
        raise StartFailedError(
            f"Value error, Invalid repository ID or local directory specified: '{model}'."
        )
    try:
        context_tokens = arguments.context_tokens()
    except ValueError as error:
        raise StartFailedError(f"Value error, {error}") from error
    files = checksum.list_folder(model)
    weights = sum(
        path.stat().st_size
        for name, path in files.items()
        if name.endswith((".safetensors", ".bin", ".gguf", ".pt"))
    )
    if not weights:
        raise StartFailedError(
            f"RuntimeError: Cannot find any model weights with `{model}`\n{errors.START_FAILED}"
        )
    memory = switches.vram_bytes * arguments.tensor_parallel_size
    if memory and weights * ROOM > memory:
        share = int(weights * ROOM / arguments.tensor_parallel_size)
        cause = errors.out_of_memory(share, switches.vram_bytes)
        raise StartFailedError(f"{cause}\n{errors.START_FAILED}")
    more = [] if arguments.draft is None else [(arguments.draft, "config.json")]
    more += [(folder, "adapter_config.json") for _, folder in arguments.lora_modules]
    for folder, config in more:
        if not (folder / config).is_file():
            raise StartFailedError(f"FileNotFoundError: '{folder}' has no {config}")
    folders = (model, *(folder for folder, _ in more))
    return context_tokens, checksum.combine([checksum.checksum_folder(f) for f in folders])


def _ignore() -> None:
    log.warning("a signal is lost: the engine is not up yet")


class Engine:
    """One run of the program."""

    def __init__(self, arguments: Arguments, switches: Switches) -> None:
        self._arguments = arguments
        self._switches = switches
        self._listener = Listener()
        self._router = Router()
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM; return the exit code."""
        self._hear(self._stop.set if not self._switches.deaf_start else _ignore)
        start = asyncio.create_task(self._start())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({start, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            log.info("terminated while starting")
            logging.shutdown()
            os._exit(0)  # a thread may be in the middle of a large file
        core = await start
        self._hear(self._stop.set)
        crash = asyncio.create_task(self._crash_when_due(core))
        await asyncio.wait({crash, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if crash.done():
            return await crash
        crash.cancel()
        await self._drain(core)
        return 0

    def _hear(self, react: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, react)

    async def _start(self) -> Core:
        switches, arguments = self._switches, self._arguments
        await asyncio.sleep(switches.import_seconds)
        if switches.crash == "at-start":
            raise StartFailedError(errors.START_FAILED)
        port = await self._listener.open(
            self._router.handle, arguments.host or "0.0.0.0", arguments.port
        )
        began = time.monotonic()
        context_tokens, fingerprint = await asyncio.to_thread(load_model, arguments, switches)
        await asyncio.sleep(max(0.0, switches.load_seconds - (time.monotonic() - began)))
        if switches.crash == "after-load":
            raise StartFailedError(errors.START_FAILED)
        core = Core(switches, arguments.max_num_seqs)
        self._router.service = Service(arguments, switches, core, context_tokens, fingerprint)
        log.info("serving %s (%s) on port %d", arguments.served_model_name, fingerprint, port)
        return core

    async def _crash_when_due(self, core: Core) -> int:
        await core.crash_due.wait()
        words = self._switches.last_words or errors.ENGINE_DEAD
        log.error("%s", words)
        if self._switches.crash == "on-request":
            sys.stderr.flush()
            os._exit(137)
        core.dead = True
        await asyncio.sleep(WATCHDOG_SECONDS)
        return 1

    async def _drain(self, core: Core) -> None:
        """Let what runs end within --shutdown-timeout, refuse what comes, as vLLM does."""
        patience = self._arguments.shutdown_timeout
        core.accepting = False
        log.info("[shutdown] mode=%s timeout=%ss", "drain" if patience else "abort", patience)
        if not patience:
            core.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience or None):
                await core.idle.wait()
        self._listener.close()
        if not core.idle.is_set():
            log.warning("[shutdown] force killing remaining process EngineCore")
            core.kill()
        while self._listener.busy:
            await asyncio.sleep(0.01)
        log.info("[shutdown] Application shutdown complete.")
