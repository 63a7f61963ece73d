"""etcd, the API server, the controller manager and the scheduler, with certificates by kubeadm."""

from __future__ import annotations

import http.client
import shutil
import ssl

from . import processes
from .commands import Argument, run, succeeds, wait_until
from .places import (
    API_PORT,
    CONTROLLER_MANAGER_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    HOST_IP,
    NODE,
    POD_NET,
    SCHEDULER_PORT,
    SERVICE_NET,
    Places,
)
from .programs import KUBERNETES, program_path

PROCESSES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def kubectl(places: Places, config: str = "admin.conf") -> list[Argument]:
    """The kubectl command with one of the cluster's kubeconfigs."""
    return [
        program_path(places, "kubectl"),
        "--kubeconfig",
        places.kube / config,
        "--request-timeout=10s",
    ]


def kubeadm_config(places: Places) -> str:
    """What kubeadm needs to make certificates and kubeconfigs, nothing else of it is used."""
    return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {HOST_IP}, bindPort: {API_PORT}}}
nodeRegistration: {{name: {NODE}, criSocket: "unix://{places.containerd_socket}"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{KUBERNETES}
clusterName: torpor-dev
certificatesDir: {places.pki}
encryptionAlgorithm: ECDSA-P256
controlPlaneEndpoint: "{HOST_IP}:{API_PORT}"
networking: {{serviceSubnet: {SERVICE_NET}, podSubnet: {POD_NET}}}
apiServer: {{certSANs: ["{HOST_IP}", "127.0.0.1", "localhost"]}}
"""


def make_certificates(places: Places) -> None:
    """Certificates and kubeconfigs, once per cluster; complete or not there at all."""
    if (places.kube / "complete").exists():
        return
    for folder in (places.pki, places.kube):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
    config = places.run / "kubeadm.yaml"
    config.write_text(kubeadm_config(places))
    phase: list[Argument] = [program_path(places, "kubeadm"), "init", "phase"]
    run([*phase, "certs", "all", "--config", config])
    run([*phase, "kubeconfig", "all", "--config", config, "--kubeconfig-dir", places.kube])
    (places.kube / "complete").touch()


def etcd_arguments(places: Places) -> list[str]:
    """Loopback only; no fsync, since a test cluster's data need not survive a power cut."""
    client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
    return [
        f"--data-dir={places.etcd}",
        "--name=torpor",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=torpor={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--quota-backend-bytes=4294967296",
        "--auto-compaction-retention=1h",
    ]


def apiserver_arguments(places: Places) -> list[str]:
    """Upstream's defaults wherever torpor could notice the difference."""
    pki = places.pki
    return [
        f"--advertise-address={HOST_IP}",
        f"--bind-address={HOST_IP}",
        f"--secure-port={API_PORT}",
        f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
        f"--service-cluster-ip-range={SERVICE_NET}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    ]


def controller_manager_arguments(places: Places) -> list[str]:
    """All controllers, with a service account each, as in a real cluster."""
    config, pki = places.kube / "controller-manager.conf", places.pki
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={CONTROLLER_MANAGER_PORT}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_NET}",
        f"--service-cluster-ip-range={SERVICE_NET}",
        "--node-cidr-mask-size=22",
        f"--root-ca-file={pki}/ca.crt",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
    ]


def scheduler_arguments(places: Places) -> list[str]:
    """The default scheduler."""
    config = places.kube / "scheduler.conf"
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={SCHEDULER_PORT}",
        "--leader-elect=false",
    ]


def is_ready(places: Places) -> bool:
    """Whether the API server says so itself; anonymous users may ask."""
    ca = places.pki / "ca.crt"
    if not ca.exists():
        return False
    trust = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection(HOST_IP, API_PORT, timeout=2, context=trust)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_api(places: Places) -> None:
    """Etcd and the API server, up to its own word that it is ready."""
    processes.start(places, "etcd", [program_path(places, "etcd"), *etcd_arguments(places)])
    apiserver = program_path(places, "kube-apiserver")
    processes.start(places, "kube-apiserver", [apiserver, *apiserver_arguments(places)])

    def ready() -> bool:
        processes.must_live(places, "etcd")
        processes.must_live(places, "kube-apiserver")
        return is_ready(places)

    wait_until("the API server is ready", ready, timeout=90)


def start_controllers(places: Places) -> None:
    """Only once the API server is ready: earlier, the controller manager exits for good."""
    manager = program_path(places, "kube-controller-manager")
    arguments = controller_manager_arguments(places)
    processes.start(places, "kube-controller-manager", [manager, *arguments])
    scheduler = program_path(places, "kube-scheduler")
    processes.start(places, "kube-scheduler", [scheduler, *scheduler_arguments(places)])


def bind_administrators(places: Places) -> None:
    """Give kubeadm's administrators' group its role; kubeadm leaves that to a phase we skip."""
    name = "kubeadm:cluster-admins"
    if succeeds([*kubectl(places), "get", "namespace", "default"]):
        return
    role = ["--clusterrole=cluster-admin", f"--group={name}"]
    super_admin = kubectl(places, "super-admin.conf")
    run([*super_admin, "create", "clusterrolebinding", name, *role])
