"""Answers on their way to the client: whole ones, streams, and streams that begin before there is an engine."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from torpor import clock
from torpor.domain.waitroom import Refusal
from torpor.gateway import openai

HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that speak of one connection, or that the other side of the gateway sets anew."""
_NOT_FOR_ENGINES = HOP_BY_HOP | {"accept-encoding", "content-encoding", "cookie", "expect"}
SSE = "text/event-stream"
JSON = "application/json"
WAITED = "x-torpor-waited-ms"
SHOULD_RETRY = "x-should-retry"
"""OpenAI's clients try a 429 and a 5xx again after a second, whatever the body says, unless this says `false`."""
RETRIED_SECONDS = 60
"""Longest `Retry-After` that they wait for."""


def engine_headers(request: web.BaseRequest, keyed: bool) -> CIMultiDict[str]:
    """Return the client's headers for the engine; a key that the gateway has checked goes no further.

    The answer must come unpacked, for usage is read from it; and the body was unpacked when it was read.
    """
    dropped = _NOT_FOR_ENGINES | named_by_connection(request.headers.get("Connection", ""))
    headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name.lower() not in dropped
    )
    if keyed:
        headers.popall("Authorization", None)
    headers["Accept-Encoding"] = "identity"
    return headers


def named_by_connection(value: str) -> frozenset[str]:
    """Return the headers that a client says are of its own connection only: they go no further."""
    if value.lower() in ("", "keep-alive", "close"):
        return frozenset()
    return frozenset(name.strip().lower() for name in value.split(","))


def client_headers(headers: CIMultiDictProxy[str], waited: float) -> CIMultiDict[str]:
    """Return the engine's headers for the client, and how long the request waited if it did."""
    kept = CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP
    )
    if waited:
        kept[WAITED] = str(round(waited * 1000))
    return kept


async def send_refusal(
    request: web.BaseRequest, refusal: Refusal, closing: bool
) -> web.StreamResponse:
    """Answer with an OpenAI error object and, where trying again makes sense, `Retry-After`."""
    body = openai.error_body(refusal)
    reply = web.Response(body=body, status=refusal.status, content_type=JSON)
    if (after := openai.retry_after(refusal, clock.now_ms())) is not None:
        reply.headers["Retry-After"] = after
    if after is None or int(after) > RETRIED_SECONDS:
        reply.headers[SHOULD_RETRY] = "false"
    if refusal.status == 401:
        reply.headers["WWW-Authenticate"] = "Bearer"
    if closing:
        reply.force_close()
    await reply.prepare(request)
    await reply.write_eof()
    return reply


class Early:
    """A stream of events that begins while its request still waits, so that no proxy cuts the silent line."""

    def __init__(self, request: web.BaseRequest, closing: bool) -> None:
        """Prepare a 200; nothing is sent before the first comment."""
        self._request = request
        self.reply = web.StreamResponse(headers={"Content-Type": SSE, "Cache-Control": "no-cache"})
        if closing:
            self.reply.force_close()

    async def comment(self, text: str) -> None:
        """Send one comment line, which clients of server-sent events ignore."""
        if not self.reply.prepared:
            await self.reply.prepare(self._request)
        await self.reply.write(b": " + " ".join(text.split()).encode() + b"\n\n")
