"""torpor as it runs in a cluster, with what its users do every day."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.cluster import Cluster, HarnessError
from torpor.api.endpoint import InferenceEndpoint

from .bucket import Bucket
from .chart import (
    ENDPOINTS,
    GATEWAY_SERVICE,
    NAMESPACE,
    Images,
    describe_pods,
    install_chart,
    merge,
)
from .kube import Kube

Json = dict[str, Any]
SECRET = "s3"
"""Name of the Secret that endpoints read their bucket's keys from."""


def kube_of(cluster: Cluster) -> Kube:
    """Return kubectl and helm for the harness's cluster."""
    return Kube(cluster.kubectl, cluster.helm, cluster.kubeconfig)


def bucket_of(cluster: Cluster) -> Bucket:
    """Return the harness's S3 server with its owner's keys."""
    s3 = cluster.s3
    return Bucket(s3.endpoint, s3.region, s3.access_key, s3.secret_key)


def install(cluster: Cluster, values: Mapping[str, Any] | None = None) -> Installed:
    """Install torpor, as the checkout is now, into the harness's cluster; seconds when nothing changed.

    `values` are further values of the chart.

    Raises:
        HarnessError: an image could not be built, or a program did not become ready.
    """
    kube = kube_of(cluster)
    images = Images(cluster.image("torpor"), cluster.image("engine"), pull_policy="Never")
    install_chart(kube, images, values)
    service = kube.find("service", GATEWAY_SERVICE, NAMESPACE)
    if service is None:
        raise HarnessError(f"the chart made no Service {NAMESPACE}/{GATEWAY_SERVICE}")
    spec = service["spec"]
    port = spec["ports"][0]["port"]
    address = f"http://{spec['clusterIP']}" + ("" if port == 80 else f":{port}")
    return Installed(kube, bucket_of(cluster), images, address)


@dataclass(frozen=True)
class Installed:
    """An installation: where it answers, and how to use it."""

    kube: Kube
    bucket: Bucket
    images: Images
    gateway: str
    """Address of the gateways without a path, as this machine reaches it."""
    namespace: str = field(default=NAMESPACE)
    """Namespace of torpor's own pods."""

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"{self.gateway}/v1"

    def make_namespace(self, name: str) -> None:
        """Make a namespace that endpoints may live in; one that is being deleted is waited for."""

        def settled() -> bool | None:
            found = self.kube.find("namespace", name)
            return None if found and found["metadata"].get("deletionTimestamp") else True

        self.kube.wait_for(f"end of namespace {name}", settled, timeout=180)
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def remove_namespace(self, name: str, timeout: float = 150.0) -> None:
        """Delete a namespace: its endpoints first, and their pods waited for.

        Deleted at one go it would take a minute: the namespace controller sees a pod with a long
        grace period and looks again only after half of it.

        Raises:
            HarnessError: something is still there after `timeout` seconds.
        """
        kube = self.kube
        if kube.find("namespace", name) is None:
            return
        kube.run("delete", ENDPOINTS, "--all", "-n", name, "--timeout=300s", timeout=330.0)

        def gone() -> bool | None:
            left = kube.list("deployments,pods", name, "torpor.dev/component=engine")
            return None if left else True

        kube.wait_for(f"end of the engines in {name}", gone, timeout=timeout)
        kube.delete("namespace", name, timeout=timeout)

    def make_s3_secret(
        self,
        namespace: str,
        name: str = SECRET,
        access_key: str | None = None,
        secret_key: str | None = None,
    ) -> None:
        """Make or change a Secret with the bucket owner's keys, or with those given."""
        keys = {
            "AWS_ACCESS_KEY_ID": access_key or self.bucket.access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key or self.bucket.secret_key,
        }
        metadata = {"name": name, "namespace": namespace}
        self.kube.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
        )

    def endpoint(
        self,
        name: str,
        namespace: str,
        source: str,
        spec: Mapping[str, Any] | None = None,
        switches: Mapping[str, str] | None = None,
    ) -> Json:
        """Compose an InferenceEndpoint that reads `source` from the bucket with the Secret `s3`.

        `spec` is laid over it, `switches` become environment of the engine (STANDIN_…).
        """
        composed: Json = {"model": {"source": source, "s3": self.s3_of()}}
        if switches:
            env = [{"name": key, "value": value} for key, value in switches.items()]
            composed["engine"] = {"env": env}
        return {
            "apiVersion": "torpor.dev/v1alpha1",
            "kind": "InferenceEndpoint",
            "metadata": {"name": name, "namespace": namespace},
            "spec": merge(composed, dict(spec or {})),
        }

    def s3_of(self) -> Json:
        """Return `spec.model.s3` for the bucket and the Secret `s3`."""
        return {
            "endpoint": self.bucket.endpoint,
            "region": self.bucket.region,
            "pathStyle": True,
            "secretRef": {"name": SECRET},
        }

    def read(self, namespace: str, name: str) -> InferenceEndpoint:
        """Return an endpoint as the API server has it now.

        Raises:
            HarnessError: it is not there.
        """
        found = self.kube.find(ENDPOINTS, name, namespace)
        if found is None:
            raise HarnessError(f"endpoint {namespace}/{name} is not there")
        return InferenceEndpoint.model_validate(found)

    def wait_for_condition(
        self,
        namespace: str,
        name: str,
        condition: str,
        status: str = "True",
        reason: str | None = None,
        timeout: float = 60.0,
    ) -> InferenceEndpoint:
        """Wait until a condition of the present generation has a status, and a reason if one is named.

        Raises:
            HarnessError: not in time; says what the conditions were and how the pods do.
        """
        seen: list[InferenceEndpoint] = []

        def look() -> InferenceEndpoint | None:
            endpoint = self.read(namespace, name)
            seen[:] = [endpoint]
            found = endpoint.status.condition(condition)
            if found is None or found.status != status or reason not in (None, found.reason):
                return None
            return endpoint if found.observed_generation == endpoint.metadata.generation else None

        wanted = f"{condition}={status}" + (f" with reason {reason}" if reason else "")
        try:
            return self.kube.wait_for(f"{namespace}/{name} {wanted}", look, timeout=timeout)
        except HarnessError as late:
            said = [
                f"{c.type}={c.status} ({c.reason}): {c.message}"
                for endpoint in seen
                for c in endpoint.status.conditions
            ]
            told = "\n  ".join(said or ["it has no conditions: is the controller running?"])
            raise HarnessError(f"{late}\n  {told}\n{describe_pods(self.kube, namespace)}") from late

    def table(self, namespace: str, *more: str) -> str:
        """Return `kubectl get ie` of a namespace as it prints it."""
        return self.kube.run("get", "ie", "-n", namespace, *more).rstrip()

    def gateway_pods(self) -> list[str]:
        """Return the addresses of the gateways' pods; their internal port is 8081."""
        pods = self.kube.list("pods", self.namespace, "app.kubernetes.io/component=gateway")
        return [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")]


def create_key(name: str) -> tuple[str, Json]:
    """Make an API key with `torpor key create`; returns the key and its entry for `access.keys`.

    Raises:
        HarnessError: the command failed, or printed something else.
    """
    command = [sys.executable, "-m", "torpor", "key", "create", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise HarnessError(f"torpor key create {name} failed: {done.stderr.strip()}")
    return read_key(done.stdout)


def read_key(printed: str) -> tuple[str, Json]:
    """Read what `torpor key create` printed: the key on the first line, then the YAML of its entry.

    Raises:
        HarnessError: it looks different.
    """
    words = dict(
        line.strip().removeprefix("- ").split(": ", 1)
        for line in printed.splitlines()
        if ": " in line
    )
    try:
        shown = next(value for name, value in words.items() if name.startswith("key"))
        return shown, {"name": words["name"], "sha256": words["sha256"]}
    except (KeyError, StopIteration) as error:
        raise HarnessError(f"`torpor key create` printed no key:\n{printed}") from error
