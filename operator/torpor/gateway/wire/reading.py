"""Bytes of one client become requests: llhttp's parser, with bounds on what a head may have."""

from __future__ import annotations

from typing import Protocol

import httptools

from torpor.domain.waitroom import Refusal
from torpor.gateway.wire.heads import Headers
from torpor.gateway.wire.requests import Line, Request

LONGEST_HEAD = 32 * 1024
"""Bytes of request line and header fields; a longer head is answered with 431."""
MOST_FIELDS = 128
"""Header fields of one request."""
SPOKEN = ("1.1", "1.0")
_UPGRADE = frozenset({b"upgrade"})
_TOO_LARGE = Refusal(
    431,
    "headers_too_large",
    f"The request's first line and headers may have {LONGEST_HEAD} bytes and {MOST_FIELDS} fields",
)


class Taker(Line, Protocol):
    """Whoever gets the requests."""

    def begun(self) -> None:
        """Hear that the first byte of a request has come."""
        ...

    def take(self, request: Request) -> None:
        """Take a request whose head is complete."""
        ...

    def misread(self, refusal: Refusal, coming: Request | None) -> None:
        """Hear that what came cannot be read, in the body of *coming* or where there is none; it is the last word."""
        ...


class RequestReader:
    """Reads until something cannot be read; then it is deaf."""

    def __init__(self, taker: Taker) -> None:
        """Tell *taker* what is read."""
        self.in_head = False
        """Whether a request has begun whose head is not complete."""
        self.deaf = False
        """Whatever comes from here on is not read any more."""
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers = Headers()
        self._head_size = 0
        self._fed = 0
        """Bytes since the last request was complete."""
        self._coming: Request | None = None
        """The request whose body is not complete."""
        self._last: Request | None = None
        self._again = b""
        """The head that asked for another protocol, without that wish: nothing but HTTP/1.1 is spoken here."""

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self.deaf:
            return
        self._fed += len(data)
        self._parse(data)
        if self._coming is None and self.in_head and self._fed > LONGEST_HEAD:
            self.give_up(_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if self._again:
                head, self._again = self._again, b""
                self._parser = httptools.HttpRequestParser(self)
                self._parse(head + data[pause.args[0] :])
                return
            self.deaf = True  # CONNECT: what follows is anything but HTTP
            if self._last is not None:
                self._last.reply.closes = True
        except httptools.HttpParserError as error:
            words = f"This is not a valid HTTP request: {error}"
            self.give_up(Refusal(400, "invalid_http", words))

    def give_up(self, refusal: Refusal) -> None:
        """Read no more, for the reason that *refusal* tells."""
        if not self.deaf:
            self.deaf = True
            coming, self._coming = self._coming, None
            self._taker.misread(refusal, coming)

    def end(self) -> None:
        """Read no more, and let go of everything: who takes and the parser know this reader, and it knows them."""
        self.deaf = True
        self._coming = self._last = None
        del self._parser, self._taker

    # The parser's side

    def on_message_begin(self) -> None:
        """Start a head."""
        self.in_head = True
        self._url, self._headers, self._head_size = b"", Headers(), 0
        self._taker.begun()

    def on_url(self, url: bytes) -> None:
        """Take in a part of the target."""
        self._url += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a field; those after the body say nothing."""
        if self.in_head:
            self._headers.fields.append((name, value))
            self._head_size += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self.in_head = False
        if self.deaf:
            return
        parser, headers = self._parser, self._headers
        if self._head_size > LONGEST_HEAD or len(headers.fields) > MOST_FIELDS:
            self.give_up(_TOO_LARGE)
            return
        method, version = parser.get_method(), parser.get_http_version()
        if version not in SPOKEN:
            words = f"HTTP/{version} is not spoken here, HTTP/1.1 and HTTP/1.0 are"
            self.give_up(Refusal(505, "http_version_not_supported", words))
            return
        if parser.should_upgrade() and method != b"CONNECT":
            lines = b"".join(headers.passed_on(_UPGRADE))
            self._again = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._url, lines)
            return
        self._coming = self._last = Request(
            self._taker,
            method.decode("ascii"),
            self._url.decode("utf-8", "surrogateescape"),
            headers,
            keeps_alive=parser.should_keep_alive(),
            old=version == "1.0",
        )
        self._taker.take(self._coming)

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        if self._coming is not None:
            self._coming.feed(body)

    def on_message_complete(self) -> None:
        """Say that the body is complete."""
        self._fed = 0
        if self._coming is not None:
            self._coming.finish()
            self._coming = None
