"""One endpoint, the controller's parts around it, an API server and a gateway to command; all on 127.0.0.1."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.cluster_room.kubeapi import KubeApi
from torpor import clock
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.children import Children
from torpor.controller.counters import CounterPoller
from torpor.controller.demand import DemandPoller
from torpor.controller.doors import Doors
from torpor.controller.engines import Engines
from torpor.controller.loads import LoadPoller
from torpor.controller.progress import ProgressPoller
from torpor.controller.reconcile import Reconciler, Tools
from torpor.controller.seen import Key, Seen
from torpor.controller.statuswriter import StatusWriter
from torpor.manifests import names
from torpor.manifests.setting import Installation

Json = dict[str, Any]
KEY: Key = ("ml", "tiny")
ENDPOINT = "/apis/torpor.dev/v1alpha1/namespaces/ml/inferenceendpoints/tiny"
DEPLOYMENT = "/apis/apps/v1/namespaces/ml/deployments/tiny"
ACCOUNT = "/api/v1/namespaces/ml/serviceaccounts/tiny-engine"
JOBS = "/apis/batch/v1/namespaces/ml/jobs/"
NODE = "/api/v1/nodes/node-1"
HASH = "0123456789abcdef" * 2
LOOPBACK = "127.0.0.77"
"""Where engine pods live: nothing listens there, unless the test starts an engine."""
METRICS = """\
vllm:num_requests_running{{engine="0"}} {running}
vllm:num_requests_waiting{{engine="0"}} 0
vllm:request_success_total{{engine="0"}} {finished}
vllm:prompt_tokens_total{{engine="0"}} {prompt}
vllm:generation_tokens_total{{engine="0"}} {prompt}
"""


def stamp(seconds_ago: float = 0) -> str:
    when = datetime.fromtimestamp(clock.now().timestamp() - seconds_ago, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Stage:
    def __init__(self, kube: KubeApi, api: Api) -> None:
        self.kube = kube
        self.seen = Seen("torpor-system")
        self.touched: list[Key] = []
        self.report: Json = {}
        """What the gateway says of the endpoint."""
        self.doors: Json = {}
        """The ports that the gateway has opened for direct endpoints."""
        self.metrics = METRICS.format(running=0, prompt=0, finished=0)
        """What the engine's pod says of itself; empty: nothing."""
        self.answers = True
        self.asked = 0
        self._api = api
        self._engines = Engines()
        self._engine: web.ServerRunner | None = None

    async def open(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self._demand, access_log=None), shutdown_timeout=0.01
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = int(self._runner.addresses[0][1])
        self.counters = CounterPoller(self.seen, self._engines, self.touched.append)
        self.demand = DemandPoller(self.seen, self.touched.append, port, self.counters.completed)
        self.progress = ProgressPoller(self.seen, self.touched.append, port)
        objects = Objects(self._api)
        self.statuses = StatusWriter(self.seen, objects, "controller-1", self.touched.append)
        children = Children(self.seen, objects)
        tools = Tools(
            self.seen, self.demand, self._engines, objects, children,
            Installation("example.com/torpor:1", "vllm/vllm-openai:v0.32.0"), self.statuses,
            self.progress, LoadPoller(self.seen, self._engines, self.touched.append),
            self.counters, Doors(self.seen, children, self.demand),
        )  # fmt: skip
        self.reconciler = Reconciler(tools)
        self.kube.told = self.hear
        self.kube.put(NODE, node())
        self.seen.classes["l40s"] = gpu_class()

    async def start_engine(self) -> None:
        """Let the engine's pod answer at its port with `metrics`."""
        self._engine = web.ServerRunner(
            web.Server(self._tell_metrics, access_log=None), shutdown_timeout=0.01
        )
        await self._engine.setup()
        await web.TCPSite(self._engine, LOOPBACK, names.ENGINE_PORT).start()

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.cleanup()
        await self.demand.close()
        await self.progress.close()
        await self.statuses.close()
        await self._engines.close()
        await self._runner.cleanup()

    def hear(self, event: str, obj: Json) -> None:
        """Take an object in as the watches would."""
        deleted, kind, metadata = event == "DELETED", obj.get("kind"), obj["metadata"]
        if kind == "InferenceEndpoint":
            self.seen.endpoints[KEY] = obj
        elif kind == "Node":
            self.seen.nodes[metadata["name"]] = obj
        elif kind == "Pod":
            self.seen.take_pod(obj, deleted, clock.now_ms())
        elif kind in ("Deployment", "Job", "ServiceAccount", "Service", "EndpointSlice"):
            self.seen.take_child(kind, obj, deleted)

    async def step(self) -> int | None:
        due = await self.reconciler.run(KEY)
        await self.statuses.idle()
        return due

    def apply(self, **spec: Any) -> None:
        self.kube.put(
            ENDPOINT,
            {
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "InferenceEndpoint",
                "metadata": {"name": "tiny", "namespace": "ml", "uid": "uid-ie"},
                "spec": {"model": {"source": "s3://models/tiny/"}} | spec,
            },
        )

    async def add_gateway(self) -> None:
        labels = {"app.kubernetes.io/component": "gateway"}
        metadata = {"name": "gw", "namespace": "torpor-system", "uid": "gw", "labels": labels}
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"podIP": "127.0.0.1", "phase": "Running", "conditions": conditions}
        self.seen.take_pod({"metadata": metadata, "status": status}, False, clock.now_ms())
        await self.demand.ask()

    def finish_job(self, name: str, **left: Any) -> None:
        """Let a Job's pod end with these words in its termination log."""
        job = copy.deepcopy(self.kube.objects[JOBS + name])
        kind = "Complete" if left.get("hash") else "Failed"
        job["status"] = {
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": stamp()}]
        }
        job = self.kube.put(JOBS + name, job)
        labels = job["spec"]["template"]["metadata"]["labels"]
        state = {"terminated": {"exitCode": 0, "message": json.dumps(left), "finishedAt": stamp()}}
        self.kube.put(
            f"/api/v1/namespaces/ml/pods/{name}",
            {
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": "ml",
                    "labels": labels,
                    "ownerReferences": [{"uid": job["metadata"]["uid"]}],
                },
                "status": {"containerStatuses": [{"name": "weights", "state": state}]},
            },
        )

    async def make_ready(self, **spec: Any) -> None:
        """Bring the endpoint to where it sleeps with its weights listed and nothing left to fetch."""
        self.apply(prewarm={"nodes": "none"}, **spec)
        await self.add_gateway()
        await self.step()
        self.finish_job(self.jobs()[0], hash=HASH, bytes=16_000_000, files=3)
        await self.step()

    def run_pod(
        self, ready_seconds_ago: float = 600, engine_seconds_ago: float | None = None
    ) -> None:
        """Wake it: one replica, ready since then; since when its engine runs is told only if it is given."""
        deployment = copy.deepcopy(self.kube.objects[DEPLOYMENT])
        deployment["spec"]["replicas"] = 1
        self.kube.put(DEPLOYMENT, deployment)
        engine: list[Json] = []
        if engine_seconds_ago is not None:
            running = {"running": {"startedAt": stamp(engine_seconds_ago)}}
            engine.append({"name": "engine", "restartCount": 0, "state": running})
        began, ready = stamp(ready_seconds_ago + 10), stamp(ready_seconds_ago)
        self.kube.put(
            "/api/v1/namespaces/ml/pods/tiny-1",
            {
                "kind": "Pod",
                "metadata": {
                    "name": "tiny-1",
                    "namespace": "ml",
                    "creationTimestamp": began,
                    "labels": deployment["spec"]["template"]["metadata"]["labels"],
                },
                "spec": {"nodeName": "node-1"},
                "status": {
                    "phase": "Running",
                    "podIP": LOOPBACK,
                    "containerStatuses": engine,
                    "conditions": [
                        {"type": "PodScheduled", "status": "True", "lastTransitionTime": began},
                        {"type": "Ready", "status": "True", "lastTransitionTime": ready},
                    ],
                },
            },
        )

    def jobs(self) -> list[str]:
        return [path.removeprefix(JOBS) for path in self.kube.objects if path.startswith(JOBS)]

    def status(self) -> Json:
        found: Json = self.kube.objects[ENDPOINT].get("status") or {}
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        for found in self.status()["conditions"]:
            if found["type"] == kind:
                return found["status"], found["reason"]
        return "", ""

    def replicas(self) -> int:
        return int(self.kube.objects[DEPLOYMENT]["spec"]["replicas"])

    async def _demand(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        if not self.answers:
            return web.Response(status=503)
        now = clock.now_ms()
        endpoints = {"ml/tiny": self.report} if self.report else {}
        said = {"gateway": "gw", "asOfMs": now, "startedAtMs": 1, "endpoints": endpoints}
        return web.json_response(said | {"doors": self.doors})

    async def _tell_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=self.metrics, status=200 if self.metrics else 503)


def node() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "uid": "uid-of-node-1", "labels": {"gpu": "l40s"}},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8", "memory": "64Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def gpu_class() -> Json:
    return {
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "GPUClass",
        "metadata": {"name": "l40s"},
        "spec": {
            "resourceName": "nvidia.com/gpu",
            "memory": "48Gi",
            "gpusPerNode": 8,
            "nodeSelector": {"gpu": "l40s"},
            "price": {"perGPUHour": "1.80", "currency": "EUR"},
        },
    }
