"""A door in front of the S3 server: it writes down each request that comes through, and can be slow."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from dev.cluster.places import HOST_IP

_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n", re.MULTILINE)
_BLOCK = 64 * 1024


class Storefront:
    """Passes connections on as they come; signatures stay valid, since the Host header is the door's own."""

    def __init__(self, behind: str) -> None:
        parts = urlsplit(behind)
        self._behind = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server((HOST_IP, 0), backlog=128)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._budget_at = 0.0
        self.bytes_per_second: float | None = None
        """Most bytes of answers per second, all connections together; None for as fast as they come."""
        self.requests: list[str] = []
        """`METHOD target` of every request."""

    @property
    def endpoint(self) -> str:
        """What an endpoint's `model.s3.endpoint` says to come through here."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def open(self) -> None:
        """Begin to let in."""
        threading.Thread(target=self._let_in, daemon=True).start()

    def close(self) -> None:
        """Shut the door and cut who is inside."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            inside = list(self._sockets)
        for sock in inside:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _let_in(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._behind) as server:
            with self._lock:
                self._sockets |= {client, server}
            asking = threading.Thread(target=self._pass_on, args=(client, server, True))
            asking.start()
            self._pass_on(server, client, False)
            asking.join()
            with self._lock:
                self._sockets -= {client, server}

    def _pass_on(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if asks:
                    self._write_down(block)
                else:
                    self._hold(len(block))
                sink.sendall(block)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            source.shutdown(socket.SHUT_RD)

    def _write_down(self, block: bytes) -> None:
        """A request without a body begins a block: torpor sends the next one only after the answer."""
        for method, target in _REQUEST.findall(block):
            self.requests.append(f"{method.decode()} {target.decode()}")

    def _hold(self, count: int) -> None:
        rate = self.bytes_per_second
        if rate is None:
            return
        with self._lock:
            self._budget_at = max(self._budget_at, time.monotonic()) + count / rate
            due = self._budget_at
        time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def open_storefront(behind: str) -> Iterator[Storefront]:
    """Put a door in front of an S3 server while the block runs."""
    front = Storefront(behind)
    front.open()
    try:
        yield front
    finally:
        front.close()
