"""The container that runs `torpor prewarm`, whatever pod it is in: its environment, credentials and mounts.

It runs in the endpoint's own namespace, so that the Secret is used where it lives and the operator needs no right to
read one.
"""

from __future__ import annotations

import json
from typing import Any, Final

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.source import normal
from torpor.domain.prewarmjobs import Weights
from torpor.manifests import names
from torpor.manifests.cachevolumes import CLAIM_DIR, cache_mounts, cache_volumes, claim_source
from torpor.manifests.setting import Installation

Json = dict[str, Any]

PROGRESS_PORT: Final = 8099
"""Where a pod that fetches tells how far it is."""
_CA_DIR = "/etc/torpor/s3-ca"
_CREDENTIALS = (
    ("AWS_ACCESS_KEY_ID", False),
    ("AWS_SECRET_ACCESS_KEY", False),
    ("AWS_SESSION_TOKEN", True),
)


def weights_digest(endpoint: InferenceEndpoint) -> str:
    """Return the digest of everything that says where the weights come from; another one starts the listing over."""
    model = endpoint.spec.model
    wanted = {
        "source": normal(model.source),
        "s3": model.s3.to_dict(),
        "hub": model.hub.to_dict() if model.hub else None,
        "extras": extras(endpoint),
        "budget": endpoint.spec.prewarm.cache.budget,
    }
    return names.digest(json.dumps(wanted, sort_keys=True, default=str), length=12)


def extras(endpoint: InferenceEndpoint, sources: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Return what is fetched beside the model, in the order of its hashes: the draft, then the adapters.

    Args:
        endpoint: Whose.
        sources: Where model, draft and adapters lie in the bucket, where that differs from the spec.
    """
    model = endpoint.spec.model
    found = [] if model.draft is None else [("draft", "draft", model.draft.source)]
    found += [(adapter.name, "adapter", adapter.source) for adapter in model.adapters]
    moved = sources[1:] if len(sources) == len(found) + 1 else ()
    return [
        {"name": name, "kind": kind, "source": moved[at] if moved else normal(source)}
        for at, (name, kind, source) in enumerate(found)
    ]


def prewarm_volumes(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    """Return the volumes that a prewarm container mounts: what holds weights and, if named, the CA."""
    volumes = cache_volumes(endpoint, installation)
    ca = endpoint.spec.model.s3.ca_ref
    if ca is None:
        return volumes
    items = [{"key": ca.key, "path": "ca.crt"}]
    source: Json = (
        {"secret": {"secretName": ca.name, "items": items, "optional": True}}
        if ca.kind == "Secret"
        else {"configMap": {"name": ca.name, "items": items, "optional": True}}
    )
    return [*volumes, {"name": "torpor-s3-ca", **source}]


def prewarm_container(
    endpoint: InferenceEndpoint,
    installation: Installation,
    name: str,
    args: list[str],
    weights: Weights,
    *,
    credentials: bool = True,
) -> Json:
    """Return a container that runs `torpor prewarm <args>` with the bucket's address and credentials.

    Args:
        endpoint: Whose weights.
        installation: Image and cache.
        name: The container's name.
        args: Mode and hashes.
        weights: What is known of them; copies of hf:// sources are fetched from the bucket they were put in.
        credentials: Whether it needs the Secret of the bucket.
    """
    s3 = endpoint.spec.model.s3
    mounts = cache_mounts(endpoint, installation)
    if s3.ca_ref is not None:
        mounts.append({"name": "torpor-s3-ca", "mountPath": _CA_DIR, "readOnly": True})
    container: Json = {
        "name": name,
        "image": installation.image,
        "imagePullPolicy": installation.image_pull_policy,
        "args": ["prewarm", *args],
        "env": _environment(endpoint, installation, weights, hub=credentials),
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
    if s3.secret_ref is not None and credentials:
        container["env"] += [_credential(s3.secret_ref.name, *key) for key in _CREDENTIALS]
    return container


def hub_environment(endpoint: InferenceEndpoint) -> list[Json]:
    """Return what the check of an hf:// source needs; nobody else talks to the Hub."""
    hub = endpoint.spec.model.hub
    if hub is None:
        return []
    values = {
        "TORPOR_HUB_MIRROR": normal(hub.mirror),
        "TORPOR_HUB_ENDPOINT": hub.endpoint or "",
    }
    env: list[Json] = [{"name": name, "value": value} for name, value in values.items() if value]
    if hub.token_ref is not None:
        ref = {"name": hub.token_ref.name, "key": hub.token_ref.key}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": ref}})
    return env


def _credential(secret: str, key: str, optional: bool) -> Json:
    """One key of the Secret: whatever else lies in it never reaches the environment."""
    ref: Json = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": key, "valueFrom": {"secretKeyRef": ref}}


def _environment(
    endpoint: InferenceEndpoint, installation: Installation, weights: Weights, *, hub: bool
) -> list[Json]:
    model = endpoint.spec.model
    more = extras(endpoint, weights.sources)
    values = {
        "TORPOR_SOURCE": weights.sources[0] if weights.sources else normal(model.source),
        "TORPOR_EXTRAS": json.dumps(more, separators=(",", ":")) if more else "",
        "TORPOR_CLAIM_DIR": CLAIM_DIR if claim_source(endpoint) else "",
        "TORPOR_S3_ENDPOINT": model.s3.endpoint or "",
        "TORPOR_S3_REGION": model.s3.region,
        "TORPOR_S3_PATH_STYLE": "true" if model.s3.effective_path_style else "false",
        "TORPOR_S3_ANONYMOUS": "true" if model.s3.anonymous else "",
        "TORPOR_CACHE_DIR": installation.cache_dir,
        "TORPOR_CACHE_BUDGET_BYTES": str(endpoint.spec.prewarm.cache.budget or 0),
        "TORPOR_PREWARM_PROGRESS_PORT": str(PROGRESS_PORT),
    }
    if model.s3.ca_ref is not None:
        values["TORPOR_S3_CA_FILE"] = f"{_CA_DIR}/ca.crt"
    sources = (values["TORPOR_SOURCE"], *(artifact["source"] for artifact in more))
    unresolved = any(source.startswith("hf://") for source in sources)
    return [
        *({"name": name, "value": value} for name, value in values.items() if value),
        *(hub_environment(endpoint) if hub and unresolved else ()),
    ]
