"""Ask the engines of endpoints that may have more replicas, every few seconds, how full they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from torpor import clock
from torpor.controller.engines import Engines
from torpor.controller.polling import repeat
from torpor.controller.seen import Key, Seen
from torpor.domain.engineload import NOBODY, Asking, Looks, looked
from torpor.domain.observation import PodSeen
from torpor.manifests import names

PERIOD_SECONDS = 5.0


class LoadPoller:
    """Keeps what each endpoint's engines ask for; a controller that has just started begins to look anew."""

    def __init__(self, seen: Seen, engines: Engines, touch: Callable[[Key], None]) -> None:
        """Ask the pods of *seen* through *engines*; call *touch* for each endpoint that asks for another number."""
        self._seen = seen
        self._engines = engines
        self._touch = touch
        self._looks: dict[Key, Looks] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        await repeat(self.ask, PERIOD_SECONDS)

    async def ask(self) -> None:
        """Ask every engine now; an endpoint of which one does not answer is as it was."""
        asked = dict(self._growing(clock.now_ms()))
        for key in self._looks.keys() - asked.keys():
            del self._looks[key]
        await asyncio.gather(*(self._look(key, pods) for key, pods in asked.items()))

    def asking(self, key: Key) -> Asking:
        """Return what an endpoint's engines ask for."""
        looks = self._looks.get(key)
        return NOBODY if looks is None else looks.asking

    async def _look(self, key: Key, pods: list[PodSeen]) -> None:
        loads = await asyncio.gather(*(self._engines.load(pod) for pod in pods))
        known = [load for load in loads if load is not None]
        if len(known) < len(pods):
            return
        before = self.asking(key)
        self._looks[key] = looked(self._looks.get(key, Looks()), known)
        if self.asking(key).replicas != before.replicas:
            self._touch(key)

    def _growing(self, now_ms: int) -> Iterator[tuple[Key, list[PodSeen]]]:
        """Endpoints whose number of replicas is not given by the spec alone, and their pods that are ready."""
        for key, obj in list(self._seen.endpoints.items()):
            scaling = (obj.get("spec") or {}).get("scaling") or {}
            if int(scaling.get("maxReplicas") or 1) <= 1:
                continue
            if not self._seen.pods_of(key, names.COMPONENT_ENGINE):
                continue
            ready = [pod for pod in self._seen.engine_pods(key, now_ms) if pod.ready and pod.ip]
            if ready:
                yield key, ready
