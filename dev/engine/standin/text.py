"""Tokens without a tokenizer: at most four UTF-8 bytes of whole characters each, reversible.

About what a real vocabulary yields for English, the same on every machine, and enough for counts,
limits and streams to mean something.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TOKEN_BYTES = 4


def split(text: str) -> list[str]:
    """Cut text into tokens."""
    if text.isascii():
        return [text[start : start + TOKEN_BYTES] for start in range(0, len(text), TOKEN_BYTES)]
    tokens: list[str] = []
    current = ""
    size = 0
    for character in text:
        width = len(character.encode("utf-8", "surrogatepass"))
        if size + width > TOKEN_BYTES:
            tokens.append(current)
            current, size = "", 0
        current += character
        size += width
    return [*tokens, current] if current else tokens


def number(token: str) -> int:
    """A token's id."""
    raw = token.encode("utf-8", "surrogatepass")
    return len(raw) << 32 | int.from_bytes(raw, "big")


def spell(numbers: Iterable[int]) -> str:
    """The text of token ids; an id that is none becomes the replacement character."""
    pieces = []
    for value in numbers:
        size, body = value >> 32, value & 0xFFFFFFFF
        fits = 0 < size <= TOKEN_BYTES and body < 1 << 8 * size
        pieces.append(body.to_bytes(size, "big") if fits else b"\xff")
    return b"".join(pieces).decode("utf-8", "replace")


def flatten(content: Any) -> str:
    """The text of a message's content: a string, or the `text` parts of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def render_chat(messages: Sequence[Mapping[str, Any]]) -> str:
    """A chat as the model would read it, with the opening of the reply."""
    lines = [f"<|{m.get('role', 'user')}|>\n{flatten(m.get('content'))}<|end|>\n" for m in messages]
    return "".join(lines) + "<|assistant|>\n"


def last_said(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the reply echoes: the last message of the user, else the last message."""
    spoken = [flatten(m.get("content")) for m in messages if m.get("role") == "user"]
    return spoken[-1] if spoken else flatten(messages[-1].get("content"))
