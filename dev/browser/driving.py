"""Drive a headless Chromium by its own protocol: open a page, run a line in it, hear its complaints, look at it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

from dev.cluster.commands import wait_until

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
STARTS_WITHIN = 60.0
ANSWERS_WITHIN = 60.0


class PageError(Exception):
    """The page did what it must not do, or a line that was run in it failed."""


class Tab:
    """One page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Speak over *socket*."""
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._hears = asyncio.create_task(self._hear())
        self.complaints: list[str] = []
        """What the console said: errors, warnings, refusals of the policy, exceptions."""

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give a command and return its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params}))
        return await asyncio.wait_for(answer, ANSWERS_WITHIN)

    async def open(self, url: str) -> None:
        """Go to a page, listening to its console from the start."""
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        went = await self.send("Page.navigate", url=url)
        if "errorText" in went:
            raise PageError(f"{url}: {went['errorText']}")
        there = f"location.href.startsWith({json.dumps(url)})"
        await self.until(f"{there} && document.readyState === 'complete'")

    async def run(self, line: str) -> Any:
        """Return what an expression gives on the page; a promise is awaited."""
        done = await self.send(
            "Runtime.evaluate", expression=line, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise PageError(f"{line}: {done['exceptionDetails']}")
        return done["result"].get("value")

    async def until(self, line: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true on the page."""
        async with asyncio.timeout(seconds):
            while not await self.run(line):
                await asyncio.sleep(0.02)

    async def show_as(self, width: int, height: int, scheme: str = "light") -> None:
        """Give the page a size and a colour scheme."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def picture(self) -> bytes:
        """Return what is to be seen, as PNG."""
        shot = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def close(self) -> None:
        """Listen no more."""
        self._hears.cancel()
        await asyncio.gather(self._hears, return_exceptions=True)
        await self._socket.close()

    async def _hear(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answered(told)
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded":
                entry = told["params"]["entry"]
                self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
            elif told["method"] == "Runtime.consoleAPICalled":
                self.complaints.append(str(told["params"]["args"]))

    def _answered(self, told: dict[str, Any]) -> None:
        future = self._waiting.pop(told["id"])
        if future.done():
            return
        if "error" in told:
            future.set_exception(PageError(str(told["error"])))
        else:
            future.set_result(told["result"])


class Browser:
    """A browser with an empty profile that dies with the block it is used in; its tabs belong to any event loop."""

    def __init__(self, program: Path) -> None:
        """Use *program*, a Chromium."""
        self._program = program

    def __enter__(self) -> Self:
        """Start it and wait until it can be spoken to."""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        words = [str(self._program), *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            wait_until("Chromium starts", self._is_there, timeout=STARTS_WITHIN, every=0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and remove its profile."""
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Open an empty page; it is closed at the end of the block."""
        port = self._note.read_text().split()[0]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.put("/json/new?about:blank") as answer:
                made = await answer.json()
            tab = Tab(await session.ws_connect(made["webSocketDebuggerUrl"], max_msg_size=0))
            try:
                yield tab
            finally:
                await tab.close()
                await session.get(f"/json/close/{made['id']}")

    @property
    def _note(self) -> Path:
        """Where the browser writes the port that it took."""
        return Path(self._profile.name) / "DevToolsActivePort"

    def _is_there(self) -> bool:
        if self._process.poll() is not None:
            raise PageError(f"{self._program} ended with status {self._process.returncode}")
        return self._note.exists() and bool(self._note.read_text().strip())
