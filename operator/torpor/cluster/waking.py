"""The one write of the gateway: replicas 0 → N, guarded, on the Deployment's `/scale`.

In the Scale object a zero is left out, so the guard is `test /spec == {}`: the patch applies only to an endpoint that
is asleep. Whoever comes second is refused by the API server, which is success: it is being woken.
"""

from __future__ import annotations

import json

import aiohttp

from torpor.cluster.connect import Api
from torpor.domain.waitroom import WriteOutcome, Written
from torpor.manifests.names import WAKE_MANAGER

_OUTCOMES = {
    # 401 is not among them: a token that is being rotated or an API server that is starting passes;
    # it is tried again.
    403: WriteOutcome.DENIED,
    404: WriteOutcome.MISSING,
    409: WriteOutcome.RACE_LOST,
    422: WriteOutcome.RACE_LOST,
}


class Waker:
    """Wakes Deployments; never raises for what the API server or the network does."""

    def __init__(self, api: Api, seconds: float) -> None:
        """Give each write *seconds* to be answered."""
        self._api = api
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def wake(self, namespace: str, name: str, replicas: int) -> Written:
        """Write *replicas* if there are none now, and say how it went."""
        try:
            response = await self._api.send(
                "PATCH",
                f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
                query=[("fieldManager", WAKE_MANAGER)],
                body=[
                    {"op": "test", "path": "/spec", "value": {}},
                    {"op": "add", "path": "/spec/replicas", "value": replicas},
                ],
                content_type="application/json-patch+json",
                timeout=self._timeout,
            )
            async with response:
                return _read(response.status, await response.read(), replicas)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the API server cannot be reached ({str(error) or 'no answer in time'})"
            return Written(WriteOutcome.FAILED, message=message)


def _read(status: int, body: bytes, replicas: int) -> Written:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if status == 200:
        version = str((answer.get("metadata") or {}).get("resourceVersion") or "")
        return Written(
            WriteOutcome.WRITTEN,
            replicas=int((answer.get("spec") or {}).get("replicas") or replicas),
            version=int(version) if version.isdecimal() else None,
        )
    outcome = _OUTCOMES.get(status, WriteOutcome.FAILED)
    words = str(answer.get("message") or "no message")[:256]
    return Written(outcome, message=f"the API server answered {status}: {words}")
