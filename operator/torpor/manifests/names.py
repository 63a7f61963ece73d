"""Names, labels and field managers: every string by which torpor's parts find each other.

They are a contract between programs that never import each other (the controller writes the labels that the gateway
selects by), so they stand in one file that both read.
"""

from __future__ import annotations

import hashlib
from typing import Final

GROUP: Final = "torpor.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
ENDPOINTS: Final = "inferenceendpoints"
GPU_CLASSES: Final = "gpuclasses"
ENDPOINT_KIND: Final = "InferenceEndpoint"

FIELD_MANAGER: Final = "torpor"
"""Owner of every applied field. `replicas` is never among them: see `manifests.deployment`."""
CREATE_MANAGER: Final = "torpor-create"
"""Writer of the one POST that makes a Deployment, so that server-side apply never owns `replicas`."""
WAKE_MANAGER: Final = "torpor-gateway"
"""Writer of the guarded 0 → N patch; `managedFields` therefore say who woke an endpoint and when."""
SCALE_MANAGER: Final = "torpor-scaler"
"""Writer of every other change of `replicas` (the controller)."""
STATUS_MANAGER: Final = "torpor-status"

PART_OF: Final = "app.kubernetes.io/part-of"
PART_OF_TORPOR: Final = "torpor"
"""On every pod that the controller watches, engine and gateway alike: one server-side selector for all."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_TORPOR: Final = "torpor"
ENDPOINT_LABEL: Final = "torpor.dev/endpoint"
ENDPOINT_UID_LABEL: Final = "torpor.dev/endpoint-uid"
"""On engine pods: whose they are, when an endpoint was deleted and made again under the same name."""
COMPONENT_LABEL: Final = "torpor.dev/component"
COMPONENT_ENGINE: Final = "engine"
COMPONENT_PREWARM: Final = "prewarm"
COMPONENT_COLLECT: Final = "collect"
COMPONENT_DIRECT: Final = "direct"
SPARE_ANNOTATION = f"{GROUP}/spare"
"""On an engine pod: since when (epoch ms) it gets no new requests, so that it can go when those it has have ended."""
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
"""Which pod of a ReplicaSet goes first: the one with the lowest number, 0 where there is none."""
GPU_CLASS_LABEL: Final = "torpor.dev/gpu-class"
GPU_COUNT_LABEL: Final = "torpor.dev/gpus"
TEMPLATE_HASH: Final = "torpor.dev/template-hash"
SERVED_NAMES: Final = "torpor.dev/served-names"
WEIGHTS_HASH: Final = "torpor.dev/weights"
WEIGHTS_PARTS: Final = "torpor.dev/weights-parts"
"""Hashes of model, draft and adapters, joined by spaces; `WEIGHTS_HASH` names them together."""
WEIGHTS_SPEC: Final = "torpor.dev/weights-spec"
ATTEMPT: Final = "torpor.dev/attempt"
WEIGHTS_ROUTE: Final = "torpor.dev/weights-route"
"""From which region to which other one a Job fetches, joined by a space; absent within one."""
PREWARM_NODE: Final = "torpor.dev/prewarm-node"
PREWARM_KIND: Final = "torpor.dev/prewarm-kind"
WEIGHTS_NODE_PREFIX: Final = "weights.torpor.dev/"
"""Prefix of a node's labels, followed by a hash; the value says how the weights stand there."""
WEIGHTS_READY: Final = "ready"
WEIGHTS_ARRIVING: Final = "arriving"
"""A Job was sent: whatever comes of it, something of these weights may lie on the node's disk."""

SLICE_SERVICE: Final = "kubernetes.io/service-name"
SLICE_MANAGER: Final = "endpointslice.kubernetes.io/managed-by"
SLICE_MANAGED_BY_TORPOR: Final = GROUP
"""Kubernetes' own controller leaves slices alone that it does not manage."""
LED_SINCE: Final = f"{GROUP}/led-since"
"""On the slice of a direct endpoint's engines: since when (epoch ms) it has held those that it holds."""

ENGINE_CONTAINER: Final = "engine"
WEIGHTS_CONTAINER: Final = "weights"
COMPANION_CONTAINER: Final = "companion"
ENGINE_PORT: Final = 8000
ENGINE_PORT_NAME: Final = "http"
DIRECT_PORTS: Final = range(20_000, 30_000)
"""Ports of a gateway at which it takes requests for one direct endpoint each: below those that Linux gives to outgoing
connections."""

MAX_NAME: Final = 63
"""Longest name of a child: label values and Pod host names end there."""


def digest(*parts: str, length: int = 8) -> str:
    """Return a short, stable, lower-case hexadecimal name for *parts*."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def child_name(endpoint: str, *suffix: str) -> str:
    """Return `<endpoint>-<suffix…>`, cut to 63 characters and still unique when it had to be cut."""
    tail = "-".join(suffix)
    full = f"{endpoint}-{tail}"
    if len(full) <= MAX_NAME:
        return full
    mark = digest(endpoint, length=6)
    room = MAX_NAME - len(tail) - len(mark) - 2
    return f"{endpoint[:room].rstrip('-')}-{mark}-{tail}"


def account_name(endpoint: str) -> str:
    """Return the name of the service account that an endpoint's pods run under."""
    return child_name(endpoint, "engine")


def direct_name(endpoint: str) -> str:
    """Return the name of a direct endpoint's Service, which must begin with a letter."""
    return child_name(
        endpoint if endpoint[0].isalpha() else f"n{digest(endpoint, length=6)}-{endpoint}", "direct"
    )


def slice_name(endpoint: str, side: str) -> str:
    """Return the name of the EndpointSlice that holds one side of that Service: `engines` or `gateways`."""
    return child_name(endpoint, "direct", side)


ENGINES_SIDE: Final = "engines"
GATEWAYS_SIDE: Final = "gateways"


def child_labels(endpoint: str, component: str) -> dict[str, str]:
    """Return the labels that every child of *endpoint* carries."""
    return {
        MANAGED_BY: MANAGED_BY_TORPOR,
        PART_OF: PART_OF_TORPOR,
        ENDPOINT_LABEL: endpoint,
        COMPONENT_LABEL: component,
    }
