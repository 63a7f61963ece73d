"""The engine's pod: vLLM's arguments, probes, drain and security, with the user's template merged last.

Facts this relies on were measured on real vLLM 0.32 (dev/vllm/README.md): the port is refused until the model is
loaded, `/health` answers 503 only when the engine died, and on SIGTERM `--shutdown-timeout` lets streams finish while
new requests are refused. So a pod that is told to end keeps serving for the seconds of `preStop` (every gateway has
seen the deletion by then), finishes what runs for up to a minute, and is given time for its own teardown. As process 1
vLLM takes the whole grace period to end (93 s); in a shared process namespace, where it is not, 3 s.
"""

from __future__ import annotations

import json
from typing import Any, cast

from torpor.api.endpoint import InferenceEndpoint
from torpor.domain.placement import Placement
from torpor.manifests import names
from torpor.manifests.merge import merge
from torpor.manifests.setting import Installation
from torpor.manifests.weights import prewarm_container, weights_dir, weights_volumes

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
    weights_hash: str,
    weights_bytes: int,
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
    ensure = prewarm_container(
        endpoint, installation, names.WEIGHTS_CONTAINER, ["ensure", "--hash", weights_hash]
    )
    notes = {
        names.WEIGHTS_HASH: weights_hash,
        names.SERVED_NAMES: " ".join(endpoint.served_names),
    }
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
            "affinity": _near_weights(weights_hash),
            "initContainers": [ensure],
            "containers": [_engine(endpoint, placement, weights_hash, weights_bytes, installation)],
            "volumes": [
                *weights_volumes(endpoint, installation),
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
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


def engine_args(endpoint: InferenceEndpoint, gpus: int, model_dir: str) -> list[str]:
    """Return the arguments of `vllm serve`; the user's own come last."""
    model = endpoint.spec.model
    args = [model_dir, "--served-model-name", *endpoint.served_names]
    args += ["--host", "0.0.0.0", "--port", str(names.ENGINE_PORT)]
    args += ["--shutdown-timeout", str(SHUTDOWN_SECONDS)]
    if model.max_length is not None:
        args += ["--max-model-len", str(model.max_length)]
    if model.quantization is not None:
        args += ["--quantization", model.quantization]
    if gpus > 1:
        args += ["--tensor-parallel-size", str(gpus)]
    return [*args, *endpoint.spec.engine.args]


def _engine(
    endpoint: InferenceEndpoint,
    placement: Placement,
    weights_hash: str,
    weights_bytes: int,
    installation: Installation,
) -> Json:
    assert placement.gpu_class is not None
    model_dir = weights_dir(installation, weights_hash)
    own_env = [
        {"name": "HF_HUB_OFFLINE", "value": "1"},
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
    ]
    devices = {placement.gpu_class.resource: str(placement.gpus)}
    return {
        "name": names.ENGINE_CONTAINER,
        "image": endpoint.spec.engine.image or installation.engine_image,
        "imagePullPolicy": installation.image_pull_policy,
        "args": engine_args(endpoint, placement.gpus, model_dir),
        "env": merge(
            {"env": own_env}, {"env": [env.to_dict() for env in endpoint.spec.engine.env]}
        )["env"],
        "ports": [
            {"name": names.ENGINE_PORT_NAME, "containerPort": names.ENGINE_PORT, "protocol": "TCP"}
        ],
        "resources": {"limits": devices, "requests": devices},
        "startupProbe": _probe(
            period=1, failures=START_SECONDS + weights_bytes // LOAD_BYTES_PER_SECOND
        ),
        "readinessProbe": _probe(period=5, failures=2),
        "livenessProbe": _probe(period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {
                "name": "torpor-weights",
                "mountPath": model_dir,
                "subPath": f"models/{weights_hash}",  # this endpoint's weights, not everybody's
                "readOnly": True,
            },
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
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
    has = {"key": f"{names.WEIGHTS_NODE_PREFIX}{weights_hash}", "operator": "Exists"}
    preferred = {"weight": 100, "preference": {"matchExpressions": [has]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
