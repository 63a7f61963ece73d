"""Every engine pod that this gateway saw: those there are, and for ten minutes those that are gone.

A pod belongs to an endpoint by name; its uid label says which one, when an endpoint was deleted and made again under
the same name. Both are kept here, and each is given its own, in whatever order the watches speak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torpor.domain.waitroom import PodFacts
from torpor.gateway.pods import read_facts, read_owner, read_sighting

Json = dict[str, Any]


@dataclass(slots=True)
class _Seen:
    """One pod."""

    owner: str | None
    """uid of the endpoint it was made for; None for a pod from before there was such a label."""
    facts: PodFacts | None
    """None once it is gone."""
    sighting: Json

    def belongs(self, uid: str | None) -> bool:
        return uid is None or self.owner is None or self.owner == uid


class Roster:
    """Engine pods by `namespace/name` of their endpoint, then by uid."""

    def __init__(self) -> None:
        """Start with none."""
        self._pods: dict[str, dict[str, _Seen]] = {}

    @property
    def keys(self) -> set[str]:
        """Return the endpoints that pods were seen of."""
        return set(self._pods)

    def put(self, key: str, obj: Json) -> None:
        """Take in a pod as it is now."""
        facts, pods = read_facts(obj), self._pods.setdefault(key, {})
        before = pods.get(facts.uid)
        sighting = read_sighting(obj, before.sighting if before is not None else None)
        pods[facts.uid] = _Seen(read_owner(obj), facts, sighting)

    def remove(self, key: str, uid: str, obj: Json | None, now_ms: int) -> None:
        """Take in that a pod is gone, with its last state if that was told."""
        seen = self._pods[key][uid]
        last = read_sighting(obj, seen.sighting) if obj is not None else seen.sighting
        seen.facts, seen.sighting = None, last | {"goneAtMs": now_ms}

    def facts(self, key: str, endpoint: str) -> list[PodFacts]:
        """Return the pods there are of the endpoint with the uid *endpoint*."""
        pods = self._pods.get(key, {}).values()
        return [seen.facts for seen in pods if seen.facts is not None and seen.belongs(endpoint)]

    def sightings(self, key: str, endpoint: str | None) -> dict[str, Json]:
        """Return what was seen of the pods of that endpoint; of all of that name if its uid is not known."""
        pods = self._pods.get(key, {})
        return {uid: seen.sighting for uid, seen in pods.items() if seen.belongs(endpoint)}

    def forget_before(self, key: str, endpoint: str) -> None:
        """Drop the pods that are gone and, as far as is known, were not of the endpoint that begins now."""
        self._drop(key, lambda seen: seen.facts is None and seen.owner != endpoint)

    def forget_until(self, then_ms: int) -> None:
        """Drop the pods that were gone before then."""
        for key in self.keys:
            self._drop(key, lambda seen: seen.facts is None and seen.sighting["goneAtMs"] < then_ms)

    def _drop(self, key: str, gone: Callable[[_Seen], bool]) -> None:
        pods = self._pods.get(key, {})
        for uid in [uid for uid, seen in pods.items() if gone(seen)]:
            del pods[uid]
        if not pods:
            self._pods.pop(key, None)
