"""A TCP relay on loopback that counts: what is asked for through it, and how many bytes come back."""

from __future__ import annotations

import socket
import threading
from typing import Self

RECEIVED_BYTES = 256 * 1024


class Relay:
    """Passes every connection on to a port of this machine, until the block ends."""

    def __init__(self, port: int, cut_after: int | None = None) -> None:
        """`port`: where the server listens. Each connection is closed once `cut_after` bytes came back on it."""
        self.cuts = 0
        """Connections that were closed so."""
        self.requests = 0
        """Requests that began, on all connections."""
        self.bytes = 0
        """Bytes that came back, heads included."""
        self._port = port
        self._cut_after = cut_after
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """Where it listens: the same for its whole life, since a store's address is part of a copy's hash."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _cut(self._listener)
        self.close()
        with self._changed:
            links = list(self._open)
        for link in links:
            _cut(link)

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until so many bytes have come back in all; whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self.bytes >= count, seconds)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            with self._changed:
                self._open |= {client, server}
            pair = threading.Thread(target=self._serve, args=(client, server), daemon=True)
            pair.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        up = threading.Thread(target=self._pass_up, args=(client, server), daemon=True)
        up.start()
        self._pass_down(server, client)
        up.join()
        with self._changed:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pass_up(self, client: socket.socket, server: socket.socket) -> None:
        """A client that waits for each answer sends a request in one piece: its first line counts."""
        while data := _receive(client):
            if data.startswith((b"GET ", b"HEAD ")):
                with self._changed:
                    self.requests += 1
            if not _send(server, data):
                break
        _cut(server)

    def _pass_down(self, server: socket.socket, client: socket.socket) -> None:
        left = self._cut_after
        while data := _receive(server, RECEIVED_BYTES if left is None else left):
            with self._changed:
                self.bytes += len(data)
                self._changed.notify_all()
            if not _send(client, data):
                break
            if left is not None and not (left := left - len(data)):
                with self._changed:
                    self.cuts += 1
                break
        _cut(client)
        _cut(server)


def _receive(link: socket.socket, most: int = RECEIVED_BYTES) -> bytes:
    try:
        return link.recv(min(most, RECEIVED_BYTES))
    except OSError:
        return b""


def _send(link: socket.socket, data: bytes) -> bool:
    try:
        link.sendall(data)
    except OSError:
        return False
    return True


def _cut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
