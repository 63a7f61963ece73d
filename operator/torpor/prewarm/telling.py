"""`GET /progress`: the same document as the lines on stdout, for whoever watches many nodes."""

import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SILENCE_SECONDS = 5.0
"""A reader that asks for nothing is not waited for."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that leaves is not our failure."""


@contextmanager
def tell(
    port: int, describe: Callable[[], dict[str, Any]], say: Callable[[dict[str, Any]], None]
) -> Generator[None, None, None]:
    """Answer on `port` while the block runs; 0 answers nowhere.

    A port that cannot be had is said and otherwise ignored: weights matter more than watching them come.
    """
    if not port:
        yield
        return
    try:
        server = _Server(("", port), _make_handler(describe))
    except OSError as error:
        say({"notice": f"progress is not told over HTTP: port {port}: {error.strerror or error}"})
        yield
        return
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _make_handler(describe: Callable[[], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE_SECONDS

        def do_GET(self) -> None:
            if self.path != "/progress":
                self.send_error(404)
                return
            body = json.dumps(describe()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Stdout is for results."""

    return Handler
