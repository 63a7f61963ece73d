"""A node that is not there: it runs nothing and says that all runs, so that a thousand endpoints fit on two cores.

Everything else is real: API server, scheduler, controllers, torpor. Pods that are bound to the node are told to be
Running and Ready at once, Jobs' pods to have succeeded with the words that torpor's own program would leave.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from dev.cluster.progress import say
from tests.cluster.apiserver import ApiServer, Json

NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
HEARTBEAT_SECONDS = 10.0
LOOPBACK = "127.0.0.1"


class Ghost:
    """Plays the kubelet of one node for the pods of one namespace."""

    def __init__(self, api: ApiServer, name: str, left: Mapping[str, object]) -> None:
        """`left` is what a Job's pod leaves in its termination log."""
        self._api = api
        self.name = name
        self._left = json.dumps(left)

    def take(self, kind: str, pod: Json) -> None:
        """Answer one event of the watch on pods."""
        if kind == "DELETED" or pod["spec"].get("nodeName") != self.name:
            return
        metadata, status = pod["metadata"], pod.get("status", {})
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        owner = (metadata.get("ownerReferences") or [{}])[0].get("kind")
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self._api.delete(path, grace=0)
        elif owner == "Job" and status.get("phase") != "Succeeded":
            self._api.patch(f"{path}/status", {"status": self._succeeded(pod)})
        elif owner == "ReplicaSet" and status.get("phase") != "Running":
            self._api.patch(f"{path}/status", {"status": self._running(pod)})

    def beat(self) -> None:
        """Say that the node lives."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._api.apply(
            f"{LEASES}/{self.name}",
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name},
                "spec": {
                    "holderIdentity": self.name,
                    "leaseDurationSeconds": 40,
                    "renewTime": stamp,
                },
            },
        )

    def _succeeded(self, pod: Json) -> Json:
        ended = {
            "exitCode": 0,
            "reason": "Completed",
            "message": self._left,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        states = [
            _container(spec, {"terminated": ended}, ready=False)
            for spec in pod["spec"]["containers"]
        ]
        return {"phase": "Succeeded", "containerStatuses": states}

    def _running(self, pod: Json) -> Json:
        running = {"running": {"startedAt": _now()}}
        done = {"terminated": {"exitCode": 0, "startedAt": _now(), "finishedAt": _now()}}
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": _now()}
            for kind in ("Initialized", "ContainersReady", "Ready")
        ]
        return {
            "phase": "Running",
            "podIP": LOOPBACK,
            "podIPs": [{"ip": LOOPBACK}],
            "conditions": [*pod.get("status", {}).get("conditions", ()), *conditions],
            "containerStatuses": [
                _container(spec, running, ready=True) for spec in pod["spec"]["containers"]
            ],
            "initContainerStatuses": [
                _container(spec, done, ready=True) for spec in pod["spec"].get("initContainers", ())
            ],
        }


@contextmanager
def haunting(
    api: ApiServer, namespace: str, name: str, labels: Json, gpus: int, left: Json
) -> Iterator[Ghost]:
    """Have such a node while the block runs; every other node takes no new pods meanwhile."""
    ghost, stop = Ghost(api, name, left), threading.Event()
    others = [node["metadata"]["name"] for node in api.items(NODES)]
    for other in others:
        api.patch(f"{NODES}/{other}", {"spec": {"unschedulable": True}})
    try:
        api.apply(f"{NODES}/{name}", _node(name, labels))
        api.patch(f"{NODES}/{name}/status", {"status": _healthy(gpus)})
        with api.watching(f"/api/v1/namespaces/{namespace}/pods") as pods:
            threads = [
                threading.Thread(target=_beat, args=(ghost, stop), daemon=True),
                threading.Thread(target=_follow, args=(ghost, pods.events, stop), daemon=True),
            ]
            for thread in threads:
                thread.start()
            try:
                yield ghost
            finally:
                stop.set()
                for thread in threads:
                    thread.join(20)
    finally:
        api.delete(f"{NODES}/{name}")
        for other in others:
            api.patch(f"{NODES}/{other}", {"spec": {"unschedulable": False}})


def _beat(ghost: Ghost, stop: threading.Event) -> None:
    while True:
        ghost.beat()
        if stop.wait(HEARTBEAT_SECONDS):
            return


def _follow(ghost: Ghost, events: list[tuple[float, str, Json]], stop: threading.Event) -> None:
    at = 0
    while not stop.wait(0.02):
        while at < len(events):
            _, kind, pod = events[at]
            at += 1
            try:
                ghost.take(kind, pod)
            except AssertionError as refused:  # it has changed meanwhile: the next event tells
                say(f"{ghost.name}: {str(refused)[:200]}")


def _node(name: str, labels: Json) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def _healthy(gpus: int) -> Json:
    room = {
        "cpu": "100000",
        "memory": "100000Gi",
        "pods": "5000",
        "ephemeral-storage": "100000Gi",
        "nvidia.com/gpu": str(gpus),
    }
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Haunted",
        "message": "says so itself",
        "lastHeartbeatTime": _now(),
        "lastTransitionTime": _now(),
    }
    return {"capacity": room, "allocatable": room, "conditions": [ready]}


def _container(spec: Json, state: Json, *, ready: bool) -> Json:
    return {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
