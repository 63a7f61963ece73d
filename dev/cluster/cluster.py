"""The cluster as one value: brought up, asked, taken down."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import control_plane, node, objectstore, processes, runtime, sweep
from .base_image import ensure_pause
from .commands import run
from .errors import HarnessError
from .images import RECIPES, ImageStore
from .machine import check_machine, ensure_packages
from .network import check_network, raise_network
from .places import Places, places, search_path
from .programs import ensure_program, ensure_programs, program_path
from .progress import say, step
from .s3 import Store

EXPECTED = (*control_plane.PROCESSES, *runtime.PROCESSES, *node.PROCESSES, *objectstore.PROCESSES)


@contextmanager
def exclusive(where: Places) -> Iterator[None]:
    """Hold the harness's lock; the kernel lets go of it when this process dies, however it dies."""
    where.lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(where.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command of the harness is at work: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class S3:
    """The S3 server of the cluster: one set of buckets, two listeners, two accounts."""

    endpoint: str
    tls_endpoint: str
    ca: Path
    region: str
    access_key: str
    secret_key: str
    stranger_access_key: str
    stranger_secret_key: str


class Cluster:
    """The local cluster. `Cluster.up()` gives a running one; the rest asks or changes it."""

    def __init__(self, where: Places | None = None) -> None:
        self._places = where or places()

    @classmethod
    def up(cls, where: Places | None = None) -> Cluster:
        """Bring the cluster up, whatever state it is in; seconds when it is well already.

        Raises:
            HarnessError: says what is missing on this machine.
        """
        cluster = cls(where)
        check_machine()
        with exclusive(cluster._places):
            if cluster.is_healthy():
                say("the cluster is up")
                return cluster
            ensure_packages()
            ensure_programs(cluster._places)
            with step("cluster up"):
                cluster._raise_or_replace()
        return cluster

    def down(self, *, purge: bool = False) -> None:
        """Leave nothing running; with `purge`, forget images, S3 data and weights as well."""
        check_machine()
        with exclusive(self._places):
            with step("cluster down"):
                sweep.sweep(self._places)
            if purge:
                sweep.purge(self._places)

    def is_healthy(self) -> bool:
        """Every process lives, the API server is ready, the node has its GPUs, S3 answers."""
        return set(self.status().values()) == {"ok"} and not sweep.half_gone(self._places).exists()

    def status(self) -> dict[str, str]:
        """Part → "ok" or what is wrong with it, in the order the parts depend on each other."""
        where = self._places
        alive = processes.all_recorded(where)
        parts = {name: "ok" if name in alive else "not running" for name in EXPECTED}
        if all(state == "not running" for state in parts.values()):
            return parts
        parts["api"] = "ok" if control_plane.is_ready(where) else "not ready"
        parts["node"] = "ok" if parts["api"] == "ok" and node.is_healthy(where) else "not ready"
        well = all(objectstore.answers(where, tls=tls) for tls in (False, True))
        parts["s3"] = "ok" if well else "does not answer"
        return parts

    def _raise_or_replace(self) -> None:
        """Repair what stands; if that fails, or nothing of the control plane stands, start anew."""
        where = self._places
        alive = processes.all_recorded(where)
        stands = "etcd" in alive or "kube-apiserver" in alive
        if stands and not sweep.half_gone(where).exists():
            missing = [name for name in EXPECTED if name not in alive]
            say(f"repairing: {', '.join(missing) or 'everything runs but not all is well'}")
            try:
                self._raise(anew=False)
            except HarnessError as failed:
                say(f"repair failed, starting anew: {failed}")
            else:
                return
        sweep.note_footprint(where)
        sweep.sweep(where)
        check_network(where)
        self._raise(anew=True)

    def _raise(self, *, anew: bool) -> None:
        where = self._places
        where.run.mkdir(parents=True, exist_ok=True, mode=0o755)
        with step("network", quiet_below=1.0):
            raise_network(where)
        with step("containerd", quiet_below=1.0):
            runtime.start_containerd(where)
            if anew and runtime.purge_containers(where):
                processes.stop([processes.all_recorded(where)["containerd"]], grace=5.0)
                runtime.start_containerd(where)
            ensure_pause(where)
        with step("certificates", quiet_below=1.0):
            control_plane.make_certificates(where)
        with step("API server", quiet_below=1.0):
            control_plane.start_api(where)
            control_plane.bind_administrators(where)
        with step("S3 server", quiet_below=1.0):
            objectstore.start_store(where)
        with step("controllers and node", quiet_below=1.0):
            control_plane.start_controllers(where)
            node.start_kubelet(where)
            node.start_proxy(where)
            node.dress_node(where)

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return self._places.kubeconfig

    def program(self, name: str) -> Path:
        """A program by name, built if it is not in the cache; needs no cluster and no root."""
        return ensure_program(self._places, name)

    @property
    def kubectl(self) -> Path:
        """The kubectl program of the cluster's version."""
        return program_path(self._places, "kubectl")

    @property
    def helm(self) -> Path:
        """The helm program."""
        return program_path(self._places, "helm")

    @property
    def s3(self) -> S3:
        """Addresses and keys of the S3 server."""
        both = objectstore.accounts(self._places)
        return S3(
            endpoint=objectstore.ENDPOINT,
            tls_endpoint=objectstore.TLS_ENDPOINT,
            ca=objectstore.authority(self._places),
            region=objectstore.REGION,
            access_key=both.owner.access_key,
            secret_key=both.owner.secret_key,
            stranger_access_key=both.stranger.access_key,
            stranger_secret_key=both.stranger.secret_key,
        )

    @property
    def store(self) -> Store:
        """A client of the S3 server with the owner's keys."""
        return Store(objectstore.accounts(self._places).owner)

    def image(self, name: str) -> str:
        """Build `torpor`, `engine` or `vllm` unless this very content is there; returns its tag."""
        with exclusive(self._places):
            return ImageStore(self._places).ensure(name)

    def buildable(self) -> list[str]:
        """Names of the images whose Dockerfile is in this checkout."""
        images = ImageStore(self._places)
        return [name for name in RECIPES if images.exists(name)]

    def retag(self, image: str, tag: str) -> str:
        """Give an image that the cluster has another tag: same content, a new name to roll out."""
        fresh = f"{image.rsplit(':', 1)[0]}:{tag}"
        run([*runtime.ctr(self._places), "images", "tag", "--force", image, fresh])
        return fresh

    def env(self) -> dict[str, str]:
        """Variables that let a shell or a test use the cluster."""
        s3 = self.s3
        images = ImageStore(self._places)
        found = {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.kubectl.parent}:{self.helm.parent}:{search_path()}",
            "TORPOR_DEV_S3_ENDPOINT": s3.endpoint,
            "TORPOR_DEV_S3_TLS_ENDPOINT": s3.tls_endpoint,
            "TORPOR_DEV_S3_CA": str(s3.ca),
            "TORPOR_DEV_S3_REGION": s3.region,
            "TORPOR_DEV_S3_ACCESS_KEY": s3.access_key,
            "TORPOR_DEV_S3_SECRET_KEY": s3.secret_key,
            "TORPOR_DEV_S3_STRANGER_ACCESS_KEY": s3.stranger_access_key,
            "TORPOR_DEV_S3_STRANGER_SECRET_KEY": s3.stranger_secret_key,
        }
        for name, variable in (
            ("torpor", "TORPOR_DEV_IMAGE"),
            ("engine", "TORPOR_DEV_ENGINE_IMAGE"),
            ("vllm", "TORPOR_DEV_VLLM_IMAGE"),
        ):
            if images.exists(name):
                found[variable] = images.tag(name)
        return found
