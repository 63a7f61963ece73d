"""Request bodies that come compressed: unpacked as they come, never to more than a body may have."""

from __future__ import annotations

import zlib

from torpor.domain.waitroom import Refusal
from torpor.gateway.wire.requests import BadBody

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Unpacker:
    """Unpacks one body."""

    def __init__(self, window: int, limit: int) -> None:
        """Give at most *limit* bytes, and one more as a sign that there are more."""
        self._stream = zlib.decompressobj(window)
        self._left = limit + 1

    def unpack(self, part: bytes) -> bytes:
        """Return what is in the next *part*.

        Raises:
            BadBody: it is not compressed as its header says.
        """
        if self._left <= 0:
            return b""
        try:
            unpacked = self._stream.decompress(part, self._left)
        except zlib.error as error:
            raise BadBody(str(error)) from error
        self._left -= len(unpacked)
        return unpacked

    def finish(self) -> None:
        """Look whether it was whole.

        Raises:
            BadBody: its end is missing, or something else comes after it.
        """
        if not self._stream.eof or self._stream.unused_data:
            raise BadBody("the compressed body is not one whole stream")


def find_unpacker(encoding: str, limit: int) -> Unpacker | Refusal | None:
    """Return what unpacks a body with that `Content-Encoding`; None if there is nothing to unpack."""
    name = encoding.strip().lower()
    if not name or name == "identity":
        return None
    if (window := _WINDOWS.get(name)) is None:
        known = "gzip, deflate"
        words = f"The body's Content-Encoding is {encoding!r}; known here: {known}"
        return Refusal(415, "unsupported_encoding", words)
    return Unpacker(window, limit)
