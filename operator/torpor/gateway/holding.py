"""How many bytes of request bodies the gateway holds, over all endpoints, and the bound on them.

Bytes count from the moment they arrive, before anybody knows which model they are for, until the engine begins to
answer: it is the only thing in a gateway that clients can make large.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from torpor.domain.waitroom import Refusal

RETRY_AFTER = 5.0
"""Seconds a client is told to stay away when the gateway is full."""


class Holdings:
    """What all requests of this gateway hold together."""

    def __init__(self, limit: int) -> None:
        """Start with nothing; at most *limit* bytes may be held."""
        self.bytes = 0
        self.limit = limit


class Holding:
    """What one request holds; used with `with`, which gives it back however the request ends."""

    def __init__(self, all_of_them: Holdings) -> None:
        """Start with nothing."""
        self.size = 0
        self._all = all_of_them

    def grow(self, size: int) -> Refusal | None:
        """Count *size* more bytes and return None, or why they are too many; then they do not count."""
        held, limit = self._all.bytes, self._all.limit
        if held + size > limit:
            words = f"this gateway holds {held} bytes of requests, and {size} came: limit {limit}"
            return Refusal(429, "gateway_full", words, retry_after=RETRY_AFTER)
        self.settle(self.size + size)
        return None

    def settle(self, size: int) -> None:
        """Hold exactly *size* bytes from here on, whatever the limit."""
        self._all.bytes += size - self.size
        self.size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle(0)
