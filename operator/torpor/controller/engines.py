"""The engines' own word on what they run, queue and hold: before an endpoint is put to sleep, and while it may grow."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Iterable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from torpor.domain.engineload import EngineLoad
from torpor.domain.observation import PodSeen
from torpor.manifests import names

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""Under its older name with releases before 0.10."""
_READ = (_RUNNING, _WAITING, *_KV_USE)
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
        loads = await asyncio.gather(*(self.load(pod) for pod in asked))
        return sum(load.requests for load in loads if load is not None)

    async def load(self, pod: PodSeen) -> EngineLoad | None:
        """Return what the engine of a pod says; None if it does not answer, or says nothing that can be read."""
        host = f"[{pod.ip}]" if ":" in (pod.ip or "") else pod.ip
        try:
            answer = await self._client.get(f"http://{host}:{names.ENGINE_PORT}/metrics")
            answer.raise_for_status()
            return load_of(answer.text)
        except (httpx.HTTPError, ValueError, OverflowError):
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def load_of(metrics: str) -> EngineLoad:
    """Return what an engine's metrics page says; counters that it does not have are 0.

    An engine of several parts (data parallel) has a sample for each: requests add up, the cache's use is their mean.

    Raises:
        ValueError, OverflowError: The page is none, or a number of it is.
    """
    # A page has hundreds of histogram samples; parsing those as well takes a hundred times as long.
    wanted = [line for line in metrics.splitlines() if line.startswith(_READ)]
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families("\n".join((*wanted, ""))):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    use = next((values for name in _KV_USE if (values := found.get(name))), [0.0])
    return EngineLoad(
        int(sum(found.get(_RUNNING, ()))),
        int(sum(found.get(_WAITING, ()))),
        _share(sum(use) / len(use)),
    )


def _share(value: float) -> float:
    """A part of a whole; what is no number says nothing."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
