"""The release: definitions first, then the chart, then waiting until every program is ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster import HarnessError

from .kube import Kube

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "torpor"
NAMESPACE = "torpor-system"
GATEWAY_SERVICE = "torpor-gateway"
ENDPOINTS = "inferenceendpoints.torpor.dev"
READY_SECONDS = 120

Json = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """What runs: torpor's image, and the engine of endpoints that name none."""

    torpor: str
    engine: str
    pull_policy: str = "IfNotPresent"

    def values(self) -> Json:
        """Return them as values of the chart.

        Raises:
            HarnessError: torpor's image has no tag; the chart would put its own version there.
        """
        name, colon, tag = self.torpor.rpartition(":")
        if not colon or "/" in tag or "@" in name:
            raise HarnessError(f"image {self.torpor} needs a tag, as in registry/torpor:0.1.0")
        return {
            "image": {"repository": name, "tag": tag, "pullPolicy": self.pull_policy},
            "engine": {"image": self.engine},
        }


def release_exists(kube: Kube) -> bool:
    """Say whether torpor is installed, whatever its state."""
    return _state(kube) is not None


def install_chart(kube: Kube, images: Images, values: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade torpor; returns when every pod of it is ready.

    `values` are further values of the chart, which win. A release that an earlier, killed helm
    left half-way is removed first: helm itself refuses to touch it.

    Raises:
        HarnessError: it did not become ready; says what its pods say.
    """
    state = _state(kube)
    if state is not None and state not in ("deployed", "superseded", "failed"):
        kube.run_helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--ignore-not-found")
    apply_definitions(kube)
    words = ["upgrade", "--install", RELEASE, str(ROOT / "charts" / "torpor"), "-n", NAMESPACE]
    words += ["--create-namespace", "--skip-crds", "--values", "-"]
    words += ["--wait", "--timeout", f"{READY_SECONDS}s"]
    chosen = merge(images.values(), dict(values or {}))
    try:
        kube.run_helm(*words, stdin=json.dumps(chosen), timeout=READY_SECONDS + 60)
    except HarnessError as failed:
        raise HarnessError(f"{failed}\n{describe_pods(kube, NAMESPACE)}") from failed


def apply_definitions(kube: Kube) -> None:
    """Apply the custom resource definitions, which helm never upgrades, and wait until they are served."""
    folder = str(ROOT / "crds")
    kube.run("apply", "--server-side", "--force-conflicts", "-f", folder)
    kube.run("wait", "--for=condition=Established", "-f", folder, "--timeout=30s")


def definitions_exist(kube: Kube) -> bool:
    """Say whether the custom resource definitions are there; helm leaves them behind."""
    return kube.find("customresourcedefinition", ENDPOINTS) is not None


def uninstall(kube: Kube, *, definitions: bool) -> None:
    """Remove the release and its namespace; with `definitions` those too, and with them every endpoint."""
    if release_exists(kube):
        kube.run_helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "120s")
    kube.delete("namespace", NAMESPACE)
    if definitions:
        words = ["delete", "--ignore-not-found", "-f", str(ROOT / "crds"), "--timeout=60s"]
        kube.run(*words, timeout=70)


def describe_pods(kube: Kube, namespace: str) -> str:
    """Say how the pods of a namespace do, with the last words of those that are not ready."""
    lines = [kube.run("get", "pods", "-n", namespace, "-o", "wide").rstrip()]
    for pod in kube.list("pods", namespace):
        conditions = pod["status"].get("conditions", ())
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            continue
        name = pod["metadata"]["name"]
        for which in ([], ["--previous"]):
            try:
                told = kube.run("logs", "-n", namespace, name, "--tail=15", *which)
            except HarnessError:
                continue
            lines.append(f"--- {name} {' '.join(which)}\n{told.rstrip()}")
    return "\n".join(lines)


def merge(base: Json, more: Json) -> Json:
    """Return `base` with `more` laid over it, objects member by member, anything else whole."""
    result = dict(base)
    for key, value in more.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merge(old, value) if both and isinstance(old, dict) else value
    return result


def _state(kube: Kube) -> str | None:
    found = kube.run_helm(
        "list", "--all", "-n", NAMESPACE, "--filter", f"^{RELEASE}$", "-o", "json"
    )
    releases = json.loads(found)
    return str(releases[0]["status"]) if releases else None
