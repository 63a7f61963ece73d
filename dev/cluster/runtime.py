"""What runs containers: our own containerd, its network plugin and a registry that has nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import processes
from .commands import Argument, run, succeeds, wait_until
from .errors import HarnessError
from .machine import cni_folder
from .places import POD_BRIDGE, POD_NET, REGISTRY_PORT, Places, write_changed
from .programs import PAUSE

PROCESSES = ("registry", "containerd")
PAUSE_IMAGE = f"localhost/torpor-pause:{PAUSE}"


def containerd_config(places: Places, cni: Path) -> str:
    """Own root, state and socket; the only registry it knows has nothing, whatever an image is called."""
    run_folder = places.run / "containerd"
    return f"""version = 2
root = "{places.containerd_root}"
state = "{run_folder}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{places.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
disable_tcp_service = true
max_concurrent_downloads = 2
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{places.run / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{places.run / "registries"}"
"""


def network_config(places: Places) -> str:
    """The CNI chain: one bridge, addresses from a file, hairpin so that a pod reaches itself."""
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_NET}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(places.run / "addresses"),
        },
    }
    chain = {"cniVersion": "0.4.0", "name": "torpor-dev", "plugins": [bridge]}
    return json.dumps(chain, indent=1)


def ctr(places: Places) -> list[str | Path]:
    """The client that comes with containerd, pointed at our socket and the namespace Kubernetes uses."""
    return ["ctr", "--address", places.containerd_socket, "--namespace", "k8s.io"]


def start_containerd(places: Places) -> None:
    """Start containerd and wait for its answer."""
    cni = cni_folder()
    if cni is None:
        raise HarnessError("the CNI plugins are gone: install containernetworking-plugins")
    for folder in (places.containerd_socket.parent, places.containerd_root, places.run / "cni"):
        folder.mkdir(parents=True, exist_ok=True)
    nowhere = places.run / "registries" / "_default"
    nowhere.mkdir(parents=True, exist_ok=True)
    nothing = f"http://127.0.0.1:{REGISTRY_PORT}"
    hosts = f'server = "{nothing}"\n[host."{nothing}"]\ncapabilities = ["pull", "resolve"]\n'
    write_changed(nowhere / "hosts.toml", hosts)
    registry = Path(__file__).with_name("registry.py")
    command: list[Argument] = [sys.executable, "-I", registry, "127.0.0.1", str(REGISTRY_PORT)]
    processes.start(places, "registry", command)
    write_changed(places.run / "cni" / "10-torpor.conflist", network_config(places))
    config = places.run / "containerd.toml"
    write_changed(config, containerd_config(places, cni))
    processes.start(places, "containerd", ["containerd", "--config", config])

    def answers() -> bool:
        processes.must_live(places, "containerd")
        return places.containerd_socket.exists() and succeeds([*ctr(places), "version"])

    wait_until("containerd answers", answers, timeout=30)


def purge_containers(places: Places) -> bool:
    """Forget containers of an earlier cluster; True if there were any. No kubelet may run."""
    left = run([*ctr(places), "containers", "list", "--quiet"]).split()
    if not left:
        return False
    tasks = run([*ctr(places), "tasks", "list", "--quiet"]).split()
    if tasks:
        succeeds([*ctr(places), "tasks", "delete", "--force", *tasks])
    run([*ctr(places), "containers", "delete", *left])
    return True
