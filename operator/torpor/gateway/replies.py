"""Answers on their way to the client: whole ones, streams, and streams that begin before there is an engine."""

from __future__ import annotations

from torpor import clock
from torpor.domain.waitroom import Refusal
from torpor.gateway import openai
from torpor.gateway.wire.heads import HOP_BY_HOP, Headers
from torpor.gateway.wire.requests import Request, date

NO_WAIT = b"x-torpor-no-wait"
"""With `true` a request that would have to wait is refused at once, and the endpoint is woken all the same."""
REQUEST_ID = b"x-request-id"
"""The client's, if it can be passed on, or torpor's own: at the engine, in the answer and in the access log."""
_NOT_FOR_ENGINES = HOP_BY_HOP | {
    b"accept-encoding",
    b"content-encoding",
    b"cookie",
    b"expect",
    NO_WAIT,
    REQUEST_ID,
}
_NOT_FOR_CLIENTS = HOP_BY_HOP | {REQUEST_ID}
_NOT_FOR_KEYED = _NOT_FOR_ENGINES | {b"authorization"}
SSE = "text/event-stream"
JSON_FIELD = b"Content-Type: application/json\r\n"
WAITED = b"x-torpor-waited-ms"
SHOULD_RETRY = b"x-should-retry"
"""OpenAI's clients try a 429 and a 5xx again after a second, whatever the body says, unless this says `false`."""
RETRIED_SECONDS = 60
"""Longest `Retry-After` that they wait for."""


def name_request(request: Request, called: str) -> None:
    """Give a request its id, which its answer and its engine are told too."""
    request.id = called
    request.reply.mark = b"%b: %b\r\n" % (REQUEST_ID, called.encode())


def engine_fields(request: Request, keyed: bool) -> bytes:
    """Return the client's header lines for the engine; a key that the gateway has checked goes no further.

    The answer must come unpacked, for usage is read from it; and the body was unpacked when it was read.
    """
    lines = request.headers.passed_on(_NOT_FOR_KEYED if keyed else _NOT_FOR_ENGINES)
    return b"".join((*lines, request.reply.mark, b"Accept-Encoding: identity\r\n"))


def client_fields(headers: Headers, waited: float) -> list[bytes]:
    """Return the engine's header lines for the client, and how long the request waited if it did."""
    lines = headers.passed_on(_NOT_FOR_CLIENTS)
    if waited:
        lines.append(b"%b: %d\r\n" % (WAITED, round(waited * 1000)))
    return lines


def refusal_parts(refusal: Refusal) -> tuple[list[bytes], bytes]:
    """Return the header lines and the body of an OpenAI error object; `Retry-After` where trying again makes sense."""
    fields = [JSON_FIELD, date()]
    if (after := openai.retry_after(refusal, clock.now_ms())) is not None:
        fields.append(f"Retry-After: {after}\r\n".encode())
    if after is None or int(after) > RETRIED_SECONDS:
        fields.append(b"%b: false\r\n" % SHOULD_RETRY)
    if refusal.status == 401:
        fields.append(b"WWW-Authenticate: Bearer\r\n")
    return fields, openai.error_body(refusal)


def send_refusal(request: Request, refusal: Refusal, closing: bool = False) -> None:
    """Answer with an OpenAI error object; *closing* hangs up afterwards."""
    fields, body = refusal_parts(refusal)
    request.reply.closes |= closing
    request.reply.whole(refusal.status, fields, body)


def send_json(request: Request, body: bytes) -> None:
    """Answer 200 with a JSON text."""
    request.reply.whole(200, [JSON_FIELD, date()], body)


def comment(request: Request, text: str) -> None:
    """Send one comment line, which clients of server-sent events ignore; the first begins the stream.

    It begins before there is an engine, so that no proxy cuts the silent line.
    """
    reply = request.reply
    if not reply.begun:
        fields = [b"Content-Type: text/event-stream\r\n", b"Cache-Control: no-cache\r\n", date()]
        reply.begin(200, fields, None)
    reply.write(b": " + " ".join(text.split()).encode() + b"\n\n")
