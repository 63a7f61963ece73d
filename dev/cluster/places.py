"""Where the harness keeps things and which addresses it uses; nothing else reads the environment.

Two roots. `run` lives under /run: pid records, sockets, generated configuration, everything that
means nothing after a restart of the machine. `cache` outlives clusters: built programs, images,
the S3 server's data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NODE = "torpor-node"
BRIDGE = "torpor0"
"""Carries HOST_IP, the address of the API server, the kubelet and the S3 server."""
POD_BRIDGE = "torpor-pods"
HOST_IP = "10.250.0.1"
HOST_NET = "10.250.0.0/24"
POD_NET = "10.251.0.0/22"
SERVICE_NET = "10.252.0.0/16"
CLUSTER_DNS = "10.252.0.10"
"""What pods are told; nobody listens there, and the fence says so at once."""

API_PORT = 6443
ETCD_PORT = 12379
ETCD_PEER_PORT = 12380
KUBELET_PORT = 11250
KUBELET_HEALTH_PORT = 11248
PROXY_METRICS_PORT = 11249
PROXY_HEALTH_PORT = 11256
CONTROLLER_MANAGER_PORT = 11257
SCHEDULER_PORT = 11259
REGISTRY_PORT = 11270
S3_PORT = 7070
S3_TLS_PORT = 7071

WEIGHTS = Path("/var/lib/torpor")
"""The product's node cache: hostPath of the pods, so it lies on this machine's disk."""


@dataclass(frozen=True)
class Places:
    """Every path of one harness; a value, so that tests can make another one."""

    repo: Path
    cache: Path
    run: Path

    @property
    def lock(self) -> Path:
        """Held while a command changes the cluster; outside `run`, which `down` deletes."""
        return self.run.with_name(self.run.name + ".lock")

    @property
    def pids(self) -> Path:
        """One record per process, written by the process itself before it becomes the program."""
        return self.run / "pids"

    @property
    def logs(self) -> Path:
        """One file per process of the running cluster."""
        return self.run / "logs"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the cluster, made anew at each start from nothing."""
        return self.run / "pki"

    @property
    def kube(self) -> Path:
        """The kubeconfigs that kubeadm writes."""
        return self.run / "kube"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which users of the harness are given."""
        return self.kube / "admin.conf"

    @property
    def containerd_socket(self) -> Path:
        """Our own containerd's address; the mark by which its shims are recognised."""
        return self.run / "containerd" / "containerd.sock"

    @property
    def state(self) -> Path:
        """What survives the processes: containerd's root, etcd, kubelet, S3 data."""
        return self.cache / "cluster"

    @property
    def containerd_root(self) -> Path:
        """Images live here and survive `down`."""
        return self.state / "containerd"

    @property
    def etcd(self) -> Path:
        """Wiped at each start from nothing."""
        return self.state / "etcd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root: pod volumes, mounted while pods run."""
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """Container logs; the links in /var/log/containers point here."""
        return self.state / "pod-logs"

    @property
    def s3(self) -> Path:
        """What the S3 server serves and who may ask: survives `down`."""
        return self.state / "s3"

    @property
    def programs(self) -> Path:
        """Built programs, one folder per name and version."""
        return self.cache / "programs"

    @property
    def images(self) -> Path:
        """Storage of buildah, the base root file system and the exported layers."""
        return self.cache / "images"


def places() -> Places:
    """The places of this checkout on this machine, as the environment says."""
    repo = Path(__file__).resolve().parents[2]
    named = os.environ.get("TORPOR_CACHE")
    if named:
        cache = Path(named)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        cache = Path(base) / "torpor"
    return Places(repo=repo, cache=cache.absolute(), run=Path("/run/torpor-dev"))


def write_changed(path: Path, text: str) -> None:
    """Write a configuration file unless it says just that: kube-proxy ends when its file moves."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment plus `more`, for a command we run."""
    return {**os.environ, **more}


def pip_environment() -> dict[str, str]:
    """The PIP_* variables of this machine, which decide where pip looks; never put in an image."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def search_path() -> str:
    """PATH as this process has it."""
    return os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
