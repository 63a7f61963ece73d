"""The access log: one JSON line for each request, without prompts, answers or keys; off unless it is asked for."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from torpor import clock
from torpor.gateway.tally import CLIENT_LEFT
from torpor.gateway.usage import NOTHING_USED, Used
from torpor.gateway.wire.requests import Request

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
"""How long lines are gathered: one write for all of them."""
MOST_LINES = 20_000
"""Lines that wait for a reader who does not keep up, some 8 MB; what comes beyond is counted instead."""
LONGEST_WORD = 256
"""Characters of a path or a model name, which are what the client says."""


class Visit:
    """One request on the public port; what nobody found out of it is empty."""

    __slots__ = (
        "began",
        "began_ms",
        "endpoint",
        "first_byte",
        "key",
        "model",
        "status",
        "used",
        "waited",
    )

    def __init__(self) -> None:
        """Begin now."""
        self.began = clock.monotonic()
        self.began_ms = clock.now_ms()
        self.endpoint = self.model = self.key = ""
        self.status = CLIENT_LEFT
        self.waited = 0.0
        self.first_byte: float | None = None
        """Seconds from the arrival of the body to the first byte of the engine's answer."""
        self.used: Used = NOTHING_USED

    def line(self, request: Request) -> bytes:
        """Return what the log has of it, now that *request* has its answer."""
        stamp = datetime.fromtimestamp(self.began_ms / 1000, UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": stamp.replace("+00:00", "Z"),
            "id": request.id,
            "method": request.method[:LONGEST_WORD],
            "path": request.path[:LONGEST_WORD],
            "endpoint": self.endpoint,
            "model": self.model[:LONGEST_WORD],
            "key": self.key,
            "status": self.status,
            "bytes": request.reply.sent,
            "waitedMs": _ms(self.waited),
            "firstByteMs": _ms(self.first_byte),
            "totalMs": _ms(clock.monotonic() - self.began),
            "promptTokens": self.used.prompt,
            "completionTokens": self.used.completion,
            "cachedTokens": self.used.cached,
        }
        return json.dumps(said, separators=(",", ":")).encode() + b"\n"


class AccessLog:
    """Gathers lines and writes them beside the event loop, so that a slow reader delays no request."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        """Hand what is to be written to *write*, in a thread and never twice at once."""
        self._write = write
        self._lines: list[bytes] = []
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None

    def add(self, line: bytes) -> None:
        """Take in a line, or only count it if too many wait to be written."""
        if len(self._lines) >= MOST_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Return when everything is written."""
        if self._writing is not None:
            await self._writing

    async def _run(self) -> None:
        try:
            while self._lines:
                await asyncio.sleep(FLUSH_SECONDS)
                lines, self._lines = self._lines, []
                dropped, self._dropped = self._dropped, 0
                if dropped:
                    lines.append(b'{"dropped":%d}\n' % dropped)
                await asyncio.to_thread(self._write, b"".join(lines))
        except OSError as error:
            log.error("the access log cannot be written: %s", error)
        finally:
            self._writing = None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
