"""An HTTP proxy in front of the real S3 server that breaks answers on purpose."""

import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.prewarm.s3server import OWNER


@dataclass
class Asked:
    """One request, as it came; a fault may change the headers that go on."""

    number: int
    method: str
    target: str
    headers: dict[str, str]

    @property
    def is_listing(self) -> bool:
        return "list-type=2" in self.target

    @property
    def is_range_of(self) -> str:
        """The object's path when bytes are asked for, else nothing."""
        return self.target.partition("?")[0] if self.method == "GET" and not self.is_listing else ""

    def sign_anew(self, *, without: str) -> None:
        """Pass on as if a header had never been sent: a store that does not know it."""
        url = f"http://{self.headers['Host']}{self.target}"
        kept = ("range", "if-match", "x-amz-checksum-mode")
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() in kept and name.lower() != without.lower()
        }
        request = AWSRequest(method=self.method, url=url, headers=headers)
        S3SigV4Auth(Credentials(*OWNER), "s3", "us-east-1").add_auth(request)
        self.headers = {"Host": self.headers["Host"], **dict(request.headers.items())}


@dataclass
class Answer:
    """The real server's answer; a fault may change anything in it."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_after: int | None = None
    """Send only so many bytes of the body, then close."""
    stall_after: int | None = None
    """Send only so many bytes of the body, with 0 not even the head, and the rest when `until` is set."""
    until: threading.Event = field(default_factory=threading.Event)

    def replace(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.status, self.body = status, body
        self.headers = {"Content-Length": str(len(body)), **headers}


Fault = Callable[[Asked, Answer], None]


@dataclass
class FaultProxy:
    """`before` sees a request on its way in, `after` an answer on its way out; both may be None."""

    port: int
    before: Callable[[Asked], None] | None = None
    after: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    faults: int = 0

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def ranges(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_range_of]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that leaves is part of the tests."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        upstream: http.client.HTTPConnection | None = None

        def do_GET(self) -> None:
            with lock:
                asked = Asked(len(proxy.asked), self.command, self.path, dict(self.headers.items()))
                proxy.asked.append(asked)
                if proxy.before is not None:
                    proxy.before(asked)
            length = int(self.headers.get("Content-Length") or 0)
            answer = self.forward(asked, self.rfile.read(length))
            with lock:
                if proxy.after is not None:
                    proxy.after(asked, answer)
            self.answer(answer)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # the base class's spelling

        def forward(self, asked: Asked, sent: bytes) -> Answer:
            link = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
            try:
                link.putrequest(
                    asked.method, asked.target, skip_host=True, skip_accept_encoding=True
                )
                for name, value in asked.headers.items():
                    link.putheader(name, value)
                link.endheaders(sent or None)
                response = link.getresponse()
                body = response.read()
                return Answer(response.status, dict(response.headers.items()), body)
            finally:
                link.close()

        def answer(self, answer: Answer) -> None:
            if answer.stall_after == 0:
                answer.until.wait(60)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("connection", "keep-alive"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.flush()
            if answer.cut_after is not None:
                self.wfile.write(answer.body[: answer.cut_after])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            elif answer.stall_after:
                self.wfile.write(answer.body[: answer.stall_after])
                self.wfile.flush()
                answer.until.wait(60)
                self.wfile.write(answer.body[answer.stall_after :])
            else:
                self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Tests read what was asked from `FaultProxy.asked`."""

    return Handler
