"""What an engine says to a numbered prompt, byte for byte: learned from the engine itself, without a gateway between.

The stand-in echoes. So an answer is known beforehand but for the number in it, the answer's id and the second in which
it was made; and an answer that belongs to another request, lacks a byte or has one twice, is noticed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
TOKENS = 48
"""Length of each answer: at 60 tokens a second four fifths of a second, in which much can happen to it."""
_HALVES = ("QQQQ", "ZZZZ")
"""Stand for the number when the script is learned: two tokens of the stand-in's, as the eight digits are."""
_AHEAD = "no"
"""With the stand-in's own words before it, this makes the number begin with a token."""
_REST = " and so it goes on, word by word, until there is nothing left to say at all" * 4
_ID = re.compile(rb'"id":"([^"]*)"')
_CREATED = re.compile(rb'"created":\d+')
_COMMENT = re.compile(rb"^: [^\n]*\n\n", re.MULTILINE)


def compose(model: str, number: str, stream: bool) -> Json:
    """Return the request with a *number* of eight characters."""
    words = (_AHEAD + number + _REST)[: 4 * TOKENS - len("You said: ")]
    asked: Json = {"model": model, "messages": [{"role": "user", "content": words}]}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return asked


@dataclass(frozen=True)
class Script:
    """What one engine says, whole and as a stream."""

    whole: bytes
    stream: bytes

    def objection(self, number: int, stream: bool, got: bytes) -> str | None:
        """Return what is wrong with an answer to that number; None if it is right to the last byte."""
        first, second = f"{number:08}"[:4], f"{number:08}"[4:]
        expected = self.stream if stream else self.whole
        for mark, digits in zip(_HALVES, (first, second), strict=True):
            expected = expected.replace(mark.encode(), digits.encode())
        if len(set(_ID.findall(got))) > 1:
            return "one answer has two ids"
        plain = _without_stamp(got)
        if plain == expected:
            return None
        if stream and b'data: {"error"' in got:
            return f"error in the stream: {got[got.index(b'data: {') :][-300:]!r}"
        same = next(
            (n for n, (a, b) in enumerate(zip(plain, expected, strict=False)) if a != b),
            min(len(plain), len(expected)),
        )
        return f"differs at byte {same} of {len(expected)}: {plain[same : same + 60]!r}"


async def learn(address: str, name: str) -> Script:
    """Ask the engine at `host:port` itself, which calls the model *name*."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answers = []
        for stream in (False, True):
            asked = compose(name, "".join(_HALVES), stream)
            answer = await client.post(f"http://{address}{CHAT}", json=asked)
            answer.raise_for_status()
            answers.append(_without_stamp(answer.content))
    script = Script(*answers)
    said = json.loads(script.whole)["choices"][0]["message"]["content"]
    if "".join(_HALVES) not in said or script.stream.count(b"data: ") < TOKENS:
        raise ValueError(f"the engine at {address} does not echo: {said!r}")
    return script


def _without_stamp(answer: bytes) -> bytes:
    """Take out what differs from answer to answer, and the comments that a waiting stream hears."""
    return _COMMENT.sub(b"", _CREATED.sub(b'"created":0', _ID.sub(b'"id":""', answer)))
