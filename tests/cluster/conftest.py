"""The real cluster with torpor in it: brought up and installed once, a namespace of its own for every test."""

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.install import Installed, bucket_of, install, kube_of, release_exists
from dev.install.checkpoint import write_checkpoint
from tests.cluster.apiserver import ApiServer
from tests.cluster.space import Space

BUCKET = "s3://t-tests"
MEGABYTES = 2
MakeSpace = Callable[[str], Space]


class Installation:
    """torpor as it is installed now; a test that removed it costs the next one a new installation."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._installed: Installed | None = None

    def get(self) -> Installed:
        """Return the running installation of what the checkout holds."""
        if self._installed is None or not release_exists(kube_of(self._cluster)):
            self._installed = install(self._cluster)
        return self._installed


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster.up()


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[ApiServer]:
    server = ApiServer(cluster.kubeconfig)
    yield server
    server.close()


@pytest.fixture(scope="session")
def installation(cluster: Cluster, api: ApiServer) -> Installation:
    """Install torpor, and clear away what a killed run has left."""
    for namespace in api.items("/api/v1/namespaces"):
        name = namespace["metadata"]["name"]
        if name.startswith("t-"):
            api.delete(f"/api/v1/namespaces/{name}")
    return Installation(cluster)


@pytest.fixture
def torpor(installation: Installation) -> Installed:
    return installation.get()


@pytest.fixture(scope="session")
def weights(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Put a small checkpoint into the bucket; return its address."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, MEGABYTES, seed="tests")
    address = f"{BUCKET}/tiny/"
    bucket_of(cluster).put(folder, address)
    return address


@pytest.fixture(scope="session")
def kept_weights(installation: Installation, api: ApiServer, weights: str) -> Iterator[None]:
    """Keep an endpoint that sleeps: its weights stay on the node, so that others with them need no download."""
    space = _open_space("t-keeper", installation, api, weights)
    space.start("keeper")
    yield
    api.delete("/api/v1/namespaces/t-keeper")


@pytest.fixture(scope="module")
def make_space(installation: Installation, api: ApiServer, weights: str) -> Iterator[MakeSpace]:
    """Make namespaces with the S3 Secret; all of a module's are deleted at its end."""
    made: list[str] = []

    def make(title: str) -> Space:
        made.append(f"t-{title[:40].strip('-')}-{secrets.token_hex(2)}")
        return _open_space(made[-1], installation, api, weights)

    yield make
    for name in made:
        api.delete(f"/api/v1/namespaces/{name}")


def _open_space(name: str, installation: Installation, api: ApiServer, weights: str) -> Space:
    torpor = installation.get()
    torpor.make_namespace(name)
    torpor.make_s3_secret(name)
    return Space(name, api, torpor, weights)


@pytest.fixture
def space(make_space: MakeSpace, request: pytest.FixtureRequest) -> Space:
    """Return a fresh namespace, named after the test."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return make_space(words)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Uninstall last: what comes after it must install torpor again."""
    here = Path(__file__).parent
    ours = [item for item in items if item.path.parent == here]
    rest = iter(sorted(ours, key=lambda item: item.path.name == "test_leaving.py"))
    items[:] = [next(rest) if item in set(ours) else item for item in items]
