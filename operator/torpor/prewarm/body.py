"""The body of an answer, read straight into the caller's memory with as few wake-ups as the socket allows.

A plain socket is asked for a whole step in one system call (`MSG_WAITALL`), so that Python is not woken for
each segment that arrives, and the kernel sleeps until there is a good deal (`SO_RCVLOWAT`), but not for long
(`receiving`). The caller sees each step as it comes, while the processor's cache may still hold it. TLS gives a record
at a time: it is read without the layers of `io` in between. Anything else, such as chunked answers, goes through
`http.client`.
"""

import http.client
import socket
from collections.abc import Callable
from typing import TypeAlias

from torpor.domain.fetching import FetchReason
from torpor.prewarm.address import Address
from torpor.prewarm.connection import Interruption
from torpor.prewarm.receiving import SILENCE_SECONDS, receive
from torpor.prewarm.tls import TlsLink

WORTH_BYTES = 1024 * 1024
"""Bytes that are worth waking a thread for, while more than that is still to come."""

STEP_BYTES = 1024 * 1024
"""Most bytes between two looks at what arrived: few enough for the cache of one core, enough for a system call."""


Arrived: TypeAlias = Callable[[memoryview], None]
"""Sees what just came."""


class Body:
    """One body of known size; read in order, then finished so that the connection can be used again."""

    def __init__(
        self,
        address: Address,
        response: http.client.HTTPResponse,
        link: socket.socket | TlsLink | None,
        wanted: int,
    ) -> None:
        """`link` is the connection's socket; None when the answer ends with the connection."""
        self._address = address
        self._response = response
        self._wanted = wanted
        self._filled = 0
        self._drained = False
        self._worth = 1
        self._chunked = response.length is None
        self._link = None if self._chunked else link
        if self._link is not None:
            self._link.settimeout(None)

    def fill(self, view: memoryview, arrived: Arrived) -> None:
        """Fill `view` with what comes next; `arrived` sees every step, and what it raises ends the read.

        Raises:
            Interruption: the connection was closed before.
            OSError: it failed, or was silent too long.
        """
        self._sleep_long(self._wanted - self._filled - len(view))
        filled = self._drain(view) if self._link is not None else 0
        if filled:
            arrived(view[:filled])
        while filled < len(view):
            step = view[filled : filled + STEP_BYTES]
            count = self._read(step)
            if not count:
                raise Interruption(
                    f"{self._address.endpoint} closed the connection after "
                    f"{self._filled} of {self._wanted} bytes"
                )
            filled += count
            self._filled += count
            arrived(step[:count])

    def finish(self) -> None:
        """Have read everything: nothing more may come, and the connection is free again.

        Raises:
            Interruption: more bytes came than were asked for.
        """
        if self._chunked and self._response.read(1):
            raise Interruption(
                f"{self._address.endpoint} sent more than the {self._wanted} bytes asked for",
                reason=FetchReason.CORRUPT,
            )
        if self._link is not None:
            self._response.close()
            self._link.settimeout(SILENCE_SECONDS)

    def _sleep_long(self, after: int) -> None:
        """Be woken rarely, as long as so much comes after this view that nothing is waited for in vain."""
        if not isinstance(self._link, socket.socket):
            return
        worth = WORTH_BYTES if after >= WORTH_BYTES else 1
        if worth != self._worth:
            self._link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, worth)
            self._worth = worth

    def _drain(self, view: memoryview) -> int:
        """Take what the reader of the head had read too much; only it may read until its buffer is empty."""
        if self._drained:
            return 0
        ahead = len(self._response.fp.peek(1)[: len(view)])
        self._response.fp.readinto(view[:ahead])
        self._drained = ahead < len(view)
        self._filled += ahead
        return ahead

    def _read(self, step: memoryview) -> int:
        if isinstance(self._link, TlsLink):
            return self._link.read_into(step, len(step))
        if self._link is not None:
            return receive(self._link, step, socket.MSG_WAITALL)
        return self._response.readinto(step)
