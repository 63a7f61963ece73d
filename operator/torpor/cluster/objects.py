"""Create, apply, scale, label and delete objects; a refusal becomes a `Waiting` or a `Stalled`.

Bodies and answers are plain dictionaries. Reading is not here: programs know the cluster by watching it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import aiohttp

from torpor.cluster.connect import Api
from torpor.errors import Stalled, TorporError, Waiting
from torpor.manifests import names

Json = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_TIMEOUT = aiohttp.ClientTimeout(total=15)
_RETRY = timedelta(seconds=2)
_PLURALS = {
    "Deployment": "deployments",
    "Job": "jobs",
    "ServiceAccount": "serviceaccounts",
    "Event": "events",
    "Pod": "pods",
    "Node": "nodes",
    "InferenceEndpoint": names.ENDPOINTS,
    "Lease": "leases",
    "Service": "services",
    "EndpointSlice": "endpointslices",
}


class Conflict(Waiting):
    """The object is not (or no longer) what the write was decided on: look again at once."""


class Missing(Waiting):
    """The object, or its namespace, is gone."""


class Objects:
    """Writes to the API server under torpor's field managers."""

    def __init__(self, api: Api) -> None:
        """Use *api* for every request."""
        self._api = api

    async def apply(self, obj: Json) -> Json:
        """Server-side apply *obj*, taking over fields that others set; fields of others stay."""
        query = [("fieldManager", names.FIELD_MANAGER), ("force", "true")]
        return await self._send("PATCH", path_of(obj), query, obj, APPLY)

    async def read(self, obj: Json) -> Json:
        """Return the object of *obj*'s kind and name as the server has it.

        Raises:
            Missing: There is none.
        """
        return await self._send("GET", path_of(obj), [], None)

    async def create(self, obj: Json, manager: str = names.CREATE_MANAGER) -> Json | None:
        """POST *obj*; None if an object of that name exists already."""
        collection = path_of(obj).rsplit("/", 1)[0]
        try:
            return await self._send("POST", collection, [("fieldManager", manager)], obj)
        except Conflict:
            return None

    async def scale(self, namespace: str, name: str, replicas: int, resource_version: str) -> int:
        """Write `replicas` of a Deployment if it still is what the decision was made on.

        Raises:
            Conflict: It has changed since, for example because a gateway woke it; decide again.
        """
        body = {"metadata": {"resourceVersion": resource_version}, "spec": {"replicas": replicas}}
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
        answer = await self._send(
            "PATCH", path, [("fieldManager", names.SCALE_MANAGER)], body, MERGE
        )
        return int(answer.get("spec", {}).get("replicas", 0))

    async def write_status(self, endpoint: Json, status: Json) -> Json:
        """Write the whole status of an endpoint as one merge patch, guarded by its resourceVersion.

        `status` must say null for what is to be removed; see `torpor.controller.writing.patch_between`.
        """
        version = endpoint["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "status": status}
        query = [("fieldManager", names.STATUS_MANAGER)]
        return await self._send("PATCH", f"{path_of(endpoint)}/status", query, body, MERGE)

    async def label_node(self, node: str, labels: dict[str, str | None]) -> None:
        """Set (or with None remove) labels of a node."""
        body = {"metadata": {"labels": labels}}
        await self._send(
            "PATCH", f"/api/v1/nodes/{node}", [("fieldManager", names.FIELD_MANAGER)], body, MERGE
        )

    async def delete(self, obj: Json) -> None:
        """Delete *obj* if it is still the same one, its dependents in the background; gone already is fine."""
        body = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": obj["metadata"]["uid"]},
        }
        try:
            await self._send("DELETE", path_of(obj), [], body)
        except (Missing, Conflict):
            return

    async def hurry_pod(self, namespace: str, name: str, uid: str, grace_seconds: int) -> None:
        """Give a pod that is being deleted less time to end; it is gone already when it is another one."""
        body = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        try:
            await self._send("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", [], body)
        except (Missing, Conflict):
            return

    async def mark_pod(
        self, namespace: str, name: str, uid: str, annotations: dict[str, str | None]
    ) -> None:
        """Set (or with None remove) annotations of a pod; nothing happens if it is gone, or another one by now."""
        body = {"metadata": {"uid": uid, "annotations": annotations}}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        try:
            await self._send("PATCH", path, [("fieldManager", names.FIELD_MANAGER)], body, MERGE)
        except (Missing, Conflict):
            return

    async def read_log(self, namespace: str, pod: str, limit: int, previous: bool) -> str:
        """Return the last *limit* bytes of the engine's log, of its previous run if it has been started again."""
        query = [
            ("container", names.ENGINE_CONTAINER),
            ("tailLines", "600"),
            ("limitBytes", str(limit)),
            ("previous", "true" if previous else "false"),
        ]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return (await self._ask("GET", path, query, None, "application/json")).decode(
            "utf-8", "replace"
        )

    async def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Json | None,
        content_type: str = "application/json",
    ) -> Json:
        found: Json = json.loads(await self._ask(method, path, query, body, content_type))
        return found

    async def _ask(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Json | None,
        content_type: str,
    ) -> bytes:
        try:
            response = await self._api.send(
                method, path, query=query, body=body, content_type=content_type, timeout=_TIMEOUT
            )
            async with response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the API server cannot be reached ({str(error) or 'no answer in time'})"
            raise Waiting("ApiUnreachable", message, after=_RETRY) from error
        if status < 300:
            return answer
        raise _refusal(status, answer, f"{method} {path}")


def path_of(obj: Json) -> str:
    """Return the URL path of *obj*."""
    version, kind, metadata = obj["apiVersion"], obj["kind"], obj["metadata"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    namespace = metadata.get("namespace")
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{middle}/{_PLURALS[kind]}/{metadata['name']}"


def _refusal(status: int, body: bytes, what: str) -> TorporError:
    try:
        words = str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        words = body[:256].decode("utf-8", "replace")
    words = words[:512] or f"status {status}"
    if status == 409:
        return Conflict("Conflict", words, after=timedelta())
    if status == 404:
        return Missing("NotFound", words, after=_RETRY)
    if status in (400, 403, 422):
        return Stalled("DeploymentRefused", f"the API server refused {what}: {words}")
    return Waiting("ApiError", f"{what} was answered {status}: {words}", after=_RETRY)
