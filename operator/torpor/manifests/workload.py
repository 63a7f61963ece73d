"""The Deployment and its service account; and why `replicas` is in the first object only.

A field that server-side apply once owned and no longer sends is reset to its default: a Deployment applied with
`replicas: 0` and then without becomes 1, a GPU started by nobody. So the Deployment is created once by a POST under
another field manager, at zero, with the least that the API server takes; everything else is applied, and `replicas`
never is (docs/decisions/0001).
"""

from __future__ import annotations

from typing import Any

from torpor.api.endpoint import InferenceEndpoint
from torpor.manifests import names

Json = dict[str, Any]


def owner_reference(endpoint: InferenceEndpoint) -> Json:
    """Return the reference by which children are deleted with the endpoint, without any finalizer of ours."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.ENDPOINT_KIND,
        "name": endpoint.metadata.name,
        "uid": endpoint.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def service_account(endpoint: InferenceEndpoint) -> Json:
    """Return the account that the endpoint's pods run under; it may do nothing and carries no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(endpoint) | {"name": names.account_name(endpoint.metadata.name)},
        "automountServiceAccountToken": False,
    }


def first_deployment(endpoint: InferenceEndpoint, template: Json) -> Json:
    """Return the object for the one POST: replicas 0 and the least that validation asks for."""
    container = template["spec"]["containers"][0]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(endpoint),
        "spec": {
            "replicas": 0,
            "paused": True,  # woken before it is complete, it must not start this skeleton
            "selector": _selector(endpoint),
            "template": {
                "metadata": {"labels": _selector(endpoint)["matchLabels"]},
                "spec": {
                    "containers": [{"name": container["name"], "image": container["image"]}],
                },
            },
        },
    }


def deployment(endpoint: InferenceEndpoint, template: Json) -> Json:
    """Return what is applied on every pass. `spec.replicas` is absent on purpose."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(endpoint),
        "spec": {
            "paused": False,
            "selector": _selector(endpoint),
            "revisionHistoryLimit": 2,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": template,
        },
    }


def pod_selector(endpoint_name: str) -> str:
    """Return the label selector of an endpoint's engine pods, for `status.selector`."""
    labels = {names.COMPONENT_LABEL: names.COMPONENT_ENGINE, names.ENDPOINT_LABEL: endpoint_name}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _metadata(endpoint: InferenceEndpoint) -> Json:
    return {
        "name": endpoint.metadata.name,
        "namespace": endpoint.metadata.namespace,
        "labels": names.child_labels(endpoint.metadata.name, names.COMPONENT_ENGINE),
        "ownerReferences": [owner_reference(endpoint)],
    }


def _selector(endpoint: InferenceEndpoint) -> Json:
    labels = {
        names.ENDPOINT_LABEL: endpoint.metadata.name,
        names.COMPONENT_LABEL: names.COMPONENT_ENGINE,
    }
    return {"matchLabels": labels}
