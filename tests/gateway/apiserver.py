"""A small API server on a real socket: list, watch and patch of the three resources that the gateway follows."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from aiohttp import web

Json = dict[str, Any]

ENDPOINTS = "/apis/torpor.dev/v1alpha1/inferenceendpoints"
DEPLOYMENTS = "/apis/apps/v1/deployments"
PODS = "/api/v1/pods"


class ApiServer:
    """Keeps objects by path and key, numbers every change, and tells watchers."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {ENDPOINTS: {}, DEPLOYMENTS: {}, PODS: {}}
        self.patches: list[tuple[str, Any, str]] = []
        self.patch_answers: list[int] = []
        """Statuses to answer the next patches with instead of carrying them out."""
        self.starting = False
        """Whether it says of itself that it is not ready yet."""
        self.patch_gate: asyncio.Event | None = None
        """If set, a patch is carried out only after this is."""
        self.lists = 0
        self.reads = 0
        """How often a single object was read."""
        self.late: set[str] = set()
        """Paths whose watches tell nothing, as long as they are in here."""
        self.version = 100
        self.oldest = 0
        """Watches from before this version are answered with 410 Gone."""
        self._events: list[tuple[int, str, str, Json]] = []
        self._changed = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._cut = 0
        self.port = 0

    async def start(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.01
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Go away: connections are cut and new ones refused, until `start`."""
        if self._runner is not None:
            self.cut_watches()
            await self._runner.cleanup()
            self._runner = None

    def cut_watches(self) -> None:
        self._cut += 1
        self._wake()

    def put(self, path: str, obj: Json) -> Json:
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        metadata.setdefault("managedFields", [{"manager": "x" * 100}])
        kind = "MODIFIED" if key in self.objects[path] else "ADDED"
        self.objects[path][key] = obj
        self._tell(path, kind, obj)
        return obj

    def delete(self, path: str, key: str) -> None:
        obj = self.objects[path].pop(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._tell(path, "DELETED", obj)

    def replicas(self, key: str) -> int:
        return int(self.objects[DEPLOYMENTS][key]["spec"].get("replicas", 0))

    def scale(self, key: str, replicas: int) -> None:
        obj = copy.deepcopy(self.objects[DEPLOYMENTS][key])
        obj["spec"]["replicas"] = replicas
        self.put(DEPLOYMENTS, obj)

    def _tell(self, path: str, kind: str, obj: Json) -> None:
        self._events.append((self.version, path, kind, copy.deepcopy(obj)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PATCH":
            return await self._patch(request)
        if request.path == "/readyz":
            return web.Response(status=500 if self.starting else 200)
        if (one := self._read(request.path)) is not None:
            self.reads += 1
            return web.json_response(one)
        if request.path not in self.objects:
            return web.json_response({"code": 404, "message": "no such path"}, status=404)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.lists += 1
        found = [o for o in self.objects[request.path].values() if _selected(request, o)]
        limit, start = int(request.query["limit"]), int(request.query.get("continue", 0))
        more = str(start + limit) if start + limit < len(found) else ""
        return web.json_response(
            {
                "metadata": {"resourceVersion": str(self.version), "continue": more},
                "items": found[start : start + limit],
            }
        )

    def _read(self, path: str) -> Json | None:
        """Return the object at a path such as `…/namespaces/shop/inferenceendpoints/llama`."""
        *_, word, namespace, kind, name = ("", "", "", *path.split("/"))
        if word != "namespaces":
            return None
        collection = path.replace(f"/namespaces/{namespace}", "").removesuffix(f"/{name}")
        assert collection.endswith(kind)
        return self.objects[collection].get(f"{namespace}/{name}")

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        since, cut = int(request.query["resourceVersion"]), self._cut
        if since < self.oldest:
            return web.json_response({"code": 410, "message": "too old"}, status=410)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while cut == self._cut:
            changed = self._changed
            for version, path, kind, obj in [] if request.path in self.late else list(self._events):
                if version > since and path == request.path:
                    since = version
                    if _selected(request, obj):
                        event = json.dumps({"type": kind, "object": obj})
                        await response.write(event.encode() + b"\n")
            await changed.wait()
        return response

    async def _patch(self, request: web.BaseRequest) -> web.StreamResponse:
        namespace, _, name, scale = request.path.split("/")[-4:]
        assert (scale, request.content_type) == ("scale", "application/json-patch+json")
        key, body = f"{namespace}/{name}", json.loads(await request.read())
        self.patches.append((key, body, request.query.get("fieldManager", "")))
        if self.patch_gate is not None:
            await self.patch_gate.wait()
        if self.patch_answers:
            status = self.patch_answers.pop(0)
            return web.json_response(
                {"code": status, "message": f"made up {status}"}, status=status
            )
        if key not in self.objects[DEPLOYMENTS]:
            return web.json_response({"code": 404, "message": f"{key} not found"}, status=404)
        assert body[0] == {"op": "test", "path": "/spec", "value": {}}
        if self.replicas(key) != 0:
            return web.json_response({"code": 422, "message": "test failed"}, status=422)
        self.scale(key, body[1]["value"])
        version = self.objects[DEPLOYMENTS][key]["metadata"]["resourceVersion"]
        return web.json_response(
            {"metadata": {"resourceVersion": version}, "spec": {"replicas": self.replicas(key)}}
        )


def _selected(request: web.BaseRequest, obj: Json) -> bool:
    selector = request.query.get("labelSelector")
    if not selector:
        return True
    label, _, value = selector.partition("=")
    return bool((obj["metadata"].get("labels") or {}).get(label) == value)
