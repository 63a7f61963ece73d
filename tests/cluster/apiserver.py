"""The API server as a test sees it: objects in and out, and watches that remember when each version came."""

import base64
import http.client
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import yaml

Json = dict[str, Any]
T = TypeVar("T")

ENDPOINTS = "/apis/torpor.dev/v1alpha1/namespaces/{}/inferenceendpoints"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
PODS = "/api/v1/namespaces/{}/pods"
MANAGER = "torpor-tests"


class Late(AssertionError):
    """Something did not come within its deadline."""


def until(what: str, look: Callable[[], T | None], timeout: float, every: float = 0.1) -> T:
    """Look until there is something; the deadline is for broken runs, never a measurement.

    Raises:
        Late: nothing came in time.
    """
    deadline = time.monotonic() + timeout
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {timeout:g} s")
        time.sleep(every)
    return found


@dataclass
class Seen:
    """Everything that one watch has told: (epoch seconds of arrival, type of event, object)."""

    events: list[tuple[float, str, Json]] = field(default_factory=list)

    def of(self, name: str) -> list[tuple[float, str, Json]]:
        """Return the events of one object."""
        return [event for event in list(self.events) if event[2]["metadata"]["name"] == name]

    def replicas(self, name: str) -> list[tuple[float, int]]:
        """Return when a Deployment's replicas became which number, the first included."""
        found: list[tuple[float, int]] = []
        for at, _, obj in self.of(name):
            now = int(obj["spec"].get("replicas") or 0)
            if not found or found[-1][1] != now:
                found.append((at, now))
        return found

    def slept(self, name: str) -> list[float]:
        """Return when a Deployment's replicas became 0, each time."""
        return [at for at, replicas in self.replicas(name)[1:] if not replicas]


class ApiServer:
    """Plain JSON over the administrator's kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        found = yaml.safe_load(kubeconfig.read_text())
        cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(b"\n" + base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._tls.load_cert_chain(pair.name)
        self._client = httpx.Client(
            base_url=self._server, verify=self._tls, timeout=30, trust_env=False
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str) -> Json | None:
        """Return an object, or None if there is none."""
        answer = self._client.get(path)
        return None if answer.status_code == 404 else _body(answer)

    def items(self, path: str, selector: str = "") -> list[Json]:
        """Return the objects of a collection."""
        answer = self._client.get(path, params={"labelSelector": selector} if selector else None)
        items: list[Json] = _body(answer)["items"]
        return items

    def create(self, path: str, obj: Json) -> Json:
        """POST an object."""
        return _body(self._client.post(path, json=obj, params={"fieldManager": MANAGER}))

    def apply(self, path: str, obj: Json, manager: str = MANAGER) -> Json:
        """Apply an object server-side, as `kubectl apply --server-side` does."""
        answer = self._client.patch(
            path,
            content=json.dumps(obj),
            params={"fieldManager": manager, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return _body(answer)

    def patch(self, path: str, body: Any, manager: str = MANAGER) -> Json:
        """Patch an object: a merge patch if it is an object, a JSON patch if it is a list."""
        kind = "json-patch" if isinstance(body, list) else "merge-patch"
        answer = self._client.patch(
            path,
            content=json.dumps(body),
            params={"fieldManager": manager},
            headers={"Content-Type": f"application/{kind}+json"},
        )
        return _body(answer)

    def delete(self, path: str, grace: int | None = None) -> None:
        """Delete an object; one that is gone is fine."""
        options: Json = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        answer = self._client.request("DELETE", path, json=options)
        if answer.status_code != 404:
            _body(answer)

    @contextmanager
    def watching(self, path: str) -> Iterator[Seen]:
        """Watch a collection from now on while the block runs; what is there comes as ADDED."""
        seen, stop = Seen(), threading.Event()
        connections: list[http.client.HTTPSConnection] = []

        def watch() -> None:
            while not stop.is_set():
                with suppress(OSError, ValueError, http.client.HTTPException):
                    self._watch(path, seen, connections)

        thread = threading.Thread(target=watch, name=f"watch {path}", daemon=True)
        thread.start()
        try:
            until(f"watch of {path}", lambda: connections or None, timeout=10)
            yield seen
        finally:
            stop.set()
            if (sock := connections[-1].sock if connections else None) is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)

    def _watch(self, path: str, seen: Seen, opened: list[http.client.HTTPSConnection]) -> None:
        where = urlsplit(self._server)
        connection = http.client.HTTPSConnection(
            where.hostname or "", where.port or 443, context=self._tls
        )
        try:
            connection.request("GET", f"{path}?watch=1&timeoutSeconds=1800")
            answer = connection.getresponse()
            opened.append(connection)
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] != "ERROR":
                    seen.events.append((time.time(), event["type"], event["object"]))
        finally:
            connection.close()


def _body(answer: httpx.Response) -> Json:
    assert answer.status_code < 300, f"{answer.request.method} {answer.url}: {answer.text}"
    found: Json = answer.json()
    return found
