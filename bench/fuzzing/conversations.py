"""Conversations with a gateway, made by hypothesis: whole requests, damaged ones, and requests hidden in requests.

A request that is whole has exactly one answer. One that was damaged may have any answer but no bad one. What is hidden
in another (request smuggling) must never reach an engine: it carries a mark of its own.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from torpor.gateway.door import MODEL_PATHS

MARK = b"x-fuzz"
HIDDEN = b"hidden"
MODELS = ("llama", "shop/llama", "locked", "broken", "nope", "", "llama\n", "\ud800", "ü" * 40)
_PATHS = sorted(MODEL_PATHS)
_ELSEWHERE = (
    "/",
    "/health",
    "/v1/models",
    "/v1/models/llama",
    "/v1/batches",
    "/v1/%2e%2e/health",
    "*",
    "/v1//chat",
)
_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-0123456789_", min_size=1, max_size=12)
_VALUE = st.binary(max_size=30).map(
    lambda raw: bytes(
        byte for byte in raw if byte in (9, *range(32, 127), *range(128, 256))
    ).strip()
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@dataclass(frozen=True)
class Conversation:
    """What is sent on one connection."""

    pieces: tuple[bytes, ...]
    """In this order, each by itself."""
    whole: int | None
    """So many requests in it are whole, and nothing else is; None if it was damaged."""


def _head(
    method: str, target: str, headers: list[tuple[bytes, bytes]], version: str = "1.1"
) -> bytes:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return f"{method} {target} HTTP/{version}\r\n".encode() + lines + b"\r\n"


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """A body in JSON that names a model, in any spelling, with members that are right and wrong."""
    members: dict[str, Any] = {}
    if draw(st.booleans()):
        members |= draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=4))
    names = st.sampled_from((*["llama"] * 8, *MODELS))
    members["model"] = draw(_JSON if draw(st.integers(0, 9)) == 9 else names)
    if draw(st.booleans()):
        members["stream"] = draw(st.booleans() | _JSON)
    if draw(st.booleans()):
        options = st.fixed_dictionaries(
            {}, optional={"include_usage": st.booleans(), "continuous_usage_stats": st.booleans()}
        )
        members["stream_options"] = draw(options | _JSON)
    if draw(st.integers(0, 9)) == 9:
        depth = draw(st.integers(1, 1500))
        return b'{"model": "llama", "stream": true, "x": ' + b"[" * depth + b"]" * depth + b"}"
    whole = json.dumps(
        members, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2]))
    )
    return whole.encode("utf-8", "surrogatepass")


@st.composite
def _forms(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A form and its content type."""
    mark = draw(st.sampled_from([b"B", b"-" * 60, b"x y", b"'()+_,./:=?"]))
    names = draw(
        st.lists(st.sampled_from([b"model", b"file", b'model"; x="', b"models"]), max_size=4)
    )
    if draw(st.integers(0, 3)):
        names.append(b"model")
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (
            mark,
            name,
            draw(st.sampled_from([b"llama", b"shop/llama", b"--B", b"\r\n\r\n", b"\xff"])),
        )
        for name in names
    ]
    end = draw(st.sampled_from([b"--%s--\r\n" % mark, b"", b"--%s" % mark]))
    kind = draw(
        st.sampled_from([b"multipart/form-data; boundary=%s", b'Multipart/Form-Data;boundary="%s"'])
    )
    return b"".join(parts) + end, kind % mark


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of any sizes, with extensions and trailers."""
    out, at = [], 0
    while at < len(body):
        size = draw(st.integers(1, max(1, len(body) - at)))
        extension = draw(st.sampled_from([b"", b"", b";a", b';a="b"']))
        spelled = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % size
        out.append(spelled + extension + b"\r\n" + body[at : at + size] + b"\r\n")
        at += size
    trailer = draw(st.sampled_from([b"", b"", b"X-Trailer: 1\r\n"]))
    return b"".join(out) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def _posts(draw: st.DrawFn) -> bytes:
    """A whole request that names a model, or fails to."""
    if draw(st.integers(0, 4)) == 4:
        body, kind = draw(_forms())
    else:
        body, kind = (
            draw(_bodies()),
            draw(st.sampled_from([b"application/json", b"", b"text/plain"])),
        )
    if draw(st.integers(0, 9)) == 9:
        body = draw(st.binary(max_size=100))
    headers = [(b"Host", b"fuzz"), (MARK, b"meant"), (b"Content-Type", kind)]
    if draw(st.booleans()):
        headers.append((b"x-" + draw(_TOKEN).encode(), draw(_VALUE)))
    if draw(st.integers(0, 3)) == 3:
        headers.append(
            (
                b"Authorization",
                draw(st.sampled_from([b"Bearer right", b"Bearer \xff", b"Basic eA==", b"Bearer"])),
            )
        )
    if draw(st.integers(0, 5)) == 5:
        named = [b"keep-alive", b"x-fuzz", b"close, x-a", b"authorization", b"te"]
        headers.append((b"Connection", draw(st.sampled_from(named))))
        headers.append((b"X-A", b"1"))
    if draw(st.integers(0, 5)) == 5:
        headers.append((b"Expect", b"100-continue"))
    if draw(st.integers(0, 7)) == 7:
        body = draw(st.sampled_from([gzip.compress(body), gzip.compress(body)[:-4], body]))
        headers.append(
            (
                b"Content-Encoding",
                draw(st.sampled_from([b"gzip", b"deflate", b"br", b"zstd", b"x"])),
            )
        )
    if draw(st.booleans()):
        headers.append((b"Content-Length", b"%d" % len(body)))
        sent = body
    else:
        headers.append((b"Transfer-Encoding", b"chunked"))
        sent = draw(_chunked(body))
    query = draw(
        st.sampled_from(
            ["", "", "?a=1", "?a=%2F%00&b", "?ä".encode().decode("latin-1"), "?[]{}|^`"]
        )
    )
    origin = draw(st.sampled_from(["", "", "", "http://elsewhere:1"]))
    return _head("POST", origin + draw(st.sampled_from(_PATHS)) + query, headers) + sent


@st.composite
def _others(draw: st.DrawFn) -> bytes:
    """A whole request without a body, of any method."""
    method = draw(
        st.sampled_from(["GET", "GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "BREW"])
    )
    target = draw(
        st.sampled_from([path for path in _ELSEWHERE if path != "*"]) | st.sampled_from(_PATHS)
    )
    return _head(method, target, [(b"Host", b"fuzz"), (MARK, b"meant")])


@st.composite
def _hiding(draw: st.DrawFn) -> bytes:
    """A request in whose body another one lies, for whoever reads its length in another way."""
    body = b'{"model": "llama"}'
    inner = _head(
        "POST",
        "/v1/chat/completions",
        [(b"Host", b"fuzz"), (MARK, HIDDEN), (b"Content-Length", b"%d" % len(body))],
    )
    hidden = b"0\r\n\r\n" + inner + body
    size = b"%d" % len(hidden)
    lengths: list[list[tuple[bytes, bytes]]] = [
        [(b"Content-Length", size), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", size)],
        [(b"Content-Length", b"5"), (b"Content-Length", size)],
        [(b"Content-Length", size), (b"Content-Length", b"5")],
        [(b"Content-Length", b"+" + size)],
        [(b"Content-Length", b"5, " + size)],
        [(b"Content-Length", b"0x5")],
        [(b"Content-Length", b"5 5")],
        [(b"Content-Length", b"-1")],
        [(b"Content-Length", b"99999999999999999999")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"xchunked")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"chunked, identity")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"identity, chunked")],
        [(b"Content-Length", size), (b"Transfer-Encoding ", b"chunked")],
        [(b"Content-Length", size), (b" Transfer-Encoding", b"chunked")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"\x0bchunked")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"chunked\x00")],
        [(b"Content-Length", size), (b"X", b"1\nTransfer-Encoding: chunked")],
        [(b"Content-Length", size), (b"X", b"1\rTransfer-Encoding: chunked")],
        [(b"Content-Length", size), (b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Content-Length\x00", b"5"), (b"Content-Length", size)],
        [(b"Content_Length", b"5"), (b"Content-Length", size)],
        [(b"Connection", b"content-length"), (b"Content-Length", size)],
        [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade"), (b"Content-Length", size)],
    ]
    chosen = draw(st.sampled_from(lengths))
    version = draw(st.sampled_from(["1.1", "1.1", "1.0"]))
    return (
        _head("POST", draw(st.sampled_from(_PATHS)), [(b"Host", b"fuzz"), *chosen], version)
        + hidden
    )


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """One or two requests with some bytes changed, lost, doubled or cut off."""
    raw = bytearray(b"".join(draw(st.lists(_posts() | _others(), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        end = min(len(raw), at + draw(st.integers(1, 20)))
        match draw(st.sampled_from(["change", "lose", "double", "put", "cut"])):
            case "change" if raw:
                raw[at] = draw(st.integers(0, 255))
            case "lose":
                del raw[at:end]
            case "double":
                raw[at:at] = raw[at:end]
            case "put":
                odd = [
                    b"\r",
                    b"\n",
                    b"\r\n",
                    b"\x00",
                    b":",
                    b" ",
                    b"\t",
                    b"0\r\n\r\n",
                    b"\xff",
                    b"\r\n ",
                ]
                raw[at:at] = draw(st.sampled_from(odd) | st.binary(max_size=8))
            case _ if draw(st.booleans()):
                del raw[at:]
    return bytes(raw)


def _cut(draw: st.DrawFn, raw: bytes) -> tuple[bytes, ...]:
    places = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=3)))
    edges = [0, *places, len(raw)]
    return tuple(raw[start:end] for start, end in pairwise(edges) if start < end)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Give any of them; half of what is sent is whole."""
    kind = draw(st.sampled_from(["whole", "whole", "whole", "damaged", "hiding", "noise"]))
    if kind == "whole":
        requests = draw(st.lists(_posts() | _others(), min_size=1, max_size=4))
        return Conversation(_cut(draw, b"".join(requests)), len(requests))
    raw = {
        "damaged": _damaged(),
        "hiding": _hiding(),
        "noise": st.binary(min_size=1, max_size=200),
    }[kind]
    return Conversation(_cut(draw, draw(raw)), None)
