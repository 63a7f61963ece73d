"""One keep-alive HTTP connection whose failures are sentences."""

import contextlib
import errno
import http.client
import socket
import ssl
from typing import Any, cast

from torpor.domain.fetching import FetchReason
from torpor.prewarm.address import Address
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.receiving import SILENCE_SECONDS, set_looks
from torpor.prewarm.tls import TlsLink
from torpor.prewarm.trust import Trust, explain_tls_error

CONNECT_SECONDS = 5.0
"""A store in reach answers a SYN in milliseconds; more only delays the message."""

Body = bytes | memoryview | None
"""What is sent with a request; None where the method has no body."""


class Interruption(FetchFailure):
    """The connection or the store failed in a way that usually passes: the same request may be sent again."""

    def __init__(self, message: str, *, reason: FetchReason = FetchReason.UNREACHABLE) -> None:
        super().__init__(reason, message, retryable=True)


class Busy(Interruption):
    """The store asks for fewer requests (503, 429, SlowDown)."""


class Connection:
    """A connection to one store, opened when it is first needed and again after each failure."""

    def __init__(self, address: Address, trust: Trust | None) -> None:
        """`trust` is needed for https only."""
        self._address = address
        self._trust = trust
        self._link: http.client.HTTPConnection | None = None
        self._interrupts = 0

    def request(
        self, method: str, target: str, headers: dict[str, str], body: Body = None
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer's head; the caller reads its body to the end.

        A store may close a connection that was idle: such a request is sent once more on a fresh one, unless it
        was us who made it fail.

        Raises:
            Interruption: no connection or no answer.
            FetchFailure: a certificate that is not trusted.
        """
        reused, interrupts = self._link is not None, self._interrupts
        try:
            return self._send(method, target, headers, body)
        except Interruption:
            if not reused or self._interrupts != interrupts:
                raise
            return self._send(method, target, headers, body)

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    @property
    def socket(self) -> socket.socket | TlsLink | None:
        """The open connection; None also when the answer under way ends with it."""
        link: socket.socket | TlsLink | None = self._link.sock if self._link is not None else None
        return link

    def interrupt(self) -> None:
        """Make a read in another thread fail now."""
        self._interrupts += 1
        link = self.socket
        if link is not None:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _send(
        self, method: str, target: str, headers: dict[str, str], body: Body
    ) -> http.client.HTTPResponse:
        link = self._link if self._link is not None and self.socket is not None else self._open()
        try:
            link.request(method, target, body=body, headers=headers)
            return link.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise interrupted(self._address, error) from error

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        link = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        link.auto_open = 0  # it would open a plain one
        try:
            link.connect()
            set_looks(link.sock)
            if self._trust is not None:
                link.sock = cast("Any", TlsLink(link.sock, self._trust.context, host))
        except ssl.SSLError as error:
            link.close()
            if self._trust is None:
                raise
            raise explain_tls_error(self._address.endpoint, self._trust, error) from error
        except OSError as error:
            link.close()
            raise Interruption(_explain_connect(self._address, error)) from error
        link.sock.settimeout(SILENCE_SECONDS)
        self._link = link
        return link


def interrupted(address: Address, error: Exception) -> Interruption:
    """Say that an answer did not arrive whole."""
    if isinstance(error, TimeoutError):
        what = f"sent nothing for {SILENCE_SECONDS:.0f} s"
    elif isinstance(error, http.client.RemoteDisconnected):
        hint = "; is it an https port?" if address.scheme == "http" else ""
        what = f"closed the connection without an answer{hint}"
    elif isinstance(error, ConnectionError):
        what = "closed the connection before the answer was complete"
    else:
        what = f"broke off the answer ({type(error).__name__}: {error})"
    return Interruption(f"{address.endpoint} {what}")


def _explain_connect(address: Address, error: OSError) -> str:
    place = f"{address.host}:{address.port}"
    if isinstance(error, socket.gaierror):
        return (
            f"the host name {address.host} of the S3 endpoint does not resolve ({error.strerror})"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at the S3 endpoint {place} (connection refused)"
    if isinstance(error, TimeoutError):
        return f"the S3 endpoint {place} did not answer within {CONNECT_SECONDS:.0f} s"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"there is no route to the S3 endpoint {place} ({error.strerror})"
    return f"the S3 endpoint {place} cannot be connected to ({error.strerror or error})"
