"""The words, as a real API server understands them: what it takes, what it refuses, and what it says."""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from tests.cluster.gpu_class_table import BAD_CLASSES, GOOD_CLASSES
from tests.cluster.words_table import BAD, GOOD, NOT_YET, Changes
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
KIND = ("torpor.dev", "v1alpha1")
EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))


class Words:
    """An API server that knows the two kinds; what is not `stored` is a dry run."""

    def __init__(self, kubectl: str, kubeconfig: str) -> None:
        self._command = [kubectl, "--kubeconfig", kubeconfig]
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        self.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds")
        )
        self._objects = kubernetes.client.CustomObjectsApi(
            kubernetes.config.new_client_from_config(kubeconfig)
        )

    def kubectl(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def endpoint(self, changes: Changes, dry_run: str | None = "All") -> dict[str, Any]:
        """Create a good endpoint with these changes; give what would be stored."""
        body = _changed(
            {
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "InferenceEndpoint",
                "metadata": {"name": "words"},
                "spec": {"model": {"source": "s3://models/llama/"}},
            },
            changes,
        )
        return self._created(
            self._objects.create_namespaced_custom_object,
            "default",
            "inferenceendpoints",
            body,
            dry_run=dry_run,
        )

    def gpu_class(self, changes: Changes) -> dict[str, Any]:
        """Create a good GPU class with these changes; give what would be stored."""
        body = _changed(
            {
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "GPUClass",
                "metadata": {"name": "words"},
                "spec": {"memory": "45Gi", "gpusPerNode": 1},
            },
            changes,
        )
        return self._created(self._objects.create_cluster_custom_object, "gpuclasses", body)

    def columns(self, plural: str) -> tuple[list[str], list[str]]:
        """Give the headings of `kubectl get`, and those that only `-o wide` adds."""
        table: Any = self._objects.list_cluster_custom_object(
            *KIND, plural, _headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        )
        found = table["columnDefinitions"]
        names = [(one["name"].upper(), one.get("priority", 0)) for one in found]
        return [name for name, wide in names if not wide], [name for name, wide in names if wide]

    @contextmanager
    def stored(self, changes: Changes) -> Iterator[str]:
        """Really create an endpoint; give its name, and delete it in the end."""
        stored = self.endpoint(changes, dry_run=None)
        name: str = stored["metadata"]["name"]
        yield name
        self._objects.delete_namespaced_custom_object(*KIND, "default", "inferenceendpoints", name)

    def scaled(self, name: str, replicas: int) -> dict[str, Any]:
        """Do what `kubectl scale` does; give the scale."""
        scale: Any = self._objects.patch_namespaced_custom_object_scale(
            *KIND,
            "default",
            "inferenceendpoints",
            name,
            {"spec": {"replicas": replicas}},
            _content_type="application/merge-patch+json",
        )
        return dict(scale)

    def refusal(self, attempt: Callable[[Any], object], argument: Any) -> str:
        """Give what the API server says; fail when it takes what it is given."""
        with pytest.raises(ApiException) as refused:
            attempt(argument)
        assert refused.value.status in (400, 422), refused.value
        return str(json.loads(refused.value.body or "{}")["message"])

    def _created(self, create: Any, *arguments: Any, dry_run: str | None = "All") -> dict[str, Any]:
        stored: dict[str, Any] = create(
            *KIND, *arguments, dry_run=dry_run, field_validation="Strict"
        )
        return stored


def _changed(body: dict[str, Any], changes: Changes) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for path, value in changes.items():
        *folders, last = path.split(".")
        place = body if folders[:1] == ["metadata"] else body["spec"]
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
        if value is None:
            del place[last]
    return body


@pytest.fixture(scope="module")
def words(cluster: Any) -> Words:
    return Words(str(cluster.kubectl), str(cluster.kubeconfig))


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
def test_a_good_endpoint_is_taken_and_then_read(words: Words, changes: Changes) -> None:
    stored = words.endpoint(changes)
    assert InferenceEndpoint.model_validate(stored).spec.model.source


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_a_bad_endpoint_is_refused_with_a_reason(
    words: Words, changes: Changes, message: str
) -> None:
    assert message in words.refusal(words.endpoint, changes)


@pytest.mark.parametrize(("what", "changes"), NOT_YET.items(), ids=NOT_YET)
def test_what_no_code_reads_yet_is_refused(words: Words, what: str, changes: Changes) -> None:
    assert f"{what} is not supported yet" in words.refusal(words.endpoint, changes)


@pytest.mark.parametrize("changes", GOOD_CLASSES.values(), ids=GOOD_CLASSES)
def test_a_good_gpu_class_is_taken_and_then_read(words: Words, changes: Changes) -> None:
    assert GPUClass.model_validate(words.gpu_class(changes)).spec.memory == 45 * 2**30


@pytest.mark.parametrize(("changes", "message"), BAD_CLASSES.values(), ids=BAD_CLASSES)
def test_a_bad_gpu_class_is_refused_with_a_reason(
    words: Words, changes: Changes, message: str
) -> None:
    assert message in words.refusal(words.gpu_class, changes)


def test_only_the_source_is_required_and_the_stored_defaults_are_these(words: Words) -> None:
    assert words.endpoint({})["spec"] == {
        "model": {"source": "s3://models/llama/"},
        "engine": {"kind": "vllm"},
        "placement": {"gpus": "auto", "ordered": False},
        "scaling": {
            "minReplicas": 0,
            "maxReplicas": 1,
            "inFlightPerReplica": 32,
            "routing": "leastInFlight",
            "suspend": False,
            "rollout": "whenIdle",
        },
        "prewarm": {"nodes": "all", "cache": {"kind": "hostPath"}},
        "access": {"direct": False},
        "queue": {
            "maxWait": "10m",
            "maxRequests": 1000,
            "maxBytes": "256Mi",
            "firstByteTimeout": "5m",
            "totalTimeout": "30m",
        },
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_taken(words: Words, path: Path) -> None:
    words.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_explain_reads_well(words: Words) -> None:
    text = words.kubectl("explain", "ie.spec.scaling.keepAlive")
    assert "How long an idle replica is kept before it is put to sleep." in text
    assert "Idle time after which replicas are put to sleep, 1s to 168h." in text
    assert "Shortest time the adaptive policy may choose, 1s to 168h." in text


def test_the_tables_have_the_columns_users_know(words: Words) -> None:
    usual, wide = words.columns("inferenceendpoints")
    assert usual == [
        "NAME",
        "READY",
        "STATE",
        "REPLICAS",
        "GPU",
        "COST/S",
        "COST/H",
        "SPENT",
        "SAVED",
        "AGE",
    ]
    assert wide == ["$/MTOK", "MODEL", "URL", "MESSAGE"]
    usual, wide = words.columns("gpuclasses")
    assert usual == [
        "NAME",
        "RESOURCE",
        "MEMORY",
        "GPUS",
        "REGION",
        "CAPACITY",
        "PRICE/H",
        "CURRENCY",
        "AGE",
    ]
    assert wide == ["FRACTION", "EGRESS/GIB"]


def test_scale_sets_the_replicas_that_are_kept(words: Words) -> None:
    with words.stored({"metadata.name": "words-scale", "scaling.suspend": True}) as name:
        assert words.scaled(name, 1)["spec"]["replicas"] == 1
        refusal = words.refusal(lambda count: words.scaled(name, count), 2)
        assert "minReplicas must not be greater than maxReplicas" in refusal
