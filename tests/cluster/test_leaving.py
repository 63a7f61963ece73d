"""Leaving: nothing stays behind but the definitions, and nobody needs a controller to be rid of an endpoint."""

import pytest

from dev.install import release_exists
from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, PODS, until
from tests.cluster.conftest import Installation
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

NAMESPACED = (
    DEPLOYMENTS,
    PODS,
    ENDPOINTS,
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/services",
    "/api/v1/namespaces/{}/secrets",
    "/apis/batch/v1/namespaces/{}/jobs",
    "/apis/apps/v1/namespaces/{}/replicasets",
    "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
)
CLUSTER_WIDE = (
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/torpor.dev/v1alpha1/gpuclasses",
    "/apis/torpor.dev/v1alpha1/inferenceendpoints",
)
NOT_TORPORS = ("default", "s3")
"""The namespace's own service account, and the Secret that the test made."""


def test_deleting_an_endpoint_completes_while_no_controller_runs(space: Space) -> None:
    space.start("orphan", keep_alive="1h")
    assert space.chat("orphan").status == 200
    kube, where = space.torpor.kube, ("-n", space.torpor.namespace)
    scale = (*where, "scale", "deployment/torpor-controller")
    kube.run(*scale, "--replicas=0")
    try:
        selector = "app.kubernetes.io/component=controller"
        until(
            "no controller",
            lambda: True if not kube.list("pods", space.torpor.namespace, selector) else None,
            60,
        )
        kube.delete("inferenceendpoints.torpor.dev", "orphan", space.name, timeout=30)
        until("its children are gone", lambda: True if not _left(space) else None, 60)
    finally:
        kube.run(*scale, "--replicas=2")
        kube.run(
            *where, "rollout", "status", "deployment/torpor-controller", "--timeout=60s", timeout=70
        )


def test_uninstalling_leaves_nothing_but_the_definitions(
    space: Space, installation: Installation
) -> None:
    space.start("asleep")
    space.start("awake", keep_alive="1h")
    assert space.chat("awake").status == 200
    kube, system = space.torpor.kube, space.torpor.namespace
    for path in ("/api/v1/namespaces", *CLUSTER_WIDE):
        assert space.api.items(path), path
    assert _node_labels(space)
    kube.run("delete", "ie", "--all", "--all-namespaces", "--timeout=60s", timeout=70)
    kube.run_helm("uninstall", "torpor", "-n", system)
    assert not release_exists(kube)
    until("the namespace is empty", lambda: True if not _left(space) else None, 60)
    until(
        "torpor's pods are gone",
        lambda: True if not space.api.items(PODS.format(system)) else None,
        60,
    )
    assert _left_in(space, system) == []
    assert _torpors(space) == []
    assert _node_labels(space) == []
    definitions = space.api.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    ours = {d["metadata"]["name"] for d in definitions if d["spec"]["group"] == "torpor.dev"}
    assert ours == {"inferenceendpoints.torpor.dev", "gpuclasses.torpor.dev"}
    installation.get()


def _left(space: Space) -> list[str]:
    """Return what is in the test's namespace beyond what the test put there."""
    return _left_in(space, space.name)


def _left_in(space: Space, namespace: str) -> list[str]:
    found = [(path, obj) for path in NAMESPACED for obj in space.api.items(path.format(namespace))]
    return [
        f"{path.rsplit('/', 1)[1]}/{obj['metadata']['name']}"
        for path, obj in found
        if obj["metadata"]["name"] not in NOT_TORPORS
    ]


def _torpors(space: Space) -> list[str]:
    """Return cluster-scoped objects of torpor's."""
    found = [
        (path, obj["metadata"]["name"]) for path in CLUSTER_WIDE for obj in space.api.items(path)
    ]
    return [name for path, name in found if "torpor.dev" in path or "torpor" in name]


def _node_labels(space: Space) -> list[str]:
    nodes = space.api.items("/api/v1/nodes")
    labels = [label for node in nodes for label in node["metadata"]["labels"]]
    return [label for label in labels if label.startswith("weights.torpor.dev/")]
