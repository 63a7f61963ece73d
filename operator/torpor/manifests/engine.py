"""The engine's pod: probes, drain, security, its init container and its companion, the user's template merged last.

Facts this relies on were measured on real vLLM 0.32 (dev/vllm/README.md): the port is refused until the model is
loaded, `/health` answers 503 only when the engine died, and on SIGTERM `--shutdown-timeout` lets streams finish while
new requests are refused. So a pod that is told to end keeps serving for the seconds of `preStop` (every gateway has
seen the deletion by then), finishes what runs for up to a minute, and is given time for its own teardown. As process 1
vLLM takes the whole grace period to end (93 s); in a shared process namespace, where it is not, 3 s.
"""

from __future__ import annotations

import json
from typing import Any, cast

from torpor.api.endpoint import CompileCache, InferenceEndpoint
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import Weights
from torpor.manifests import names
from torpor.manifests.cachevolumes import (
    CACHE_VOLUME,
    CLAIM_VOLUME,
    compile_mount,
    compile_volumes,
    engine_mounts,
)
from torpor.manifests.compilecache import (
    COMPILE_DIR,
    COMPILE_VOLUME,
    compile_env,
    compile_key,
    compile_settings,
)
from torpor.manifests.merge import merge
from torpor.manifests.prewarmjobs import engine_image
from torpor.manifests.setting import Installation
from torpor.manifests.vllm import engine_args, warms_pages
from torpor.manifests.weights import prewarm_container, prewarm_volumes

Json = dict[str, Any]

PRE_STOP_SECONDS = 5
SHUTDOWN_SECONDS = 60
GRACE_SECONDS = 90
"""preStop + the engine's own drain + its teardown (~8 s measured) + margin."""
START_SECONDS = 900
"""Start-up budget of an engine with small weights: imports, compilation, graph capture."""
LOAD_BYTES_PER_SECOND = 100_000_000
"""Slowest load that still counts as progress; each byte of weights adds to the start-up budget at this rate."""


def engine_template(
    endpoint: InferenceEndpoint,
    placement: Placement,
    weights: Weights,
    installation: Installation,
) -> Json:
    """Return the pod template of the engine, its own hash among its labels.

    Raises:
        ValueError: If the placement has no GPU class; an unplaced endpoint has no pod.
    """
    chosen = placement.gpu_class
    if chosen is None:
        raise ValueError(f"{endpoint.key} is not placed, so it has no engine pod")
    labels = names.child_labels(endpoint.metadata.name, names.COMPONENT_ENGINE) | {
        names.GPU_CLASS_LABEL: chosen.name,
        names.GPU_COUNT_LABEL: str(placement.gpus),
        names.ENDPOINT_UID_LABEL: endpoint.metadata.uid,
    }
    notes = {
        names.WEIGHTS_HASH: weights.hash,
        names.WEIGHTS_PARTS: " ".join(weights.all_parts),
        names.SERVED_NAMES: " ".join(endpoint.asked_names),
    }
    engine = _engine(endpoint, placement, weights, installation)
    helpers = _Helpers(endpoint, placement, weights, installation, engine)
    own: Json = {
        "metadata": {"labels": labels, "annotations": notes},
        "spec": {
            "serviceAccountName": names.account_name(endpoint.metadata.name),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "shareProcessNamespace": True,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "nodeSelector": dict(chosen.node_selector),
            "tolerations": [
                {"key": chosen.resource, "operator": "Exists", "effect": "NoSchedule"},
                *chosen.tolerations,
            ],
            "affinity": _near_weights(weights.hash),
            "initContainers": [helpers.ensure()],
            "containers": [engine, helpers.companion()],
            "volumes": [
                *prewarm_volumes(endpoint, installation),
                *helpers.volumes(),
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                {"name": COMPILE_VOLUME, "emptyDir": {}},
            ],
        },
    }
    template = merge(own, cast(Json, endpoint.spec.template))
    # The selector, the gateways and the meter read these: a user adds labels and takes none of torpor's away.
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = (metadata.get("labels") or {}) | labels
    metadata["labels"][names.TEMPLATE_HASH] = template_hash(template)
    return template


def template_hash(template: Json) -> str:
    """Return the short hash by which two pod templates are told apart."""
    return names.digest(json.dumps(template, sort_keys=True), length=10)


class _Helpers:
    """The containers beside the engine: one that finds or fetches the weights first, one that tends to the caches."""

    def __init__(
        self,
        endpoint: InferenceEndpoint,
        placement: Placement,
        weights: Weights,
        installation: Installation,
        engine: Json,
    ) -> None:
        self._endpoint = endpoint
        self._installation = installation
        self._weights = weights
        self._hashes = [word for part in weights.all_parts for word in ("--hash", part)]
        self._compiling = self._compile_settings(placement, engine)

    def volumes(self) -> list[Json]:
        """What only the helpers mount."""
        return compile_volumes(self._endpoint, self._installation) if self._compiling else []

    def ensure(self) -> Json:
        """The init container: milliseconds if the node has the weights, a download if not."""
        made = self._container(names.WEIGHTS_CONTAINER, "ensure")
        if self._compiling:
            made["volumeMounts"].append(compile_mount(self._endpoint, self._installation))
        return made

    def companion(self) -> Json:
        """Beside the engine: reads the weights into the page cache while it starts, and keeps what it compiled.

        It shares a process namespace with the engine, which may run anybody's model code. So it sees no more than the
        engine does, the compiled code of its namespace apart, and no credentials but to store that in the bucket.
        """
        made = self._container(names.COMPANION_CONTAINER, "accompany")
        made["volumeMounts"] = [
            mount
            for mount in made["volumeMounts"]
            if mount["name"] not in (CACHE_VOLUME, CLAIM_VOLUME)
        ]
        made["volumeMounts"] += engine_mounts(
            self._endpoint, self._installation, self._weights.all_parts
        )
        if self._compiling:
            made["volumeMounts"].append(compile_mount(self._endpoint, self._installation))
        made["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
        if warms_pages(self._endpoint):
            made["env"].append({"name": "TORPOR_WARM_PAGES", "value": "true"})
        return made

    def _container(self, name: str, mode: str) -> Json:
        stores = self._endpoint.spec.prewarm.compile_cache is CompileCache.S3
        made = prewarm_container(
            self._endpoint,
            self._installation,
            name,
            [mode, *self._hashes],
            self._weights,
            credentials=mode == "ensure" or stores,
        )
        made["env"] += self._compiling
        if self._compiling:
            made["volumeMounts"].append({"name": COMPILE_VOLUME, "mountPath": COMPILE_DIR})
        return made

    def _compile_settings(self, placement: Placement, engine: Json) -> list[Json]:
        kept = self._endpoint.spec.prewarm.compile_cache
        if kept is CompileCache.NONE or placement.gpu_class is None:
            return []
        key = compile_key(
            namespace=self._endpoint.metadata.namespace or "",
            image=engine["image"],
            gpu_class=placement.gpu_class.name,
            gpus=placement.gpus,
            args=[arg for arg in engine["args"] if arg != self._endpoint.own_name],
            env=engine["env"],
            weights_hash=self._weights.hash,
        )
        return compile_settings(key, "s3" if kept is CompileCache.S3 else "")


def _engine(
    endpoint: InferenceEndpoint, placement: Placement, weights: Weights, installation: Installation
) -> Json:
    assert placement.gpu_class is not None
    own_env: list[Json] = [
        {"name": "HF_HUB_OFFLINE", "value": "1"},
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
    ]
    mounts = [
        *engine_mounts(endpoint, installation, weights.all_parts),
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if endpoint.spec.prewarm.compile_cache is not CompileCache.NONE:
        own_env += compile_env()
        mounts.append({"name": COMPILE_VOLUME, "mountPath": COMPILE_DIR})
    devices = {placement.gpu_class.resource: str(placement.gpus)}
    slowest = weights.bytes // LOAD_BYTES_PER_SECOND
    return {
        "name": names.ENGINE_CONTAINER,
        "image": engine_image(endpoint, installation),
        "imagePullPolicy": installation.image_pull_policy,
        "args": engine_args(endpoint, placement.gpus, weights, installation, SHUTDOWN_SECONDS),
        "env": merge(
            {"env": own_env}, {"env": [env.to_dict() for env in endpoint.spec.engine.env]}
        )["env"],
        "ports": [
            {"name": names.ENGINE_PORT_NAME, "containerPort": names.ENGINE_PORT, "protocol": "TCP"}
        ],
        "resources": {"limits": devices, "requests": devices},
        "startupProbe": _probe(period=1, failures=START_SECONDS + slowest),
        "readinessProbe": _probe(period=5, failures=2),
        "livenessProbe": _probe(period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }


def _probe(period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": "/health", "port": names.ENGINE_PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _near_weights(weights_hash: str) -> Json:
    """Prefer nodes that have the weights; a cold node is still better than no node."""
    key = f"{names.WEIGHTS_NODE_PREFIX}{weights_hash}"
    has = {"key": key, "operator": "In", "values": [names.WEIGHTS_READY]}
    preferred = {"weight": 100, "preference": {"matchExpressions": [has]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
