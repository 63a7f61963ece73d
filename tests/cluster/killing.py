"""Find the controller that leads, and kill its process as the kernel would: without a word."""

import os
import signal
from dataclasses import dataclass

from dev.cluster.commands import run
from dev.cluster.places import places
from dev.cluster.runtime import ctr
from tests.cluster.apiserver import PODS, ApiServer, Json, until

SYSTEM = "torpor-system"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/torpor-controller"


@dataclass(frozen=True)
class Leader:
    """A controller that leads, and the mark of its latest renewal."""

    pod: str
    renewed: str


def find_leader(api: ApiServer, timeout: float = 60.0) -> Leader:
    """Wait until a controller whose pod is there holds the Lease."""

    def look() -> Leader | None:
        spec = (api.get(LEASE) or {}).get("spec", {})
        holder = str(spec.get("holderIdentity") or "")
        pod = _pod(api, holder) if holder else None
        there = pod is not None and "deletionTimestamp" not in pod["metadata"]
        return Leader(holder, str(spec["renewTime"])) if there else None

    return until("a controller that leads", look, timeout)


def process_of(api: ApiServer, leader: Leader) -> int | None:
    """Return the process id of a controller on this machine; None while it has none."""
    return process_in(_pod(api, leader.pod) or {})


def kill_leader(api: ApiServer) -> Leader:
    """Send SIGKILL to the controller that leads; return what it was."""

    def look() -> tuple[Leader, int] | None:
        leader = find_leader(api)
        pid = process_of(api, leader)
        return (leader, pid) if pid is not None else None

    leader, pid = until("the leader's process", look, timeout=60)
    os.kill(pid, signal.SIGKILL)
    return leader


def wait_for_renewal(api: ApiServer, before: Leader, timeout: float = 60.0) -> Leader:
    """Wait until somebody has renewed the Lease since: the dead one was replaced."""

    def look() -> Leader | None:
        now = find_leader(api)
        return now if now.renewed != before.renewed else None

    return until("a controller that leads again", look, timeout)


def remove_controller(api: ApiServer, pod: str, grace: int | None = None) -> None:
    """Delete a controller's pod, so that its crash back-off goes with it."""
    api.delete(f"{PODS.format(SYSTEM)}/{pod}", grace)


def _pod(api: ApiServer, name: str) -> Json | None:
    return api.get(f"{PODS.format(SYSTEM)}/{name}")


def process_in(pod: Json) -> int | None:
    """Return the process id of the pod's container on this machine, which is the node; None while it has none."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if "running" in container["state"]:
            wanted = container["containerID"].removeprefix("containerd://")
            for line in run([*ctr(places()), "tasks", "list"]).splitlines()[1:]:
                name, pid, state = line.split()[:3]
                if name == wanted and state == "RUNNING":
                    return int(pid)
    return None
