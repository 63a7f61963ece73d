"""Header fields as they came: bytes in order, found by name, and which of them may be passed on."""

from __future__ import annotations

import email.utils
import http

from torpor import clock

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that speak of one connection, or that the other side of the gateway sets anew."""
_USUAL = frozenset({b"close", b"keep-alive"})
_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}


class Headers:
    """The header fields of one message."""

    __slots__ = ("_first", "fields")

    def __init__(self) -> None:
        """Start without any."""
        self.fields: list[tuple[bytes, bytes]] = []
        """Name and value, as sent and in order; whoever reads a head appends to it, and only then."""
        self._first: dict[bytes, bytes] | None = None

    def get(self, name: bytes) -> str:
        """Return the first value of a field whose *name* is given in lower case, or "" if it is not there."""
        value = (self._first or self._index()).get(name)
        return value.decode("utf-8", "surrogateescape") if value is not None else ""

    def has(self, name: bytes) -> bool:
        """Return whether there is a field of that name, given in lower case."""
        return name in (self._first or self._index())

    def passed_on(self, without: frozenset[bytes]) -> list[bytes]:
        """Return the lines for the next hop, in pieces: all but those named in *without* and in `Connection`."""
        said = (self._first or self._index()).get(b"connection")
        if said is not None and said not in _USUAL:
            without = without | {token.strip() for token in said.lower().split(b",")}
        pieces: list[bytes] = []
        for name, value in self.fields:
            if name.lower() not in without:
                pieces += (name, b": ", value, b"\r\n")
        return pieces

    def _index(self) -> dict[bytes, bytes]:
        first = {name.lower(): value for name, value in reversed(self.fields)}
        self._first = first
        return first


def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Dates:
    """The `Date` field, made once a second."""

    def __init__(self) -> None:
        """Have none yet."""
        self._second = -1
        self._line = b""

    def line(self) -> bytes:
        """Return the line for now."""
        second = clock.now_ms() // 1000
        if second != self._second:
            self._second = second
            self._line = b"Date: %b\r\n" % email.utils.formatdate(second, usegmt=True).encode()
        return self._line
