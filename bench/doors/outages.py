"""What is taken away from a running installation, and given back: the API server, the controllers, a gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dev.cluster import control_plane, processes
from dev.cluster.places import places
from tests.cluster.apiserver import PODS, ApiServer, Json, until
from tests.cluster.killing import SYSTEM, find_leader, process_in
from tests.cluster.space import Space

GATEWAYS = "app.kubernetes.io/component=gateway"
CONTROLLERS = "app.kubernetes.io/component=controller"
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@contextmanager
def no_api_server() -> Iterator[None]:
    """Kill the API server at once; it comes back at the end of the block.

    With it go the controller manager and the scheduler: where kubeadm or a provider runs them, they lead by a Lease,
    and end when they cannot renew it for 10 s. Ours lead without one. Were they to live on, their watches would come
    back up to half a minute after the API server, and every node be taken for gone until then.
    """
    where = places()
    running = processes.all_recorded(where)
    processes.stop([running[name] for name in _CONTROL_PLANE], grace=0.0)
    try:
        yield
    finally:
        control_plane.start_api(where)
        control_plane.start_controllers(where)


@contextmanager
def no_controllers(space: Space) -> Iterator[None]:
    """Scale the controllers to none; at the end of the block they come back, and one leads."""
    kube, where = space.torpor.kube, ("-n", SYSTEM)
    scale = (*where, "scale", "deployment/torpor-controller")
    kube.run(*scale, "--replicas=0")
    try:
        until(
            "no controller",
            lambda: True if not kube.list("pods", SYSTEM, CONTROLLERS) else None,
            60,
        )
        yield
    finally:
        kube.run(*scale, "--replicas=2")
        find_leader(space.api)


def gateways(api: ApiServer) -> list[Json]:
    """Return the gateways' pods, those that drain included."""
    return api.items(PODS.format(SYSTEM), GATEWAYS)


def restart_gateways(space: Space, timeout: float = 120) -> None:
    """Roll all gateways out anew; returns when every old one is gone."""
    old = {pod["metadata"]["uid"] for pod in gateways(space.api)}
    space.torpor.kube.run("-n", SYSTEM, "rollout", "restart", "deployment/torpor-gateway")

    def done() -> bool | None:
        now = {pod["metadata"]["uid"] for pod in gateways(space.api)}
        return True if len(now) == len(old) and not now & old else None

    until("the old gateways are gone, new ones are there", done, timeout)


def kill_gateway(space: Space) -> float:
    """Send SIGKILL to a gateway's process; returns when (epoch seconds)."""
    for pod in gateways(space.api):
        if (pid := process_in(pod)) is not None:
            os.kill(pid, signal.SIGKILL)
            return time.time()
    raise AssertionError("no gateway runs")
