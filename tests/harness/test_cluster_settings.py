"""What the cluster's programs are told: consistent with each other and with what is built."""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dev.cluster import control_plane, node, objectstore, places, programs, runtime
from dev.cluster.places import Places

REPO = Path(__file__).resolve().parents[2]
WHERE = Places(repo=REPO, cache=Path("/cache"), run=Path("/run/somewhere"))
GO_MOD = (REPO / "dev" / "cluster" / "binaries" / "go.mod").read_text()


def flags(arguments: list[str]) -> dict[str, str]:
    pairs = (word.removeprefix("--").partition("=") for word in arguments if word.startswith("--"))
    return {name: value for name, _, value in pairs}


def test_the_module_pins_the_versions_that_the_cache_is_keyed_by() -> None:
    assert f"k8s.io/kubernetes v{programs.KUBERNETES}" in GO_MOD
    assert f"go.etcd.io/etcd/server/v3 v{programs.ETCD}" in GO_MOD
    staging = re.findall(r"^\t(k8s\.io/\S+) => \1 v(\S+)$", GO_MOD, re.MULTILINE)
    assert len(staging) >= 29
    assert {version for _, version in staging} == {"0." + programs.KUBERNETES.split(".", 1)[1]}


def test_the_tools_file_imports_every_program_built_from_the_module() -> None:
    tools = (REPO / "dev" / "cluster" / "binaries" / "tools.go").read_text()
    imported = set(re.findall(r'_ "(\S+)"', tools))
    built = {program.package for program in programs.PROGRAMS.values() if program.ours}
    assert imported == built - {"./pause"}


def test_a_version_is_part_of_a_programs_place() -> None:
    path = programs.program_path(WHERE, "kubectl")
    assert path == Path(f"/cache/programs/kubectl@{programs.KUBERNETES}/kubectl")


def test_kubernetes_is_linked_with_its_own_version() -> None:
    command = programs.build_command("go", programs.PROGRAMS["kubelet"], Path("/out"))
    assert f"version.gitVersion=v{programs.KUBERNETES} " in " ".join(command)
    assert command[-1] == "k8s.io/kubernetes/cmd/kubelet"
    foreign = programs.build_command("go", programs.PROGRAMS["helm"], Path("/out"))
    assert foreign[-1] == f"helm.sh/helm/v3/cmd/helm@v{programs.HELM}"


def test_networks_do_not_overlap_and_hold_what_they_must() -> None:
    host, pods, services = (
        ipaddress.ip_network(net) for net in (places.HOST_NET, places.POD_NET, places.SERVICE_NET)
    )
    assert not host.overlaps(pods)
    assert not host.overlaps(services)
    assert not pods.overlaps(services)
    assert ipaddress.ip_address(places.HOST_IP) in host
    assert ipaddress.ip_address(places.CLUSTER_DNS) in services
    kubelet = yaml.safe_load(node.kubelet_config(WHERE))
    assert pods.num_addresses > 4 * kubelet["maxPods"]


def test_interface_names_fit_the_kernels_fifteen_characters() -> None:
    assert max(len(places.BRIDGE), len(places.POD_BRIDGE)) <= 15


def test_api_server_and_controller_manager_agree() -> None:
    api = flags(control_plane.apiserver_arguments(WHERE))
    manager = flags(control_plane.controller_manager_arguments(WHERE))
    assert api["service-cluster-ip-range"] == manager["service-cluster-ip-range"]
    assert Path(api["service-account-signing-key-file"]) == WHERE.pki / "sa.key"
    assert manager["service-account-private-key-file"] == api["service-account-signing-key-file"]
    assert api["etcd-servers"] == flags(control_plane.etcd_arguments(WHERE))["listen-client-urls"]
    assert manager["cluster-cidr"] == places.POD_NET
    assert int(manager["node-cidr-mask-size"]) >= ipaddress.ip_network(places.POD_NET).prefixlen


def test_nothing_listens_beyond_this_machine() -> None:
    api = flags(control_plane.apiserver_arguments(WHERE))
    assert api["bind-address"] == places.HOST_IP
    for arguments in (
        control_plane.controller_manager_arguments(WHERE),
        control_plane.scheduler_arguments(WHERE),
    ):
        assert flags(arguments)["bind-address"] == "127.0.0.1"
    kubelet = yaml.safe_load(node.kubelet_config(WHERE))
    assert (kubelet["address"], kubelet["healthzBindAddress"]) == (places.HOST_IP, "127.0.0.1")
    for tls in (False, True):
        port = flags(objectstore.server_arguments(WHERE, tls=tls))["port"]
        assert port.startswith(f"{places.HOST_IP}:")


def test_every_port_is_used_once() -> None:
    ports = [value for name, value in vars(places).items() if name.endswith("_PORT")]
    assert len(ports) >= 11
    assert len(set(ports)) == len(ports)


def test_kubelet_and_containerd_meet_at_our_socket() -> None:
    kubelet = yaml.safe_load(node.kubelet_config(WHERE))
    config = tomllib.loads(runtime.containerd_config(WHERE, Path("/cni")))
    assert kubelet["containerRuntimeEndpoint"] == "unix://" + config["grpc"]["address"]
    assert kubelet["cgroupDriver"] == "cgroupfs"
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert config["state"].startswith(str(WHERE.run))
    assert config["root"].startswith(str(WHERE.cache))


def test_the_kubelet_never_evicts_nor_collects_images() -> None:
    kubelet = yaml.safe_load(node.kubelet_config(WHERE))
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["evictionHard"]["nodefs.available"] == "0%"
    assert kubelet["evictionHard"]["imagefs.available"] == "0%"


def test_pods_reach_themselves_through_a_service_and_get_no_masquerade() -> None:
    [bridge] = json.loads(runtime.network_config(WHERE))["plugins"]
    assert bridge["bridge"] == places.POD_BRIDGE
    assert bridge["hairpinMode"] is True
    assert bridge["ipMasq"] is False
    assert bridge["ipam"]["dataDir"].startswith(str(WHERE.run))


def test_kubeadm_and_the_proxy_are_told_well_formed_documents() -> None:
    init, cluster = yaml.safe_load_all(control_plane.kubeadm_config(WHERE))
    assert init["nodeRegistration"]["name"] == places.NODE
    assert places.HOST_IP in cluster["apiServer"]["certSANs"]
    proxy = yaml.safe_load(node.proxy_config(WHERE))
    assert (proxy["mode"], proxy["clusterCIDR"]) == ("iptables", places.POD_NET)


def test_configuration_that_says_the_same_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kube-proxy.yaml"
    places.write_changed(path, "mode: iptables\n")
    before = path.stat().st_mtime_ns
    places.write_changed(path, "mode: iptables\n")
    assert path.stat().st_mtime_ns == before
    places.write_changed(path, "mode: nftables\n")
    assert path.read_text() == "mode: nftables\n"


def dressed() -> dict[str, object]:
    return {
        "metadata": {"labels": {**node.LABELS, "kubernetes.io/os": "linux"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"nvidia.com/gpu": "8", "cpu": "2"},
        },
    }


def test_a_node_counts_as_ready_with_labels_and_gpus_only() -> None:
    assert node.is_dressed(dressed())
    assert not node.is_dressed(None)
    undone: list[dict[str, object]] = [
        {"metadata": {"labels": {}}},
        {"status": {"conditions": [], "allocatable": {"nvidia.com/gpu": "8"}}},
        {
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"nvidia.com/gpu": "0"},
            }
        },
    ]
    for change in undone:
        assert not node.is_dressed({**dressed(), **change})


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TORPOR_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/torpor"),
        ({"HOME": "/somebody"}, "/somebody/.cache/torpor"),
    ],
)
def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("TORPOR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert places.places().cache == Path(expected)


def test_the_lock_outlives_the_folder_that_down_deletes() -> None:
    assert WHERE.run not in WHERE.lock.parents
    assert replace(WHERE, run=Path("/run/b")).lock == Path("/run/b.lock")
