"""A TLS connection that takes from its socket in large steps.

Python's own reads two system calls' worth for every record, and waits for its turn in the interpreter each
time; some stores send records of 4 KiB. Here one system call takes what has arrived, and the records are
opened in memory: a third less CPU time (measured). It is as much of a socket as `http.client` needs.
"""

import io
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from torpor import clock
from torpor.prewarm.receiving import LOOK_SECONDS, SILENCE_SECONDS, receive

STEP_BYTES = 64 * 1024
"""Ciphertext taken at a time; each connection holds so much."""

RECORD_BYTES = 17 * 1024
"""Most that one record takes, with its frame."""

WORTH_BYTES = 16 * 1024

SEND_BYTES = 256 * 1024


class TlsLink:
    """The client's end of one TLS connection; used by one thread, but for `shutdown`."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands over a connected socket, which belongs to the link from then on.

        Raises:
            ssl.SSLError: a certificate that is not trusted, or a peer that does not speak TLS.
            OSError: the connection failed.
        """
        self._plain = plain
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
        self._read: Callable[[int, memoryview], int] = cast("Any", self._engine.read)
        self._step = memoryview(bytearray(STEP_BYTES))
        self._readers = 0
        self._closed = False
        while True:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._take()
            else:
                self._flush()
                return

    def sendall(self, data: bytes | memoryview) -> None:
        """Send everything."""
        rest = memoryview(data).cast("B")
        while rest:
            count = self._engine.write(rest[:SEND_BYTES])
            self._flush()
            rest = rest[count:]

    def read_into(self, view: memoryview, least: int = 1) -> int:
        """Read until the view holds at least so many bytes.

        Fewer when that takes longer than `LOOK_SECONDS`; none only when the peer has closed.

        Raises:
            ssl.SSLError: what came is not what the peer sent.
            OSError: the connection failed, or was silent too long.
        """
        filled, wanted, read = 0, len(view), self._read
        until = clock.monotonic() + LOOK_SECONDS
        while filled < least:
            try:
                while filled < least and (count := read(wanted - filled, view[filled:])):
                    filled += count
                break
            except ssl.SSLWantReadError:
                self._flush()
                if filled and clock.monotonic() > until:
                    break
                rest = least - filled - self._arrived.pending - RECORD_BYTES
                try:
                    self._take(rest, LOOK_SECONDS if filled else SILENCE_SECONDS)
                except TimeoutError:
                    if not filled:
                        raise
                    break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                break
        return filled

    def makefile(self, mode: str, _buffering: int | None = None) -> io.BufferedReader:
        """A reader for the head of an answer; the connection stays open until it is closed too."""
        if mode != "rb":
            raise ValueError(f"a TlsLink is read by makefile('rb'), not {mode!r}")
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def settimeout(self, seconds: float | None) -> None:
        """Longest time without a byte."""
        self._plain.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """Make a read in another thread fail now."""
        self._plain.shutdown(how)

    def close(self) -> None:
        """Close when the last reader is closed."""
        self._closed = True
        if self._readers == 0:
            self._plain.close()

    def let_go(self) -> None:
        """One reader is closed."""
        self._readers -= 1
        if self._closed:
            self.close()

    def _take(self, least: int = 1, seconds: float = SILENCE_SECONDS) -> None:
        """Take what has arrived, or wait until that is enough to be worth waking up for.

        Ciphertext is longer than what it holds, so that much can be waited for that is still to be read, less
        one record, which the engine may have taken in part already.
        """
        patient = least >= WORTH_BYTES
        step = self._step[:least] if patient else self._step
        count = receive(self._plain, step, socket.MSG_WAITALL if patient else 0, seconds)
        if count:
            self._arrived.write(self._step[:count])
        else:
            self._arrived.write_eof()

    def _flush(self) -> None:
        if self._leaving.pending:
            self._plain.sendall(self._leaving.read())


class _Reader(io.RawIOBase):
    def __init__(self, link: TlsLink) -> None:
        self._link = link

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the base says "any buffer"
        return self._link.read_into(memoryview(buffer).cast("B"))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._link.let_go()
