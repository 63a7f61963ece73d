"""A gateway between a small API server and tiny engines, all on 127.0.0.1, and the words to tell its story."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster_room.kubeconfig import write_kubeconfig
from tests.gateway.apiserver import DEPLOYMENTS, ENDPOINTS, PODS, ApiServer
from tests.gateway.engines import Engine
from torpor.api.endpoint import own_name
from torpor.cluster.connect import connect
from torpor.gateway.program import Gateway
from torpor.metrics import PrometheusGatewayMetrics
from torpor.settings.programs import GatewaySettings

Json = dict[str, Any]
LABELS = {"torpor.dev/component": "engine"}
READY = {"type": "Ready", "status": "True", "reason": "CanAnswer", "message": "asleep"}
CHAT = "/v1/chat/completions"


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for something to become true; the deadline is only there to fail."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.005)


class World:
    """What a test sees: an API server to write to, a gateway to ask, engines to command."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.api = ApiServer()
        self.engines: list[Engine] = []
        self._folder = folder
        self._settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": 0,
            "internal_port": 0,
            "pod_name": "gateway-1",
            "drain_delay": 0.0,
            "farewell": 0.0,
        } | settings
        self.gateways: list[Gateway] = []
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
        )

    @property
    def gateway(self) -> Gateway:
        return self.gateways[0]

    async def open(self, gateways: int = 1) -> World:
        await self.api.start()
        for number in range(gateways):
            await self.add_gateway(f"gateway-{number + 1}")
        return self

    async def add_gateway(self, name: str = "gateway-1") -> Gateway:
        server = f"http://127.0.0.1:{self.api.port}"
        path = write_kubeconfig(self._folder, server, token="t")
        settings = GatewaySettings(**self._settings | {"pod_name": name})
        gateway = Gateway(await connect(path), settings, PrometheusGatewayMetrics())
        self.gateways.append(gateway)
        await gateway.start()
        await self.synced(gateway)
        return gateway

    async def close(self) -> None:
        await self.http.close()
        for gateway in self.gateways:
            await gateway.close()
        for engine in self.engines:
            await engine.stop()
        await self.api.stop()

    # The cluster

    def endpoint(
        self,
        name: str = "llama",
        namespace: str = "shop",
        ready: Json | None = READY,
        uid: str | None = None,
        port: int | None = None,
        **spec: Any,
    ) -> None:
        """Write an InferenceEndpoint; a change of its spec counts its generation up. With *port* it is direct."""
        if port is not None:
            spec = {"access": {"direct": True}} | spec
        spec = {"model": {"source": "s3://models/x/"}} | spec
        before = self.api.objects[ENDPOINTS].get(f"{namespace}/{name}")
        generation = 1
        if before is not None:
            generation = before["metadata"]["generation"] + (before["spec"] != spec)
        conditions = [ready] if ready else []
        self.api.put(
            ENDPOINTS,
            {
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "uid": uid or f"uid-{namespace}-{name}",
                    "generation": generation,
                    "creationTimestamp": "2026-01-02T03:04:05Z",
                },
                "spec": spec,
                "status": {"conditions": conditions}
                | ({"direct": {"port": port, "sinceMs": 1}} if port else {}),
            },
        )

    def deployment(self, name: str = "llama", namespace: str = "shop", replicas: int = 0) -> None:
        labels = LABELS | {"torpor.dev/endpoint": name}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        self.api.put(DEPLOYMENTS, {"metadata": metadata, "spec": {"replicas": replicas}})

    def sleeping(self, name: str = "llama", namespace: str = "shop", **spec: Any) -> None:
        """An endpoint at zero that may be woken."""
        self.endpoint(name, namespace, **spec)
        self.deployment(name, namespace)

    async def engine(self, *names: str, port: int = 0) -> Engine:
        engine = await Engine(*names).start(port)
        self.engines.append(engine)
        return engine

    def pod(
        self,
        engine: Engine,
        uid: str = "pod-1",
        name: str = "llama",
        namespace: str = "shop",
        ready: bool = False,
        owner: str | None = None,
        **metadata: Any,
    ) -> None:
        """An engine pod of an endpoint, running at *engine*, which is told whose it is."""
        own = own_name(namespace, name)
        if isinstance(engine, Engine) and own not in engine.names:
            engine.names.append(own)
        labels = LABELS | {
            "torpor.dev/endpoint": name,
            "torpor.dev/gpu-class": "l40s",
            "torpor.dev/gpus": "2",
        }
        if owner is not None:
            labels["torpor.dev/endpoint-uid"] = owner
        stamp = "2026-01-02T03:04:05Z"
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp},
            {"type": "Ready", "status": str(ready), "lastTransitionTime": stamp},
        ]
        ports = [{"name": "http", "containerPort": engine.port}]
        self.api.put(
            PODS,
            {
                "metadata": {
                    "name": uid,
                    "namespace": namespace,
                    "uid": uid,
                    "labels": labels,
                    **metadata,
                },
                "spec": {"containers": [{"name": "engine", "ports": ports}]},
                "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions},
            },
        )

    async def awake(self, *names: str, **spec: Any) -> Engine:
        """An endpoint with one pod that the kubelet calls ready, known to the gateway."""
        engine = await self.engine(*names)
        self.endpoint(**spec)
        self.deployment(replicas=1)
        self.pod(engine, ready=True)
        await self.sees("pod-1")
        while (await self.demand()).get(
            "uid"
        ) is None:  # the watches of pods and endpoints know no order
            await asyncio.sleep(0.005)
        return engine

    def hear_pods(self) -> None:
        """Let the watches of pods, which were late, tell what has happened."""
        self.api.late.discard(PODS)
        self.api.cut_watches()

    # The gateway

    def url(self, path: str = CHAT, gateway: int = 0) -> str:
        return f"http://127.0.0.1:{self.gateways[gateway].port}{path}"

    async def ask(
        self,
        model: str = "llama",
        *,
        path: str = CHAT,
        key: str | None = None,
        gateway: int = 0,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> tuple[int, Any, dict[str, str]]:
        """Ask and return status, parsed body and headers."""
        headers = (headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        body = {"model": model} | members
        url = self.url(path, gateway)
        async with self.http.post(url, json=body, headers=headers) as response:
            text = await response.read()
            parsed = json.loads(text) if response.content_type == "application/json" else text
            return response.status, parsed, dict(response.headers)

    def asking(self, model: str = "llama", **more: Any) -> asyncio.Task[tuple[int, Any, Any]]:
        """Ask without waiting for the answer."""
        return asyncio.create_task(self.ask(model, **more))

    async def get(self, path: str, key: str | None = None, gateway: int = 0) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self.http.get(self.url(path, gateway), headers=headers) as response:
            return response.status, await response.json()

    async def internal(self, path: str, gateway: int = 0) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.gateways[gateway].internal_port}{path}"
        async with self.http.get(url) as response:
            return response.status, await response.read()

    async def demand(self, key: str = "shop/llama", gateway: int = 0) -> Json:
        _, body = await self.internal("/internal/v1/demand", gateway)
        found: Json = json.loads(body)["endpoints"].get(key, {})
        return found

    async def waiting(self, number: int, key: str = "shop/llama", gateway: int = 0) -> None:
        """Wait until so many requests wait."""
        deadline = time.monotonic() + 5
        while (seen := (await self.demand(key, gateway)).get("waiting", 0)) != number:
            assert time.monotonic() < deadline, f"{seen} wait, not {number}"
            await asyncio.sleep(0.005)

    async def sees(self, uid: str, key: str = "shop/llama", gateway: int = 0) -> None:
        """Wait until the gateway knows a pod."""
        deadline = time.monotonic() + 5
        while uid not in (await self.demand(key, gateway)).get("podsSeen", {}):
            assert time.monotonic() < deadline, f"{uid} was not seen"
            await asyncio.sleep(0.005)

    async def lists(self, *names: str, key: str | None = None, gateway: int = 0) -> None:
        """Wait until `/v1/models` has exactly these."""
        deadline = time.monotonic() + 5
        seen: list[str] | None = None
        while seen != [*names]:
            assert time.monotonic() < deadline, f"{seen} is listed"
            await asyncio.sleep(0.005)
            _, answer = await self.get("/v1/models", key, gateway)
            seen = [model["id"] for model in answer["data"]]

    async def synced(self, gateway: Gateway) -> None:
        number = self.gateways.index(gateway)
        deadline = time.monotonic() + 5
        while (await self.internal("/readyz", number))[0] != 200:
            assert time.monotonic() < deadline, "the gateway did not become ready"
            await asyncio.sleep(0.005)
