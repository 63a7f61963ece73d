"""The engines' own word on what they run, queue and hold: before an endpoint is put to sleep, and while it may grow."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Iterable
from typing import TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from torpor.domain.counting import Count
from torpor.domain.engineload import EngineLoad
from torpor.domain.observation import PodSeen, Tokens
from torpor.manifests import names

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""Under its older name with releases before 0.10."""
_READ = (_RUNNING, _WAITING, *_KV_USE)
_FINISHED = "vllm:request_success_total"
_PROMPT = "vllm:prompt_tokens_total"
_GENERATED = "vllm:generation_tokens_total"
_CACHED = ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total")
"""The second with releases that have no counter of cached prompt tokens."""
_COUNTED = (_RUNNING, _WAITING, _FINISHED, _PROMPT, _GENERATED, *_CACHED)
TIMEOUT_SECONDS = 2.0

Word = TypeVar("Word")


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
        return await self._read(pod, load_of)

    async def count(self, pod: PodSeen) -> Count | None:
        """Return what the engine of a pod has counted; None if it does not answer, or does not count."""
        return await self._read(pod, count_of)

    async def _read(self, pod: PodSeen, read: Callable[[str], Word]) -> Word | None:
        host = f"[{pod.ip}]" if ":" in (pod.ip or "") else pod.ip
        try:
            answer = await self._client.get(f"http://{host}:{names.ENGINE_PORT}/metrics")
            answer.raise_for_status()
            return read(answer.text)
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
    found = _samples(metrics, _READ)
    use = next((values for name in _KV_USE if (values := found.get(name))), [0.0])
    return EngineLoad(
        int(sum(found.get(_RUNNING, ()))),
        int(sum(found.get(_WAITING, ()))),
        _share(sum(use) / len(use)),
    )


def count_of(metrics: str) -> Count:
    """Return what an engine has counted by its metrics page; its parts (data parallel) add up.

    Raises:
        ValueError, OverflowError: The page is none, or does not tell what runs, or a number of it is none.
    """
    found = _samples(metrics, _COUNTED)
    if _RUNNING not in found:
        raise ValueError(f"there is no {_RUNNING}")
    cached = next((found[name] for name in _CACHED if name in found), [])
    return Count(
        int(sum((*found[_RUNNING], *found.get(_WAITING, ())))),
        int(sum(found.get(_FINISHED, ()))),
        Tokens(
            int(sum(found.get(_PROMPT, ()))), int(sum(found.get(_GENERATED, ()))), int(sum(cached))
        ),
    )


def _samples(metrics: str, names: tuple[str, ...]) -> dict[str, list[float]]:
    """Read only these: a page has hundreds of histogram samples, and parsing them takes a hundred times as long."""
    wanted = [line for line in metrics.splitlines() if line.startswith(names)]
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families("\n".join((*wanted, ""))):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


def _share(value: float) -> float:
    """A part of a whole; what is no number says nothing."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
