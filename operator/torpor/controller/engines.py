"""The engines' own word on whether they are idle: asked right before an endpoint is put to sleep."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from torpor.domain.observation import PodSeen
from torpor.manifests import names

BUSY = frozenset({"vllm:num_requests_running", "vllm:num_requests_waiting"})
TIMEOUT_SECONDS = 2.0


class Engines:
    """Reads the engines' counters."""

    def __init__(self) -> None:
        """Open no connection yet."""
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP: no certificates need be read
        self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, verify=nobody)

    async def busy(self, pods: Iterable[PodSeen]) -> int:
        """Return the requests that engines run or queue, all pods together.

        A pod that does not answer adds nothing: it cannot be working for a gateway that says it has nothing in flight,
        and an engine without these counters must not stay awake for ever.
        """
        asked = [pod for pod in pods if pod.ip and pod.ready]
        return sum(await asyncio.gather(*(self._busy(str(pod.ip)) for pod in asked)))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _busy(self, ip: str) -> int:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            answer = await self._client.get(f"http://{host}:{names.ENGINE_PORT}/metrics")
            answer.raise_for_status()
            return int(running_or_waiting(answer.text))
        except (httpx.HTTPError, ValueError, OverflowError):
            return 0


def running_or_waiting(metrics: str) -> float:
    """Return the sum of the engine's running and waiting requests from its metrics page."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name in BUSY
    )
