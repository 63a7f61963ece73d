"""Prewarm pods: the Job that checks the source on a CPU, the Job that fetches to a node, and the init container.

All run `torpor prewarm` with the same environment in the endpoint's own namespace, so that the Secret is used where it
lives and the operator needs no right to read one.
"""

from __future__ import annotations

import json
from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.domain.prewarming import JobKind, JobWanted
from torpor.manifests import names
from torpor.manifests.merge import merge
from torpor.manifests.setting import Installation

Json = dict[str, Any]

_CA_DIR = "/etc/torpor/s3-ca"
_SECONDS_PER_JOB = 6 * 3600
_KEEP_FINISHED_SECONDS = 900
_CREDENTIALS = (
    ("AWS_ACCESS_KEY_ID", False),
    ("AWS_SECRET_ACCESS_KEY", False),
    ("AWS_SESSION_TOKEN", True),
)
_FROM_TEMPLATE = ("imagePullSecrets", "tolerations", "priorityClassName", "serviceAccountName")
"""Parts of the user's template that prewarm pods need as well: to be pulled, admitted and scheduled like the engine,
and to read the bucket with the same identity."""
_ON_GPU_NODES: list[Json] = [
    {"key": key, "operator": "Exists", "effect": "NoSchedule"}
    for key in ("nvidia.com/gpu", "amd.com/gpu")
]
"""The check runs on any healthy node, also where every node has GPUs. It must not tolerate more: a node that is not
ready or unreachable is tainted too, and looks invitingly empty."""


def weights_digest(endpoint: InferenceEndpoint) -> str:
    """Return the digest of everything that says where the weights come from; another one starts the listing over."""
    model = endpoint.spec.model
    wanted = {
        "source": str(model.s3_source),
        "s3": model.s3.to_dict(),
        "budget": endpoint.spec.prewarm.cache.budget,
    }
    return names.digest(json.dumps(wanted, sort_keys=True, default=str), length=12)


def weights_dir(installation: Installation, weights_hash: str) -> str:
    """Return the directory that holds the published weights, the same on the node and in every pod."""
    return f"{installation.cache_dir}/models/{weights_hash}"


def weights_volumes(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    """Return the volumes that a prewarm container mounts: the cache of the node and, if named, the CA."""
    cache: Json = {
        "name": "torpor-weights",
        "hostPath": {"path": installation.cache_dir, "type": "DirectoryOrCreate"},
    }
    ca = endpoint.spec.model.s3.ca_ref
    if ca is None:
        return [cache]
    items = [{"key": ca.key, "path": "ca.crt"}]
    source: Json = (
        {"secret": {"secretName": ca.name, "items": items, "optional": True}}
        if ca.kind == "Secret"
        else {"configMap": {"name": ca.name, "items": items, "optional": True}}
    )
    return [cache, {"name": "torpor-s3-ca", **source}]


def prewarm_container(
    endpoint: InferenceEndpoint, installation: Installation, name: str, args: list[str]
) -> Json:
    """Return a container that runs `torpor prewarm <args>` with the bucket's address and credentials."""
    s3 = endpoint.spec.model.s3
    mounts: list[Json] = [{"name": "torpor-weights", "mountPath": installation.cache_dir}]
    if s3.ca_ref is not None:
        mounts.append({"name": "torpor-s3-ca", "mountPath": _CA_DIR, "readOnly": True})
    container: Json = {
        "name": name,
        "image": installation.image,
        "imagePullPolicy": installation.image_pull_policy,
        "args": ["prewarm", *args],
        "env": _environment(endpoint, installation),
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if s3.secret_ref is not None:
        container["env"] += [_credential(s3.secret_ref.name, *key) for key in _CREDENTIALS]
    return container


def prewarm_job(
    endpoint: InferenceEndpoint,
    installation: Installation,
    wanted: JobWanted,
    weights_hash: str,
    owner: Json,
) -> Json:
    """Return the Job that checks the source (on any node) or fetches it to `wanted.node`. It never asks for a GPU."""
    spec = weights_digest(endpoint)
    mark = names.digest(spec, wanted.node, weights_hash, str(wanted.attempt), installation.image)
    labels = names.child_labels(endpoint.metadata.name, names.COMPONENT_PREWARM)
    fetch = wanted.kind is JobKind.FETCH
    args = ["fetch", "--hash", weights_hash] if fetch else ["preflight"]
    notes = {
        names.WEIGHTS_SPEC: spec,
        names.WEIGHTS_HASH: weights_hash,
        names.ATTEMPT: str(wanted.attempt),
        names.PREWARM_NODE: wanted.node,
        names.PREWARM_KIND: wanted.kind.value,
    }
    pod: Json = {
        "restartPolicy": "Never",
        "serviceAccountName": names.account_name(endpoint.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"operator": "Exists"}] if fetch else _ON_GPU_NODES,
        "containers": [prewarm_container(endpoint, installation, names.WEIGHTS_CONTAINER, args)],
        "volumes": weights_volumes(endpoint, installation),
    }
    if fetch:
        pod["affinity"] = _only_on(wanted.node)
    theirs = endpoint.spec.template.get("spec") or {}
    pod = merge(pod, {part: theirs[part] for part in _FROM_TEMPLATE if part in theirs})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.child_name(endpoint.metadata.name, wanted.kind.value, mark),
            "namespace": endpoint.metadata.namespace,
            "labels": labels,
            "annotations": notes,
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _SECONDS_PER_JOB,
            "ttlSecondsAfterFinished": _KEEP_FINISHED_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _credential(secret: str, key: str, optional: bool) -> Json:
    """One key of the Secret: whatever else lies in it never reaches the environment."""
    ref: Json = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": key, "valueFrom": {"secretKeyRef": ref}}


def _environment(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    model = endpoint.spec.model
    values = {
        "TORPOR_SOURCE": str(model.s3_source),
        "TORPOR_S3_ENDPOINT": model.s3.endpoint or "",
        "TORPOR_S3_REGION": model.s3.region,
        "TORPOR_S3_PATH_STYLE": "true" if model.s3.effective_path_style else "false",
        "TORPOR_CACHE_DIR": installation.cache_dir,
        "TORPOR_CACHE_BUDGET_BYTES": str(endpoint.spec.prewarm.cache.budget or 0),
    }
    if model.s3.ca_ref is not None:
        values["TORPOR_S3_CA_FILE"] = f"{_CA_DIR}/ca.crt"
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _only_on(node: str) -> Json:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
