"""The one real node: kubelet and kube-proxy, dressed as a machine with eight GPUs."""

from __future__ import annotations

import json
from pathlib import Path

from . import processes
from .commands import run, succeeds, wait_until
from .control_plane import kubectl
from .places import (
    CLUSTER_DNS,
    HOST_IP,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NODE,
    POD_NET,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    Places,
    write_changed,
)
from .programs import program_path

PROCESSES = ("kubelet", "kube-proxy")
GPUS = 8
LABELS = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-L40S",
    "nvidia.com/gpu.memory": "46068",
    "nvidia.com/gpu.count": str(GPUS),
    "topology.kubernetes.io/region": "eu-central-1",
    "topology.kubernetes.io/zone": "eu-central-1a",
    "node.kubernetes.io/instance-type": "g6e.48xlarge",
}
"""As NVIDIA's feature discovery and a cloud's node controller set them; memory in MiB per GPU."""
CGROUP = "/torpor-dev"
CGROUPS = Path("/sys/fs/cgroup")
CPU_WEIGHTS = {"cpu.shares": 10_240, "cpu.weight": 1_000}
"""Ten times what one process weighs, by the name that version 1 or 2 of cgroups has for it."""


def kubelet_config(places: Places) -> str:
    """Nothing is ever evicted or collected: a busy developer's disk must not kill a test."""
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {HOST_IP}
port: {KUBELET_PORT}
healthzBindAddress: 127.0.0.1
healthzPort: {KUBELET_HEALTH_PORT}
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {places.pki}/ca.crt}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: {CGROUP}
containerRuntimeEndpoint: unix://{places.containerd_socket}
failSwapOn: false
evictionHard: {{memory.available: "1Mi", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
imageMinimumGCAge: 8760h
maxPods: 250
serializeImagePulls: false
registryPullQPS: 0
makeIPTablesUtilChains: false
clusterDNS: ["{CLUSTER_DNS}"]
clusterDomain: cluster.local
resolvConf: {places.run / "resolv.conf"}
podLogsDir: {places.pod_logs}
volumePluginDir: {places.kubelet}/volume-plugins
oomScoreAdj: 0
"""


def proxy_config(places: Places) -> str:
    """Kubernetes' default mode; connection tracking limits of the machine are left alone."""
    return f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: {HOST_IP}
clientConnection: {{kubeconfig: {places.kube}/super-admin.conf}}
clusterCIDR: {POD_NET}
hostnameOverride: {NODE}
healthzBindAddress: 127.0.0.1:{PROXY_HEALTH_PORT}
metricsBindAddress: 127.0.0.1:{PROXY_METRICS_PORT}
mode: iptables
oomScoreAdj: 0
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"""


def cgroup_folders() -> list[Path]:
    """The kubelet's root cgroup in each hierarchy of this machine, version 1 or 2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / CGROUP.lstrip("/")]
    hierarchies = [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
    return [path / CGROUP.lstrip("/") for path in hierarchies]


def _make_cgroups() -> None:
    for folder in cgroup_folders():
        if folder.parent.name == "unified":
            continue  # version 2 beside version 1 carries no controllers; runc makes what it needs
        folder.mkdir(exist_ok=True)
        if folder.parent.name == "cpuset":
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if not (folder / setting).read_text().strip():
                    (folder / setting).write_text((folder.parent / setting).read_text())
        _give_weight(folder)
        available = folder / "cgroup.controllers"
        if available.exists():
            wanted = " ".join(f"+{name}" for name in available.read_text().split())
            (folder / "cgroup.subtree_control").write_text(wanted)


def _give_weight(folder: Path) -> None:
    """Let the pods have their share of the CPU beside what runs on this machine.

    On a node the system's services stand together in one group. Here each of their processes, the API server and the
    tests among them, competes with all pods together: a gateway got no turn for three seconds while engines started.
    """
    for name, weight in CPU_WEIGHTS.items():
        if (folder / name).exists():
            (folder / name).write_text(str(weight))


def start_kubelet(places: Places) -> None:
    """The kubelet; it registers the node by itself."""
    _make_cgroups()
    for folder in (places.kubelet, places.pod_logs):
        folder.mkdir(parents=True, exist_ok=True)
    nowhere = "# no name server: nothing leaves this machine\n"
    write_changed(places.run / "resolv.conf", nowhere)
    config = places.run / "kubelet.yaml"
    write_changed(config, kubelet_config(places))
    arguments = [
        f"--config={config}",
        f"--kubeconfig={places.kube}/kubelet.conf",
        f"--root-dir={places.kubelet}",
        f"--cert-dir={places.kubelet}/pki",
        f"--hostname-override={NODE}",
        f"--node-ip={HOST_IP}",
    ]
    processes.start(places, "kubelet", [program_path(places, "kubelet"), *arguments])


def start_proxy(places: Places) -> None:
    """kube-proxy: ClusterIP services work from pods and from this machine."""
    config = places.run / "kube-proxy.yaml"
    write_changed(config, proxy_config(places))
    proxy = program_path(places, "kube-proxy")
    processes.start(places, "kube-proxy", [proxy, f"--config={config}"])


def _node(places: Places) -> dict[str, object] | None:
    if not succeeds([*kubectl(places), "get", "node", NODE]):
        return None
    node: dict[str, object] = json.loads(run([*kubectl(places), "get", "node", NODE, "-o", "json"]))
    return node


def is_dressed(node: dict[str, object] | None) -> bool:
    """Whether a node object, as the API server gives it, is Ready and shows labels and GPUs."""
    if node is None:
        return False
    metadata, status = node["metadata"], node["status"]
    assert isinstance(metadata, dict)
    assert isinstance(status, dict)
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )
    labelled = LABELS.items() <= metadata.get("labels", {}).items()
    gpus = status.get("allocatable", {}).get("nvidia.com/gpu")
    return bool(ready and labelled and gpus == str(GPUS))


def dress_node(places: Places) -> None:
    """Labels and GPUs on the node, then wait until it is Ready with both.

    The GPUs are an extended resource written to the node's capacity: scheduler and kubelet count
    and enforce it. A restarted kubelet may reset it, so this runs at every `up`.
    """

    def registered() -> bool:
        processes.must_live(places, "kubelet")
        return succeeds([*kubectl(places), "get", "node", NODE])

    default_account = [*kubectl(places), "get", "serviceaccount", "default"]
    wait_until("pods may be made", lambda: succeeds(default_account), timeout=60)
    wait_until("the kubelet registers the node", registered, timeout=60)
    if is_dressed(_node(places)):
        return
    labels = [f"{key}={value}" for key, value in LABELS.items()]
    run([*kubectl(places), "label", "node", NODE, "--overwrite", *labels])
    gpus = {"nvidia.com/gpu": str(GPUS)}
    patch = json.dumps({"status": {"capacity": gpus, "allocatable": gpus}})
    run(
        [
            *kubectl(places),
            "patch",
            "node",
            NODE,
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
        ]
    )
    wait_until(
        f"node {NODE} is Ready with {GPUS} GPUs",
        lambda: is_dressed(_node(places)),
        timeout=60,
    )


def is_healthy(places: Places) -> bool:
    """Whether the node is Ready with its labels and GPUs."""
    return is_dressed(_node(places))
