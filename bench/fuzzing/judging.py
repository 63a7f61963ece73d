"""Reading what comes back, and saying what must not have come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass

from bench.fuzzing.conversations import Conversation

LAST = b"GET /health HTTP/1.1\r\nHost: fuzz\r\nx-fuzz: last\r\nConnection: close\r\n\r\n"
"""Sent after every conversation: whoever has kept in step answers it, once, and hangs up."""
PATIENCE = 5.0
"""Seconds after which a conversation hangs; the gateway's own time-outs are far shorter."""
FINAL = 200


class Wrong(AssertionError):
    """Something that must not be."""


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Return whether nothing can come after it."""
        return self.headers.get("connection", "").lower() == "close" or "http/1.0" in self.headers


class _Ear(asyncio.Protocol):
    """Keeps all that comes, also if the connection breaks afterwards."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.end = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.raw += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.set()


async def hold(port: int, said: Conversation) -> list[Answer]:
    """Say all of it at once and return every answer that came until the gateway hung up.

    Raises:
        Wrong: it did not hang up, or what came is no HTTP.
    """
    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_connection(_Ear, "127.0.0.1", port)
    try:
        with contextlib.suppress(RuntimeError):  # uvloop's word for a connection that is closed
            for piece in (*said.pieces, LAST):
                transport.write(piece)
                await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await ear.end.wait()
    except TimeoutError:
        raise Wrong(f"no end within {PATIENCE:g} s after {bytes(ear.raw[-200:])!r}") from None
    finally:
        transport.abort()
    return parse(bytes(ear.raw))


def parse(raw: bytes) -> list[Answer]:
    """Take apart the bytes of a whole connection; HEAD is asked too, so a body ends where the next answer begins.

    Raises:
        Wrong: they are no HTTP answers.
    """
    starts = [found.start() for found in re.finditer(rb"HTTP/1\.[01] \d\d\d [^\r\n]*\r\n", raw)]
    if raw and (not starts or starts[0] != 0):
        raise Wrong(f"no answer of HTTP begins with {raw[:60]!r}")
    answers = []
    for start, end in zip(starts, [*starts[1:], len(raw)], strict=True):
        head, _, body = raw[start:end].partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        version, status, *_ = first.split(" ", 2)
        headers[version.lower()] = ""
        answer = Answer(int(status), headers, body)
        if answer.status >= FINAL:
            answers.append(answer)
    return answers


def judge(said: Conversation, answers: list[Answer]) -> None:
    """Check what holds for every conversation.

    Raises:
        Wrong: it does not hold.
    """
    for answer in answers:
        if answer.status == 500:
            raise Wrong(f"the gateway failed: {answer.body[:200]!r}")
        if answer.status >= 400 and answer.body:
            _check_error(answer)
    if said.whole is None:
        return
    due, closed = said.whole + 1, any(answer.closes for answer in answers[:-1])
    if (
        len(answers) > due
        or (len(answers) < due and not (answers and answers[-1].closes))
        or closed
    ):
        codes = [answer.status for answer in answers]
        raise Wrong(f"{due} answers were due with the one to the last request, {codes} came")


def _check_error(answer: Answer) -> None:
    try:
        error = json.loads(answer.body)["error"]
        told = {error["type"], error["code"]} and isinstance(error["message"], str)
    except (ValueError, KeyError, TypeError):
        told = False
    if not told:
        raise Wrong(f"{answer.status} without an error object: {answer.body[:200]!r}")
