"""How many tokens an answer used, read from the answer as it passes by.

Nothing is parsed that does not contain the word `"usage"` (inside a JSON string its quotes would be escaped, so a model
that writes about usage costs nothing), and nothing that a client could use is held back.

The rule: what was delivered counts. Of an answer that the client leaves in the middle that is its prompt and the tokens
that had come by then; engines are asked to say so in each chunk (`continuous_usage_stats`, as vLLM and SGLang have it).
What an engine generates afterwards, until it notices, is in its own counters only.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_KEY = b'"usage"'
_MEMBER = b',"usage":{'
_decoder = json.JSONDecoder()
WINDOW = 256 * 1024
"""Bytes kept from the end of a JSON answer: engines put `usage` there."""
_OBJECT = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_NULL = re.compile(rb'"usage"\s*:\s*null')
_NOTHING_ELSE = (b'"choices":[]', b'"choices": []')
"""What stands before the usage of the last chunk, which says nothing else."""
LONGEST_EVENT = 1024 * 1024
"""Bytes of an unfinished event that are held; a longer one is passed on unread."""


class Used(NamedTuple):
    """Tokens of one answer."""

    prompt: int = 0
    completion: int = 0
    cached: int | None = None
    """Part of the prompt that the engine had in its cache; None while it does not say."""


NOTHING_USED = Used()


def read_usage(usage: Any, before: Used) -> Used:
    """Return the counts in a `usage` object, whichever API's names it has, never less than *before*."""
    if not isinstance(usage, dict):
        return before
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = usage.get("completion_tokens", usage.get("output_tokens"))
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Used(
        max(before.prompt, prompt if isinstance(prompt, int) else 0),
        max(before.completion, completion if isinstance(completion, int) else 0),
        max(before.cached or 0, cached) if isinstance(cached, int) else before.cached,
    )


class BodyUsage:
    """Usage of an answer that is one JSON object."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """Look at a chunk and return it."""
        self._tail = (self._tail + chunk)[-WINDOW:] if self._tail else chunk[-WINDOW:]
        return chunk

    def finish(self) -> bytes:
        """Return what is left to pass on: nothing."""
        return b""

    @property
    def used(self) -> Used:
        """Return the counts of the last `usage` object."""
        tail = self._tail
        at = tail.rfind(_KEY)
        if at < 0:
            return NOTHING_USED
        begin = tail.find(b"{", at)
        if begin < 0 or tail[at + len(_KEY) : begin].strip() != b":":
            return NOTHING_USED
        try:
            usage, _ = _decoder.raw_decode(tail[begin:].decode("utf-8", "replace"))
        except ValueError:
            return NOTHING_USED
        return read_usage(usage, NOTHING_USED)


class StreamUsage:
    """Usage of an answer that is server-sent events; takes out the usage chunk if the client did not ask for it.

    What it holds back is the beginning of an event whose end has not come yet: a client cannot act on that either.
    """

    def __init__(self, strip: bool, stats: bool = False) -> None:
        """Start with nothing seen.

        Args:
            strip: Take out the chunk that has only usage in it.
            stats: Take out the usage of every other chunk.
        """
        self._used = NOTHING_USED
        self._strip = strip
        self._stats = stats
        self._latest = b""
        """The last usage that was taken out of a chunk; parsed only if it is the last word."""
        self._held = b""

    @property
    def used(self) -> Used:
        """Return what was used as far as the answer has come."""
        if self._latest:
            self._used = read_usage(json.loads(self._latest), self._used)
            self._latest = b""
        return self._used

    def feed(self, chunk: bytes) -> bytes:
        """Return what of *chunk*, and of what was held, may go to the client now."""
        if not self._held and chunk.endswith(b"\n\n"):
            at = chunk.find(_KEY)
            if at < 0:
                return chunk
            # What engines write: one usage, the last member of its event. Here, for it comes with every token.
            end = chunk.find(b"}", at)
            if self._stats and end == len(chunk) - 4 and chunk.endswith(b"}}\n\n"):
                before = at - 1
                last = chunk.endswith(_NOTHING_ELSE, 0, before)
                if not last and chunk.startswith(_MEMBER, before):
                    self._latest = chunk[before + len(_MEMBER) - 1 : end + 1]
                    return chunk[:before] + chunk[end + 1 :]
            return self._read(chunk)
        if self._held:
            chunk = self._held + chunk
            self._held = b""
        end = _last_end(chunk)
        if end < len(chunk):
            if len(chunk) - end > LONGEST_EVENT:
                return chunk
            chunk, self._held = chunk[:end], chunk[end:]
        return chunk if _KEY not in chunk else self._read(chunk)

    def finish(self) -> bytes:
        """Return what was still held when the answer ended."""
        held, self._held = self._held, b""
        return held if not held or _KEY not in held else self._read(held)

    def _take_out(self, chunk: bytes) -> bytes:
        """Take the usage out of chunks that say something else as well; the last one, which does not, is left alone.

        Found by its name and looked at there: one pattern over the whole chunk takes five times as long.
        """
        kept: list[bytes] = []
        done, at = 0, chunk.find(_KEY)
        while at >= 0:
            before = at - 1
            while before > done and chunk[before] in b" \t\r\n":
                before -= 1
            found = _OBJECT.match(chunk, at) if chunk[before : before + 1] == b"," else None
            if found is None or chunk.endswith(_NOTHING_ELSE, 0, before):
                at = chunk.find(_KEY, at + len(_KEY))
                continue
            self._latest = found.group(1)
            kept.append(chunk[done:before])
            done = found.end()
            at = chunk.find(_KEY, done)
        if not kept:
            return chunk
        kept.append(chunk[done:])
        return b"".join(kept)

    def _read(self, chunk: bytes) -> bytes:
        if self._stats:
            chunk = self._take_out(chunk)
            if _KEY not in chunk:
                return chunk
        passed: list[bytes] = []
        for event in _split(chunk):
            said = event.count(_KEY)
            if said == len(_NULL.findall(event)) or not self._is_own(event):
                passed.append(event)
        return b"".join(passed)

    def _is_own(self, event: bytes) -> bool:
        """Count the usage in an event and return whether the event is only there because torpor asked for it."""
        lines = [line for line in event.splitlines() if line.startswith(b"data:")]
        try:
            data = json.loads(b"\n".join(line[5:] for line in lines))
        except ValueError:
            return False
        if not isinstance(data, dict):
            return False
        for holder in (data, data.get("response"), data.get("message")):
            if isinstance(holder, dict):
                self._used = read_usage(holder.get("usage"), self._used)
        return self._strip and data.get("choices") == [] and isinstance(data.get("usage"), dict)


def _last_end(chunk: bytes) -> int:
    """Return where the last whole event in *chunk* ends; 0 if none does."""
    if chunk.endswith(b"\n\n"):
        return len(chunk)
    plain, with_cr = chunk.rfind(b"\n\n"), chunk.rfind(b"\r\n\r\n")
    return max(plain + 2 if plain >= 0 else 0, with_cr + 4 if with_cr >= 0 else 0)


def _split(chunk: bytes) -> list[bytes]:
    """Cut *chunk* after each event, keeping every byte."""
    mark = b"\r\n\r\n" if b"\r\n\r\n" in chunk else b"\n\n"
    parts = chunk.split(mark)
    events = [part + mark for part in parts[:-1]]
    return [*events, parts[-1]] if parts[-1] else events
