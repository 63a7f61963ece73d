"""Ask the engines of direct endpoints, once a second, what they have been asked: no gateway sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from torpor import clock
from torpor.controller.engines import Engines
from torpor.controller.polling import repeat
from torpor.controller.seen import Key, Seen
from torpor.domain.counting import ended, first_read, read_again, with_engines
from torpor.domain.observation import Demand, EngineReport, PodSeen, Tokens
from torpor.domain.remembering import engine_source

PERIOD_SECONDS = 1.0


class CounterPoller:
    """Keeps what each engine of a direct endpoint has counted; what a controller forgets is in the status."""

    def __init__(self, seen: Seen, engines: Engines, touch: Callable[[Key], None]) -> None:
        """Ask the pods of *seen* through *engines*; call *touch* for each endpoint whose engines did anything."""
        self._seen = seen
        self._engines = engines
        self._touch = touch
        self._known: dict[Key, dict[str, EngineReport]] = {}
        """By uid of the pod."""
        self._silent: dict[Key, frozenset[str]] = {}
        """uids of the pods whose engines did not answer last."""

    async def run(self) -> None:
        """Poll until cancelled."""
        await repeat(self.ask, PERIOD_SECONDS)

    async def ask(self) -> None:
        """Ask every engine now."""
        now_ms, keys = clock.now_ms(), list(self._direct())
        for key in self._known.keys() - set(keys):
            del self._known[key]
            self._silent.pop(key, None)
        await asyncio.gather(*(self.ask_of(key, now_ms) for key in keys))

    async def ask_of(self, key: Key, now_ms: int) -> None:
        """Ask the engines of one endpoint now, if it is direct."""
        if not is_direct(self._seen, key):
            return
        pods = self._seen.engine_pods(key, now_ms)
        before, silent = self._known.get(key, {}), set[str]()
        known = {
            pod.uid: replace(last, over=False) if _answers(pod) else ended(last)
            for pod in pods
            if (last := before.get(pod.uid)) is not None
        }
        asked = [pod for pod in pods if _answers(pod)]
        counts = await asyncio.gather(*(self._engines.count(pod) for pod in asked))
        for pod, count in zip(asked, counts, strict=True):
            if count is None:
                silent.add(pod.uid)
                continue
            last, at_ms = known.get(pod.uid), clock.now_ms()
            begun = EngineReport(pod.uid, pod.name, pod.engine_started_ms or 0)
            if last is not None:
                begun = replace(begun, busy=ended(last).busy)
            if last is None or last.started_ms != begun.started_ms:
                known[pod.uid] = first_read(begun, count, self._told(key, begun), at_ms)
            else:
                known[pod.uid] = read_again(last, count, at_ms)
        changed = _words(before.values()) != _words(known.values())
        changed = changed or self._silent.get(key) != frozenset(silent)
        self._known[key], self._silent[key] = known, frozenset(silent)
        if changed:
            self._touch(key)

    def completed(self, key: Key, demand: Demand) -> Demand:
        """Return what the gateways say of an endpoint, of a direct one completed by its engines' word."""
        if not is_direct(self._seen, key):
            return demand
        known, unheard = self._known.get(key, {}), self._silent.get(key, frozenset())
        pods = self._seen.engine_pods(key, clock.now_ms())
        silent = [
            pod.name
            for pod in pods
            if _answers(pod) and (pod.uid not in known or pod.uid in unheard)
        ]
        return with_engines(demand, known.values(), silent)

    def _told(self, key: Key, engine: EngineReport) -> Tokens | None:
        """What the status remembers of an engine's tokens."""
        status = self._seen.endpoints.get(key, {}).get("status") or {}
        for source in (status.get("tokens") or {}).get("sources") or ():
            same = source.get("gateway") == engine_source(engine.name)
            if same and source.get("startedAtMs") == engine.started_ms:
                counted = (source.get(kind) for kind in ("prompt", "completion", "cached"))
                return Tokens(*(int(number or 0) for number in counted))
        return None

    def _direct(self) -> Iterator[Key]:
        for key in list(self._seen.endpoints):
            if is_direct(self._seen, key):
                yield key


def is_direct(seen: Seen, key: Key) -> bool:
    """Whether an endpoint's clients may reach its engines past the gateways."""
    obj = seen.endpoints.get(key) or {}
    return bool(((obj.get("spec") or {}).get("access") or {}).get("direct"))


def _answers(pod: PodSeen) -> bool:
    return pod.ready and bool(pod.ip) and pod.deleted_ms is None and pod.gone_ms is None


def _words(engines: Iterable[EngineReport]) -> set[tuple[str, int, int | None]]:
    return {(engine.uid, engine.requests, engine.last_active_ms) for engine in engines}
