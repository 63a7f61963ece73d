"""The Service of a direct endpoint, and the two slices of addresses that it leads to: engines, and gateways.

The Service has no selector: Kubernetes would add a pod as soon as it is ready and take it out when it is deleted, but
torpor has to take it out before (docs/decisions/0012). Engines and gateways listen on ports of their own, and a slice
has one list of ports, so there are two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.manifests import names
from torpor.manifests.workload import owner_reference

Json = dict[str, Any]

SERVICE_PORT = 80


@dataclass(frozen=True, slots=True)
class Member:
    """A pod that a Service leads to."""

    uid: str
    name: str
    namespace: str
    ip: str
    node: str | None = None


def service(endpoint: InferenceEndpoint) -> Json:
    """Return the Service that clients use."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint, names.direct_name(endpoint.metadata.name)),
        "spec": {
            "type": "ClusterIP",
            "ports": [
                {
                    "name": names.ENGINE_PORT_NAME,
                    "port": SERVICE_PORT,
                    "targetPort": names.ENGINE_PORT,
                    "protocol": "TCP",
                }
            ],
        },
    }


def service_url(endpoint: InferenceEndpoint) -> str:
    """Return the base URL of the OpenAI API behind that Service."""
    name = names.direct_name(endpoint.metadata.name)
    return f"http://{name}.{endpoint.metadata.namespace}.svc/v1"


def engines_slice(endpoint: InferenceEndpoint, members: Sequence[Member], since_ms: int) -> Json:
    """Return the slice of the engines, which has held those members since that instant (epoch ms)."""
    made = _slice(endpoint, names.ENGINES_SIDE, members, names.ENGINE_PORT)
    made["metadata"]["annotations"] = {names.LED_SINCE: str(since_ms)}
    return made


def gateways_slice(endpoint: InferenceEndpoint, members: Sequence[Member], port: int) -> Json:
    """Return the slice of the gateways, at their *port* for this endpoint."""
    return _slice(endpoint, names.GATEWAYS_SIDE, members, port)


def _slice(endpoint: InferenceEndpoint, side: str, members: Sequence[Member], port: int) -> Json:
    name = endpoint.metadata.name
    metadata = _metadata(endpoint, names.slice_name(name, side))
    metadata["labels"] |= {
        names.SLICE_SERVICE: names.direct_name(name),
        names.SLICE_MANAGER: names.SLICE_MANAGED_BY_TORPOR,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",  # as engines listen; it can never be changed
        "ports": [{"name": names.ENGINE_PORT_NAME, "port": port, "protocol": "TCP"}],
        "endpoints": [_endpoint(member) for member in sorted(members, key=lambda m: m.uid)],
    }


def _endpoint(member: Member) -> Json:
    return {
        "addresses": [member.ip],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        **({"nodeName": member.node} if member.node else {}),
        "targetRef": {
            "kind": "Pod",
            "name": member.name,
            "namespace": member.namespace,
            "uid": member.uid,
        },
    }


def _metadata(endpoint: InferenceEndpoint, name: str) -> Json:
    return {
        "name": name,
        "namespace": endpoint.metadata.namespace,
        "labels": names.child_labels(endpoint.metadata.name, names.COMPONENT_DIRECT),
        "ownerReferences": [owner_reference(endpoint)],
    }
