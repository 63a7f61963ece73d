"""What a request asks for: the model it names, whether it streams, and how to change as little of it as possible.

Bodies go to the engine as they came. Where a member must change (a qualified model name, the wish for a usage chunk),
only the bytes of that member are replaced.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torpor.domain.waitroom import Refusal

Json = dict[str, Any]
USAGE_ON_REQUEST = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Paths whose streams tell their usage only if `stream_options.include_usage` is set."""
SSE_PATHS = USAGE_ON_REQUEST | {"/v1/responses", "/v1/messages"}
"""Paths whose streams are server-sent events, into which a comment may be put."""
PROMPT_PATHS = SSE_PATHS
"""Paths whose bodies hold a prompt that an engine goes on from, and so has a cache for."""

_decoder = json.JSONDecoder()
_space = re.compile(r"[ \t\n\r]*")
_parameter = re.compile(rb';[ \t]*([A-Za-z*]+)=("(?:[^"\\]|\\.)*"|[^;"]*)')
LONGEST_HEAD = 8192
"""Bytes above the value of a form field; what has more of them is no model's name."""
_MODEL = b'"model"'
_model = re.compile(rb'(?<!\\)"model"[ \t\n\r]*:[ \t\n\r]*("[^"\\]*")')


@dataclass(slots=True)
class Ask:
    """A request's body and what was read from it."""

    body: bytes
    model: str
    members: Json | None
    """The parsed JSON object; None for a multipart body."""
    boundary: bytes = b""
    streams: bool = False
    """The answer will be server-sent events."""
    adds_usage: bool = False
    """The usage chunk is torpor's own wish and is taken out again."""
    adds_stats: bool = False
    """So is the usage in every other chunk: what was used up to then, for a client that leaves in the middle."""


def read_ask(path: str, content_type: str, body: bytes) -> Ask | Refusal:
    """Return what a body asks for, or the sentence that says what is wrong with it."""
    if content_type.lower().startswith("multipart/form-data"):
        return _read_multipart(content_type, body)
    try:
        members = _parse(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return Refusal(400, "invalid_json", f"The body is not valid JSON: {error}")
    if not isinstance(members, dict):
        return Refusal(400, "invalid_json", "The body must be a JSON object")
    model = members.get("model")
    if not isinstance(model, str) or not model:
        return Refusal(400, "model_missing", "The body must name a `model` (a string)")
    ask = Ask(body, model, members)
    ask.streams = members.get("stream") is True and path in SSE_PATHS
    if ask.streams and path in USAGE_ON_REQUEST:
        options = members.get("stream_options") or {}
        if isinstance(options, dict):
            ask.adds_usage = options.get("include_usage") is not True
            wanted = options.get("continuous_usage_stats") is True
            ask.adds_stats = ask.adds_usage or not wanted
    return ask


def _parse(text: str) -> Any:
    """Return what a JSON text says; two searches for space around it take as long as the text of a short request.

    Raises:
        ValueError: it is not valid.
    """
    if text[:1] == "{":
        value, end = _decoder.raw_decode(text)
        if end == len(text):
            return value
    return _decoder.decode(text)


def write_body(ask: Ask, engine_name: str) -> bytes:
    """Return the body for the engine, which knows the model as *engine_name*."""
    if ask.members is None:
        if engine_name == ask.model:
            return ask.body
        start, end = _find_field(ask.body, ask.boundary) or (0, 0)
        return ask.body[:start] + engine_name.encode() + ask.body[end:]
    body, changes = ask.body, {}
    if engine_name != ask.model:
        body = _put_model(body, ask.members, engine_name)
    if ask.adds_stats:
        changes["stream_options"] = {
            **(ask.members.get("stream_options") or {}),
            "include_usage": True,
            "continuous_usage_stats": True,
        }
    return rewrite(body, ask.members, changes) if changes else body


def _put_model(body: bytes, members: Json, name: str) -> bytes:
    """Return the body with another model: where only one member can be meant it is found without reading the rest."""
    at = body.find(_MODEL)
    if body.find(_MODEL, at + len(_MODEL)) < 0 and b"\\u" not in body:
        found = _model.match(body, at)
        if found is not None:
            return body[: found.start(1)] + _quoted(name) + body[found.end(1) :]
    return rewrite(body, members, {"model": name})


@lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    """Return an engine's name as a JSON string: there are as many as endpoints and adapters that are asked."""
    return json.dumps(name).encode()


def rewrite(body: bytes, members: Json, changes: Json) -> bytes:
    """Return a JSON object with some members set, every other byte as it was; *members* is what it parses to."""
    for name, value in changes.items():
        new = json.dumps(value).encode()
        if name in members:
            for start, end in reversed(_find_member(body.decode("utf-8"), name)):
                body = body[:start] + new + body[end:]
        else:
            comma = b"," if members else b""
            body = body.rstrip()[:-1] + comma + json.dumps(name).encode() + b":" + new + b"}"
    return body


def _find_member(text: str, name: str) -> list[tuple[int, int]]:
    """Return the byte ranges of all values of a top-level member (JSON allows it to be repeated)."""
    found: list[tuple[int, int]] = []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _decoder.raw_decode(text, start)
        if key == name:
            found.append((len(text[:start].encode()), len(text[:end].encode())))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _space.match(text, at)
    return match.end() if match else at


def _read_multipart(content_type: str, body: bytes) -> Ask | Refusal:
    mark = re.search(r'boundary="?([^";]{1,70})"?', content_type, re.IGNORECASE)
    if mark is None:
        return Refusal(400, "invalid_multipart", "The Content-Type has no multipart boundary")
    boundary = b"--" + mark.group(1).strip().encode("latin-1", "replace")
    span = _find_field(body, boundary)
    if span is None:
        return Refusal(400, "model_missing", "The form must have a field `model`")
    model = body[span[0] : span[1]].decode("utf-8", "replace")
    return Ask(body, model, None, boundary)


def _field_name(head: bytes) -> bytes | None:
    """Return the name of a form field, from the lines above its value."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            for parameter in _parameter.finditer(value):
                if parameter.group(1).lower() == b"name":
                    return parameter.group(2).strip().strip(b'"')
    return None


def _find_field(body: bytes, boundary: bytes) -> tuple[int, int] | None:
    """Return the byte range of the value of the form field `model`."""
    start = body.find(boundary)
    while start >= 0:
        head = body.find(b"\r\n\r\n", start)
        end = body.find(b"\r\n" + boundary, head)
        if head < 0 or end < 0:
            return None
        if head - start <= LONGEST_HEAD and _field_name(body[start:head]) == b"model":
            return head + 4, end
        start = end + 2
    return None
