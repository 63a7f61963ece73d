"""A small API server on a real socket: any object by its path, lists, versions, conflicts, subresources, refusals."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from tests.cluster_room.kubeconfig import write_kubeconfig
from torpor.cluster.connect import Api, connect

Json = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_SUBRESOURCES = ("scale", "status")
_COLLECTION = re.compile(r"(/api/v1|/apis/[^/]+/[^/]+)(/namespaces/[^/]+)?/([a-z]+)")


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    manager: str
    content_type: str
    body: Json
    query: Mapping[str, str]
    accept: str


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.002)


class KubeApi:
    """Keeps objects by URL path, numbers every change, and tells whoever listens."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.asked: list[Asked] = []
        """All requests but looks at `/readyz`, which is ready unless it is refused."""
        self.refuse: dict[str, tuple[int, str]] = {}
        """`METHOD path` → the status and message that such requests are answered with."""
        self.before: Callable[[Asked], None] = lambda asked: None
        """Called before a request is carried out: what somebody else does at the worst moment."""
        self.logs: dict[str, str] = {}
        """Path of a pod's log → its text."""
        self.told: Callable[[str, Json], None] = lambda kind, obj: None
        """Called after each change with ADDED, MODIFIED or DELETED and the object."""
        self.silent: asyncio.Event | None = None
        """If set, requests are answered only after this is."""
        self.held: dict[str, asyncio.Event] = {}
        """`METHOD path` → such requests are carried out only after this is set."""
        self.version = 100
        self.port = 0
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.01
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def client(self, folder: Path) -> Api:
        return await connect(write_kubeconfig(folder, f"http://127.0.0.1:{self.port}"))

    def writes(self) -> list[str]:
        """Every request that was no read, as `METHOD path`."""
        return [f"{a.method} {a.path}" for a in self.asked if a.method != "GET"]

    def put(self, path: str, obj: Json) -> Json:
        """Store an object as its owner would, its uid, version, generation and creation time given if missing."""
        old = self.objects.get(path)
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        before = (old or {}).get("metadata", {}).get("generation", 0)
        metadata["generation"] = before + (old is None or old.get("spec") != obj.get("spec"))
        self.objects[path] = obj
        self.told("MODIFIED" if old else "ADDED", copy.deepcopy(obj))
        return obj

    def delete(self, path: str) -> None:
        self.told("DELETED", self.objects.pop(path))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        asked = Asked(
            request.method, request.path, request.query.get("fieldManager", ""),
            request.content_type, json.loads(raw) if raw else {},
            dict(request.query), request.headers.get("Accept", ""),
        )  # fmt: skip
        if asked.path != "/readyz":
            self.asked.append(asked)
        if self.silent is not None:
            await self.silent.wait()
        if (held := self.held.get(f"{asked.method} {asked.path}")) is not None:
            await held.wait()
        try:
            refused = self.refuse.get(f"{asked.method} {asked.path}")
            if refused is not None:
                raise Refusal(*refused)
            self.before(asked)
            if asked.path == "/readyz":
                return web.Response(text="ok")
            if asked.path in self.logs:
                return web.Response(text=self.logs[asked.path])
            status, answer = self._answer(asked)
        except Refusal as refusal:
            answer = {"kind": "Status", "code": refusal.status, "message": str(refusal)}
            status = refusal.status
        return web.json_response(answer, status=status)

    def _answer(self, asked: Asked) -> tuple[int, Json]:
        if asked.method == "POST":
            path = f"{asked.path}/{asked.body['metadata']['name']}"
            if path in self.objects:
                raise Refusal(409, f'"{asked.body["metadata"]["name"]}" already exists')
            return 201, self.put(path, asked.body)
        if asked.method == "GET" and (kind := _COLLECTION.fullmatch(asked.path)):
            return 200, self._list(asked.query, *kind.groups())
        path, _, last = asked.path.rpartition("/")
        subresource = last if last in _SUBRESOURCES else ""
        path = path if subresource else asked.path
        if asked.content_type == APPLY and (uid := asked.body["metadata"].get("uid")):
            there = self.objects.get(path, {}).get("metadata", {}).get("uid")
            if there != uid:
                raise Refusal(409, f"uid mismatch: the provided object specified uid {uid}")
        if asked.content_type == APPLY and path not in self.objects:
            return 201, self.put(path, asked.body)
        if path not in self.objects:
            raise Refusal(404, f'"{path.rpartition("/")[2]}" not found')
        current = self.objects[path]
        if asked.method == "GET":
            return 200, current
        if asked.method == "DELETE":
            return self._delete(path, asked.body)
        return self._change(path, asked, subresource)

    def _list(
        self, query: Mapping[str, str], root: str, namespace: str | None, plural: str
    ) -> Json:
        """All objects of a kind that carry the labels, in pages as the caller wants them."""
        middle = re.escape(namespace) if namespace else "(/namespaces/[^/]+)?"
        of_kind = re.compile(f"{re.escape(root)}{middle}/{plural}/[^/]+")
        wanted = {pair for pair in query.get("labelSelector", "").split(",") if pair}
        found = [
            obj
            for path, obj in sorted(self.objects.items())
            if of_kind.fullmatch(path) and wanted <= _pairs(obj)
        ]
        first = int(query.get("continue", 0))
        after = first + int(query.get("limit", len(found) or 1))
        return {
            "metadata": {"continue": str(after)} if after < len(found) else {},
            "items": found[first:after],
        }

    def _delete(self, path: str, options: Json) -> tuple[int, Json]:
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != self.objects[path]["metadata"]["uid"]:
            raise Refusal(409, "the UID in the precondition does not match")
        self.delete(path)
        return 200, {"kind": "Status", "status": "Success"}

    def _change(self, path: str, asked: Asked, subresource: str) -> tuple[int, Json]:
        current, body = self.objects[path], asked.body
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version and version != current["metadata"]["resourceVersion"]:
            raise Refusal(409, "the object has been modified; please apply your changes again")
        if subresource == "status":
            body = {"status": body["status"]}
        body = {k: v for k, v in body.items() if subresource != "" or k != "status"}
        new = merged(current, body) if asked.method == "PATCH" else copy.deepcopy(body)
        new["metadata"] |= {"uid": current["metadata"]["uid"]}
        changed = _bare(new) != _bare(current)
        stored = self.put(path, new) if changed else current
        if subresource == "scale":
            count = stored["spec"]["replicas"]
            return 200, {
                "metadata": stored["metadata"],
                "spec": {"replicas": count} if count else {},
            }
        return 200, stored


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386, literally."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def _pairs(obj: Json) -> set[str]:
    return {f"{key}={value}" for key, value in (obj["metadata"].get("labels") or {}).items()}


def _bare(obj: Json) -> Json:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return obj | {"metadata": metadata}
