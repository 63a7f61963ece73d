"""Ask the pods that bring weights, once a second, how far they are: Jobs' pods, and engines' that fetch themselves.

Progress is for people and costs nobody anything: a pod that cannot be asked is shown without figures, and who asks is
not the API server but the pod's own address.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from torpor.controller.polling import repeat
from torpor.controller.seen import Key, Seen
from torpor.domain.prewarmjobs import Progress
from torpor.manifests import names
from torpor.manifests.weights import PROGRESS_PORT

Json = dict[str, Any]
log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0
MOST_AT_ONCE = 32


class ProgressPoller:
    """Keeps the last word of every pod that fetches, by pod uid."""

    def __init__(self, seen: Seen, touch: Callable[[Key], None], port: int = PROGRESS_PORT) -> None:
        """Ask the pods of *seen*; call *touch* for each endpoint whose figures moved."""
        self._seen = seen
        self._touch = touch
        self._port = port
        self.heard: dict[str, Progress] = {}
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=MOST_AT_ONCE),
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # plain HTTP: nobody needs be trusted
        )

    async def run(self) -> None:
        """Poll until cancelled."""
        await repeat(self.ask, PERIOD_SECONDS)

    async def ask(self) -> None:
        """Ask every pod that fetches now."""
        pods = list(self._fetching())
        answers = await asyncio.gather(*(self._read(ip) for _, _, ip in pods))
        fresh: dict[str, Progress] = {}
        for (key, uid, _), answer in zip(pods, answers, strict=True):
            last = self.heard.get(uid)
            said = answer or last
            if said is not None:
                fresh[uid] = said
            if answer is not None and answer != last:
                self._touch(key)
        self.heard = fresh

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _fetching(self) -> Iterator[tuple[Key, str, str]]:
        """Endpoint, uid and address of each pod in which `torpor prewarm` runs at this moment."""
        for key in list(self._seen.endpoints):
            for component in (names.COMPONENT_PREWARM, names.COMPONENT_ENGINE):
                for pod in self._seen.pods_of(key, component):
                    ip = (pod.get("status") or {}).get("podIP")
                    if ip and is_fetching(pod):
                        yield key, pod["metadata"]["uid"], ip

    async def _read(self, ip: str) -> Progress | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            answer = await self._client.get(f"http://{host}:{self._port}/progress")
            answer.raise_for_status()
            return progress_of(answer.json())
        except (httpx.HTTPError, ValueError) as error:
            log.debug("progress of %s: %s", ip, error)
            return None


def is_fetching(pod: Json) -> bool:
    """Whether the container that brings weights runs."""
    status = pod.get("status") or {}
    containers = (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    )
    return any(
        c["name"] == names.WEIGHTS_CONTAINER and "running" in (c.get("state") or {})
        for c in containers
    )


def progress_of(said: Any) -> Progress | None:
    """Return what a pod said; None for anything that is no progress."""
    if not isinstance(said, dict) or not said.get("total"):
        return None
    left = said.get("secondsLeft")
    try:
        return Progress(
            bytes=max(0, int(said.get("bytes") or 0)),
            total=int(said["total"]),
            bytes_per_second=max(0, int(said.get("bytesPerSecond") or 0)),
            seconds_left=None if left is None else max(0.0, float(left)),
        )
    except (TypeError, ValueError):
        return None
