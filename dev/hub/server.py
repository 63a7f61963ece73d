"""The Hub's HTTP API for models, as far as its client asks for it: revisions, files, redirects, refusals.

    GET  /api/models/ORG/NAME[/revision/REV][?blobs=true]   what a commit holds
    HEAD|GET /ORG/NAME/resolve/REV/FILE                     a file; a large one is redirected to /cdn/…
    GET  /cdn/KEY/SHA256 on a port of its own               a large file's bytes, by range, without a token

Refusals are said as the real hub does: `X-Error-Code` (RepoNotFound, RevisionNotFound, EntryNotFound,
GatedRepo), `X-Error-Message`, and the status beside it.
"""

import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from dev.hub.repositories import HubFile, Repository


@dataclass
class Asked:
    """One request, as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def token(self) -> str:
        """The bearer token, or nothing."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


@dataclass
class Answer:
    """What is said; a fault may change anything in it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    """Send only so many bytes of the body, then close."""


Fault = Callable[[Asked, Answer], None]


class HubServer:
    """Serves repositories until it is left; `fault` may change each answer, `asked` remembers each request."""

    def __init__(
        self,
        repositories: dict[str, Repository],
        host: str = "127.0.0.1",
        port: int = 0,
        fault: Fault | None = None,
        cdn_port: int = 0,
    ) -> None:
        self.repositories = repositories
        self.tokens: set[str] = set()
        """Tokens that are valid but accepted nowhere; those of the repositories' `accepted` are valid too."""
        self.asked: list[Asked] = []
        self.fault = fault
        self.passes: set[str] = {secrets.token_hex(8)}
        """Keys in addresses of large files that are still valid; the last one made is given out."""
        self._lock = threading.Lock()
        self._servers = [_Server((host, each), _handler(self)) for each in (port, cdn_port)]

    @property
    def url(self) -> str:
        """Where it listens: what `HF_ENDPOINT` must be."""
        host, port = self._servers[0].server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def cdn_port(self) -> int:
        """Where large files lie: another address, as with the real hub, so that the client keeps its token."""
        return int(self._servers[1].server_address[1])

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join(5)

    def wait(self) -> None:
        """Serve until interrupted."""
        try:
            self._threads[0].join()
        except KeyboardInterrupt:
            return

    def expire_passes(self) -> None:
        """Make every address of a large file that was given out invalid, as the real ones become with time."""
        self.passes = {secrets.token_hex(8)}

    def answer(self, asked: Asked) -> Answer:
        """Decide one answer."""
        answer = self._route(asked)
        with self._lock:
            self.asked.append(asked)
            if self.fault is not None:
                self.fault(asked, answer)
        return answer

    def _route(self, asked: Asked) -> Answer:
        words = asked.path.strip("/").split("/")
        if words[0] == "cdn" and len(words) == 3:
            return self._give_large(words[1], words[2], asked)
        if asked.token and asked.token not in self._valid_tokens():
            return _refuse(401, "", "Invalid credentials in Authorization header")
        if words[:2] == ["api", "models"] and len(words) >= 4:
            return self._describe(asked, "/".join(words[2:4]), words[4:])
        if len(words) >= 5 and words[2] == "resolve":
            return self._resolve(asked, "/".join(words[:2]), unquote(words[3]), words[4:])
        return _refuse(404, "", "Not found")

    def _valid_tokens(self) -> set[str]:
        return self.tokens.union(*(one.accepted for one in self.repositories.values()))

    def _find(self, asked: Asked, name: str) -> Repository | Answer:
        repository = self.repositories.get(unquote(name))
        if repository is None or (repository.private and asked.token not in repository.accepted):
            status = 404 if asked.token else 401
            return _refuse(status, "RepoNotFound", "Repository not found")
        return repository

    def _describe(self, asked: Asked, name: str, words: list[str]) -> Answer:
        repository = self._find(asked, name)
        if isinstance(repository, Answer):
            return repository
        revision = unquote("/".join(words[1:])) if words[:1] == ["revision"] else "main"
        commit = repository.find(revision)
        if commit is None:
            return _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        blobs = "true" in [word.lower() for word in parse_qs(asked.query).get("blobs", [])]
        body = json.dumps(repository.describe(commit, blobs=blobs)).encode()
        return Answer(200, {"Content-Type": "application/json; charset=utf-8"}, body)

    def _resolve(self, asked: Asked, name: str, revision: str, words: list[str]) -> Answer:
        repository = self._find(asked, name)
        if isinstance(repository, Answer):
            return repository
        commit = repository.find(revision)
        if commit is None:
            return _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        file = repository.commits[commit].get(unquote("/".join(words)))
        if file is None:
            return _refuse(404, "EntryNotFound", "Entry not found")
        if repository.gated and asked.token not in repository.accepted:
            said = f"Access to model {name} is restricted. You must be authenticated to access it."
            return _refuse(403 if asked.token else 401, "GatedRepo", said)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not file.large:
            return _give(file, asked, {**headers, "ETag": f'"{file.blob}"'})
        key = next(iter(self.passes))
        headers |= {
            "Location": f"http://{asked.headers['Host'].rpartition(':')[0]}:{self.cdn_port}"
            f"/cdn/{key}/{file.sha256}",
            "X-Linked-Size": str(len(file.body)),
            "X-Linked-ETag": f'"{file.sha256}"',
        }
        return Answer(302, headers)

    def _give_large(self, key: str, sha256: str, asked: Asked) -> Answer:
        if key not in self.passes:
            return Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for file in files.values():
                    if file.large and file.sha256 == sha256:
                        return _give(file, asked, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})
        return Answer(404)


def _give(file: HubFile, asked: Asked, headers: dict[str, str]) -> Answer:
    wanted = asked.headers.get("Range", "").removeprefix("bytes=")
    if not wanted:
        return Answer(200, headers, file.body)
    first, _, last = wanted.partition("-")
    begin, size = int(first), len(file.body)
    end = min(int(last) if last else size - 1, size - 1)
    if begin > end:
        return Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    given = {**headers, "Content-Range": f"bytes {begin}-{end}/{size}"}
    return Answer(206, given, file.body[begin : end + 1])


def _refuse(status: int, code: str, message: str) -> Answer:
    headers = {"X-Error-Message": message, "Content-Type": "application/json; charset=utf-8"}
    if code:
        headers["X-Error-Code"] = code
    return Answer(status, headers, json.dumps({"error": message}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is none of our business."""


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(self.command, parts.path, parts.query, dict(self.headers.items()))
            asked.headers = {name.title(): value for name, value in asked.headers.items()}
            answer = hub.answer(asked)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(answer.body[: answer.cut_after])
            if answer.cut_after is not None:
                self.close_connection = True

        do_HEAD = do_GET  # the base class's spelling

        def log_message(self, *_: object) -> None:
            """What was asked is in `HubServer.asked`."""

    return Handler
