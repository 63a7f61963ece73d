"""Where a pod finds weights: the node's folder, a claim or its own disk, and the claim that a pvc:// source lies in.

Every kind is mounted at the same path in every pod, so that whatever reads the weights need not know which it is.
"""

from __future__ import annotations

from typing import Any, Final

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.prewarm import CacheKind
from torpor.api.endpoint.source import ClaimSource, parse_claim
from torpor.manifests.setting import Installation

Json = dict[str, Any]

CACHE_VOLUME: Final = "torpor-weights"
KEPT_VOLUME: Final = "torpor-compile-cache"
CLAIM_VOLUME: Final = "torpor-claim"
CLAIM_DIR: Final = "/var/lib/torpor/claim"
"""Where prewarm pods see the claim of a pvc:// source, as a whole."""


def claim_source(endpoint: InferenceEndpoint) -> ClaimSource | None:
    """Return the claim that the model itself lies in; None where it is fetched."""
    return parse_claim(endpoint.spec.model.source)


def weights_dir(installation: Installation, weights_hash: str) -> str:
    """Return the directory that holds published weights, the same on the node and in every pod."""
    return f"{installation.cache_dir}/models/{weights_hash}"


def cache_volumes(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    """Return the volumes that hold weights."""
    volumes = [{"name": CACHE_VOLUME, **_holder(endpoint, installation)}]
    source = claim_source(endpoint)
    if source is not None:
        claim = {"claimName": source.claim, "readOnly": True}
        volumes.append({"name": CLAIM_VOLUME, "persistentVolumeClaim": claim})
    return volumes


def _holder(endpoint: InferenceEndpoint, installation: Installation) -> Json:
    cache = endpoint.spec.prewarm.cache
    if cache.kind is CacheKind.PVC:
        return {"persistentVolumeClaim": {"claimName": str(cache.claim)}}
    if cache.kind is CacheKind.EPHEMERAL:
        return {"emptyDir": {"sizeLimit": str(cache.budget)} if cache.budget else {}}
    return {"hostPath": {"path": installation.cache_dir, "type": "DirectoryOrCreate"}}


def cache_mounts(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    """Return where a prewarm container sees them: the whole cache, and the claim of a pvc:// source."""
    mounts: list[Json] = [{"name": CACHE_VOLUME, "mountPath": installation.cache_dir}]
    if claim_source(endpoint) is not None:
        mounts.append(_claim_mount())
    return mounts


def compile_volumes(endpoint: InferenceEndpoint, installation: Installation) -> list[Json]:
    """Return the volume of compiled code where a folder of the node's holds it; elsewhere it lies among the weights.

    A volume and not a `subPath` of the weights': kubelets before 1.36 make a missing `subPath` in two steps, and where
    the first two pods of a namespace start at once, one of them finds it made and is not started for ten seconds
    (kubernetes issue 94198). A hostPath is made in one.
    """
    if endpoint.spec.prewarm.cache.kind is not CacheKind.HOST_PATH:
        return []
    path = f"{installation.cache_dir}/{_compile_folder(endpoint)}"
    return [{"name": KEPT_VOLUME, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}]


def compile_mount(endpoint: InferenceEndpoint, installation: Installation) -> Json:
    """Return where compiled code is kept: a folder for the endpoint's namespace alone, since it is code that runs."""
    path = f"{installation.cache_dir}/compile"
    if compile_volumes(endpoint, installation):
        return {"name": KEPT_VOLUME, "mountPath": path}
    return {"name": CACHE_VOLUME, "mountPath": path, "subPath": _compile_folder(endpoint)}


def _compile_folder(endpoint: InferenceEndpoint) -> str:
    return f"compile/{endpoint.metadata.namespace}"


def engine_mounts(
    endpoint: InferenceEndpoint, installation: Installation, parts: tuple[str, ...]
) -> list[Json]:
    """Return where the engine sees its own weights, each part in a folder of its own and read-only.

    A mount of the sub-folder shows this endpoint's weights, not everybody's.
    """
    if claim_source(endpoint) is not None:
        return [_claim_mount()]  # as a whole: what was checked may have links from folder to folder
    return [
        {
            "name": CACHE_VOLUME,
            "mountPath": weights_dir(installation, part),
            "subPath": f"models/{part}",
            "readOnly": True,
        }
        for part in dict.fromkeys(parts)  # two adapters may have the same content
    ]


def engine_dirs(
    endpoint: InferenceEndpoint, installation: Installation, parts: tuple[str, ...]
) -> list[str]:
    """Return the folders of model, draft and adapters as the engine sees them."""
    source = claim_source(endpoint)
    if source is not None:
        return [f"{CLAIM_DIR}/{source.path}".rstrip("/")]
    return [weights_dir(installation, part) for part in parts]


def _claim_mount() -> Json:
    return {"name": CLAIM_VOLUME, "mountPath": CLAIM_DIR, "readOnly": True}
