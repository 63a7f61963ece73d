"""The cluster itself, for real: what a test or the demo may rely on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from dev.cluster import Cluster
from dev.cluster.commands import Argument, run, wait_until
from dev.cluster.places import places
from dev.cluster.processes import all_recorded
from dev.cluster.runtime import PAUSE_IMAGE

pytestmark = pytest.mark.cluster
SPACE = "harness-test"
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster.up()


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    def call(*words: str, stdin: str | None = None) -> str:
        head: list[Argument] = [
            cluster.kubectl,
            "--kubeconfig",
            cluster.kubeconfig,
            "--namespace",
            SPACE,
        ]
        return run([*head, *words], stdin=stdin)

    call("delete", "namespace", SPACE, "--ignore-not-found")
    call("create", "namespace", SPACE)
    account = ("get", "serviceaccount", "default", "--ignore-not-found", "-o", "name")
    wait_until("pods may be made", lambda: bool(call(*account)), timeout=20)
    yield call
    call("delete", "namespace", SPACE, "--wait=false")


def pod(name: str, image: str, gpus: int = 0, command: list[str] | None = None) -> str:
    container: dict[str, object] = {"name": "c", "image": image}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    if command:
        container["command"] = command
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    metadata = {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def await_words(kubectl: Kubectl, name: str, path: str, words: str, timeout: float = 60) -> None:
    query = ("get", "pod", name, "-o", f"jsonpath={{{path}}}")
    wait_until(f"{name} says {words}", lambda: words in kubectl(*query), timeout=timeout)


def test_every_part_is_well_and_a_second_up_changes_nothing(cluster: Cluster) -> None:
    before = all_recorded(places())
    assert set(Cluster.up().status().values()) == {"ok"}
    assert all_recorded(places()) == before


def test_a_pod_gets_a_gpu_and_one_that_wants_nine_waits_for_a_bigger_node(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("one", PAUSE_IMAGE, gpus=1))
    kubectl("apply", "-f", "-", stdin=pod("nine", PAUSE_IMAGE, gpus=9))
    await_words(kubectl, "one", ".status.phase", "Running")
    await_words(kubectl, "nine", ".status.conditions[*].message", "Insufficient nvidia.com/gpu")


def test_an_image_that_nobody_has_is_not_found(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("nowhere", "registry.example/none/such:1"))
    await_words(
        kubectl, "nowhere", ".status.containerStatuses[*].state.waiting.reason", "ImagePull"
    )
    told = kubectl("get", "events", "-o", "jsonpath={.items[*].message}")
    assert "registry.example/none/such:1: not found" in told


def test_a_pod_reaches_the_api_and_s3_and_nothing_beyond_this_machine(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    api = kubectl(
        "get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}"
    )
    script = f"""
import socket, urllib.request
socket.create_connection(({api!r}, 443), timeout=5).close()
print("store", urllib.request.urlopen({cluster.s3.endpoint + "/healthz"!r}, timeout=5).status)
try:
    socket.create_connection(("192.0.2.1", 443), timeout=20)
except ConnectionRefusedError:
    print("fenced")
"""
    image = cluster.image("torpor")
    kubectl("apply", "-f", "-", stdin=pod("caller", image, command=["python", "-c", script]))
    await_words(kubectl, "caller", ".status.phase", "Succeeded")
    assert kubectl("logs", "caller").splitlines() == ["store 200", "fenced"]


def test_an_unchanged_tree_has_its_image_already(cluster: Cluster) -> None:
    assert cluster.image("torpor") == cluster.image("torpor") == cluster.env()["TORPOR_DEV_IMAGE"]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_both_listeners_serve_the_owner_and_refuse_the_stranger(
    cluster: Cluster, tls: bool
) -> None:
    s3 = cluster.s3

    def client(access_key: str, secret_key: str):  # type: ignore[no-untyped-def]
        return Session().create_client(
            "s3",
            endpoint_url=s3.tls_endpoint if tls else s3.endpoint,
            region_name=s3.region,
            verify=str(s3.ca),
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
        )

    cluster.store.make_bucket(SPACE)
    owner = client(s3.access_key, s3.secret_key)
    owner.put_object(Bucket=SPACE, Key="a/b", Body=b"content")
    assert owner.get_object(Bucket=SPACE, Key="a/b")["Body"].read() == b"content"
    owner.close()
    stranger = client(s3.stranger_access_key, s3.stranger_secret_key)
    with pytest.raises(ClientError, match="AccessDenied"):
        stranger.list_objects_v2(Bucket=SPACE)
    stranger.close()
