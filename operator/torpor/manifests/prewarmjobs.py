"""Prewarm Jobs: check a source on a CPU, bring it to a node, pull the engine's image there, clear a node's cache.

None of them ever asks for a GPU. A Job is never changed, so whatever it does is in its name; what only says how much
room it may make (who runs and who is pinned at this moment) is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.prewarm import CacheKind
from torpor.domain.prewarmjobs import CLAIM, JobKind, JobWanted, Weights
from torpor.manifests import names
from torpor.manifests.cachevolumes import CACHE_VOLUME
from torpor.manifests.merge import merge
from torpor.manifests.setting import Installation
from torpor.manifests.weights import (
    prewarm_container,
    prewarm_volumes,
    weights_digest,
)

Json = dict[str, Any]

_SECONDS_PER_JOB = 6 * 3600
_KEEP_FINISHED_SECONDS = 7200
"""Longer than any pause before the next try: a failed Job is the witness of its attempt."""
_KEEP_COLLECTED_SECONDS = 60
_FROM_TEMPLATE = ("imagePullSecrets", "tolerations", "priorityClassName", "serviceAccountName")
"""Parts of the user's template that prewarm pods need as well: to be pulled, admitted and scheduled like the engine,
and to read the bucket with the same identity."""
_ON_GPU_NODES: list[Json] = [
    {"key": key, "operator": "Exists", "effect": "NoSchedule"}
    for key in ("nvidia.com/gpu", "amd.com/gpu")
]
"""The check runs on any healthy node, also where every node has GPUs. It must not tolerate more: a node that is not
ready or unreachable is tainted too, and looks invitingly empty."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a fetch may do to make room on its node, as of an instant (epoch seconds)."""

    kept: tuple[str, ...] = ()
    """Hashes that run there or are pinned."""
    as_of: int = 0
    last_use: int = 0
    """When an engine last started with what is fetched."""
    near: tuple[tuple[str, str], ...] = ()
    """Labels of the nodes that the engine may run on: a claim is filled, and so bound, where it can be mounted."""
    route: tuple[str, str] | None = None
    """From which region to which other one the fetch goes; None within one."""


def image_mark(image: str) -> str:
    """Return the digest by which pulls of different images are told apart."""
    return names.digest(image, length=12)


def prewarm_job(
    endpoint: InferenceEndpoint,
    installation: Installation,
    wanted: JobWanted,
    weights: Weights,
    owner: Json,
    room: Room | None = None,
) -> Json:
    """Return the Job that checks the source (on any node), fetches it to `wanted.node`, or pulls the image there."""
    mark = names.digest(
        *(weights_digest(endpoint), wanted.node, _about(endpoint, installation, wanted, weights)),
        *(str(wanted.attempt), installation.image),
    )
    labels = names.child_labels(endpoint.metadata.name, names.COMPONENT_PREWARM)
    pod = _pod(endpoint, installation, wanted, weights, room or Room())
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.child_name(endpoint.metadata.name, wanted.kind.value, mark),
            "namespace": endpoint.metadata.namespace,
            "labels": labels,
            "annotations": _notes(endpoint, installation, wanted, weights) | _route(wanted, room),
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _SECONDS_PER_JOB,
            "ttlSecondsAfterFinished": _KEEP_FINISHED_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def engine_image(endpoint: InferenceEndpoint, installation: Installation) -> str:
    """Return the image that the endpoint's engine runs."""
    return endpoint.spec.engine.image or installation.engine_image


def _about(
    endpoint: InferenceEndpoint, installation: Installation, wanted: JobWanted, weights: Weights
) -> str:
    """What the Job is about beside the source: the listed content, or the image."""
    if wanted.kind is JobKind.IMAGE:
        return engine_image(endpoint, installation)
    return weights.hash if wanted.kind is JobKind.FETCH else wanted.kind.value


def _notes(
    endpoint: InferenceEndpoint, installation: Installation, wanted: JobWanted, weights: Weights
) -> dict[str, str]:
    fetch, image = wanted.kind is JobKind.FETCH, wanted.kind is JobKind.IMAGE
    mark = image_mark(engine_image(endpoint, installation))
    return {
        names.WEIGHTS_SPEC: mark if image else weights_digest(endpoint),
        names.WEIGHTS_HASH: weights.hash if fetch else "",
        names.WEIGHTS_PARTS: " ".join(weights.all_parts) if fetch else "",
        names.ATTEMPT: str(wanted.attempt),
        names.PREWARM_NODE: wanted.node,
        names.PREWARM_KIND: wanted.kind.value,
    }


def _route(wanted: JobWanted, room: Room | None) -> dict[str, str]:
    """Where the bytes go, written down when they set out: what is counted then follows from the Job alone."""
    if wanted.kind is not JobKind.FETCH or room is None or room.route is None:
        return {}
    return {names.WEIGHTS_ROUTE: " ".join(room.route)}


def _pod(
    endpoint: InferenceEndpoint,
    installation: Installation,
    wanted: JobWanted,
    weights: Weights,
    room: Room,
) -> Json:
    check = wanted.kind in (JobKind.CHECK, JobKind.RECHECK)
    pod: Json = {
        "restartPolicy": "Never",
        "serviceAccountName": names.account_name(endpoint.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": _ON_GPU_NODES if check else [{"operator": "Exists"}],
    }
    if wanted.kind is JobKind.IMAGE:
        pod["containers"] = [_pull(endpoint, installation)]
    else:
        pod["containers"] = [_worker(endpoint, installation, wanted, weights, room)]
        pod["volumes"] = prewarm_volumes(endpoint, installation)
        if check and endpoint.spec.prewarm.cache.kind is not CacheKind.HOST_PATH:
            _without_cache(pod)
    if wanted.node != CLAIM:
        pod["affinity"] = _only_on(wanted.node)
    elif wanted.kind is JobKind.FETCH:
        pod["nodeSelector"] = dict(room.near)
        # What keeps pods off a node for other reasons than its GPUs is left standing: the scheduler chooses the node.
        pod["tolerations"] = [{"operator": "Exists", "effect": "NoSchedule"}]
    theirs = endpoint.spec.template.get("spec") or {}
    return merge(pod, {part: theirs[part] for part in _FROM_TEMPLATE if part in theirs})


def _worker(
    endpoint: InferenceEndpoint,
    installation: Installation,
    wanted: JobWanted,
    weights: Weights,
    room: Room,
) -> Json:
    """The container of a check or a fetch. A check asks the source itself, not what was found there last time."""
    if wanted.kind is not JobKind.FETCH:
        worker = prewarm_container(
            endpoint, installation, names.WEIGHTS_CONTAINER, ["preflight"], Weights()
        )
        return worker
    hashes = [word for part in weights.all_parts for word in ("--hash", part)]
    worker = prewarm_container(
        endpoint, installation, names.WEIGHTS_CONTAINER, ["fetch", *hashes], weights
    )
    values = {
        "TORPOR_CACHE_KEEP": ",".join(room.kept),
        "TORPOR_CACHE_KEEP_AS_OF": str(room.as_of),
        "TORPOR_LAST_USE": str(room.last_use),
        "TORPOR_CACHE_PIN": "true" if endpoint.spec.prewarm.pin else "",
    }
    worker["env"] += [{"name": name, "value": value} for name, value in values.items() if value]
    return worker


def _without_cache(pod: Json) -> None:
    """A check needs no cache: a claim must not be attached to the node that it happens to run on."""
    pod["volumes"] = [v for v in pod["volumes"] if v["name"] != CACHE_VOLUME]
    for container in pod["containers"]:
        mounts = container["volumeMounts"]
        container["volumeMounts"] = [m for m in mounts if m["name"] != CACHE_VOLUME]


def _pull(endpoint: InferenceEndpoint, installation: Installation) -> Json:
    """A container of the engine's image that does nothing; once it could start, or could not, the image is there."""
    return {
        "name": names.ENGINE_CONTAINER,
        "image": engine_image(endpoint, installation),
        "imagePullPolicy": installation.image_pull_policy,
        "command": ["true"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def collect_job(
    installation: Installation, namespace: str, node: str, room: Room, owner: Json
) -> Json:
    """Return the Job that removes from a node's cache whatever no endpoint stands for any more.

    It runs in torpor's own *namespace*, since the endpoint is gone, and leaves with torpor: *owner* is one of its own
    objects. What `room.kept` does not name goes, unless it is newer than that list.
    """
    labels = {
        names.MANAGED_BY: names.MANAGED_BY_TORPOR,
        names.COMPONENT_LABEL: names.COMPONENT_COLLECT,
    }
    words = [word for part in room.kept for word in ("--keep", part)]
    container: Json = {
        "name": names.WEIGHTS_CONTAINER,
        "image": installation.image,
        "imagePullPolicy": installation.image_pull_policy,
        "args": ["prewarm", "collect", *words],
        "env": [
            {"name": "TORPOR_CACHE_DIR", "value": installation.cache_dir},
            {"name": "TORPOR_CACHE_KEEP_AS_OF", "value": str(room.as_of)},
        ],
        "volumeMounts": [{"name": CACHE_VOLUME, "mountPath": installation.cache_dir}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    cache = {"path": installation.cache_dir, "type": "DirectoryOrCreate"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.child_name(
                "torpor", "collect", names.digest(node, str(room.as_of), *room.kept)
            ),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 3600,
            "ttlSecondsAfterFinished": _KEEP_COLLECTED_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "tolerations": [{"operator": "Exists"}],
                    "affinity": _only_on(node),
                    "containers": [container],
                    "volumes": [{"name": CACHE_VOLUME, "hostPath": cache}],
                },
            },
        },
    }


def _only_on(node: str) -> Json:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
