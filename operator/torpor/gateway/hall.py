"""All desks of this gateway, and what the three watches tell them.

Facts are kept apart from desks, because the Deployment or the pods of an endpoint may be seen before the endpoint is.
What was learnt stays when a watch breaks: requests to endpoints that are awake need no API server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torpor import clock
from torpor.domain.refusals import ending, removal
from torpor.gateway.catalogue import Entry, read_entry, read_version
from torpor.gateway.desk import Desk
from torpor.gateway.directory import Directory
from torpor.gateway.fading import Fading
from torpor.gateway.pods import read_key
from torpor.gateway.roster import Roster
from torpor.gateway.tally import KEPT_MS, Tally
from torpor.gateway.tools import Tools

Json = dict[str, Any]
log = logging.getLogger(__name__)


class Hall:
    """Every endpoint, Deployment and engine pod that this gateway knows of."""

    def __init__(self, tools: Tools) -> None:
        """Start knowing nothing."""
        self.directory = Directory()
        self.tools = tools
        self.tallies: dict[str, Tally] = {}
        self.roster = Roster()
        self.desks: dict[str, Desk] = {}
        """Of every endpoint that the directory has, by its key."""
        self.fading = Fading(tools.metrics)
        self.told: Callable[[str, Entry | None], None] = lambda _key, _entry: None
        """Hears of every endpoint that changed, and with None of one that is gone."""
        self.doors: Callable[[], dict[str, int]] = dict[str, int]
        """Gives the port that is open for each direct endpoint."""
        self.endpoints = Ears(_own_key, self._endpoint_changed, self._endpoint_removed)
        self.deployments = Ears(read_key, self._deployment_changed, self._deployment_removed)
        self.pods = Ears(_pod_key, self._pod_changed, self._pod_removed)
        self._replicas: dict[str, tuple[int, int | None]] = {}

    def end_waiting(self) -> None:
        """Answer everybody who still waits: the gateway ends."""
        for desk in self.desks.values():
            desk.close(ending())

    def forget_the_gone(self) -> None:
        """Drop what has been told for ten minutes about pods and endpoints that are gone."""
        now_ms = clock.now_ms()
        self.roster.forget_until(now_ms - KEPT_MS)
        self.fading.drop(now_ms)
        for key in self.tallies.keys() - self.desks.keys() - self.roster.keys:
            if not self.tallies[key].in_flight:
                del self.tallies[key]

    def _endpoint_changed(self, key: str, obj: Json) -> None:
        before = self.directory.entries.get(key)
        entry = read_entry(obj, before)
        self.directory.put(entry)
        self.fading.changed(before, entry, clock.now_ms())
        self.told(key, entry)
        desk = self.desks.get(key)
        if desk is not None and desk.entry.uid == entry.uid:
            desk.told_entry(entry)
            return
        if desk is not None:
            desk.remove(removal(entry.terms))
        self._open(key, entry)

    def _open(self, key: str, entry: Entry) -> None:
        """Open a desk with an empty tally: a namesake that was deleted is another endpoint, with pods of its own."""
        tally = self.tallies[key] = Tally(entry.uid)
        self.roster.forget_before(key, entry.uid)
        desk = self.desks[key] = Desk(entry, tally, self.tools)
        if key in self._replicas:
            desk.told_deployment(*self._replicas[key])
        self._tell_pods(key)

    def _endpoint_removed(self, key: str, _: Json | None) -> None:
        self.directory.drop(key)
        self.told(key, None)
        if (desk := self.desks.pop(key, None)) is not None:
            desk.remove(removal(desk.entry.terms))
            self.fading.changed(desk.entry, None, clock.now_ms())

    def _deployment_changed(self, key: str, obj: Json) -> None:
        replicas = int((obj.get("spec") or {}).get("replicas") or 0)
        known = self._replicas[key] = (replicas, read_version(obj) or None)
        if (desk := self.desks.get(key)) is not None:
            desk.told_deployment(*known)

    def _deployment_removed(self, key: str, _: Json | None) -> None:
        self._replicas.pop(key, None)
        if (desk := self.desks.get(key)) is not None:
            desk.told_deployment(None, None)

    def _pod_changed(self, place: str, obj: Json) -> None:
        key, _ = place.split()
        self.roster.put(key, obj)
        self._tell_pods(key)

    def _pod_removed(self, place: str, obj: Json | None) -> None:
        key, uid = place.split()
        self.roster.remove(key, uid, obj, clock.now_ms())
        self._tell_pods(key)

    def _tell_pods(self, key: str) -> None:
        if (desk := self.desks.get(key)) is not None:
            desk.told_pods(self.roster.facts(key, desk.entry.uid))


class Ears:
    """A `Listener` that knows which keys there are, so that a list can tell what is gone."""

    def __init__(
        self,
        read: Callable[[Json], str | None],
        changed: Callable[[str, Json], None],
        removed: Callable[[str, Json | None], None],
    ) -> None:
        """Call *changed* and *removed* with the key that *read* finds; objects without one are ignored."""
        self.heard = False
        """Whether a first list has come: until then, not to know a key says nothing."""
        self._read = read
        self._changed = changed
        self._removed = removed
        self._keys: set[str] = set()

    def replace(self, objects: list[Json]) -> None:
        """Take in all objects there are."""
        self.heard = True
        there = {key for obj in objects if (key := self._read(obj)) is not None}
        for key in self._keys - there:
            self._keys.discard(key)
            self._removed(key, None)
        for obj in objects:
            self.change(obj)

    def change(self, obj: Json) -> None:
        """Take in one object; one that cannot be read must not hide the others."""
        if (key := self._read(obj)) is not None:
            self._keys.add(key)
            try:
                self._changed(key, obj)
            except Exception:
                log.exception("%s: cannot be read; what was known of it stays", key)

    def remove(self, obj: Json) -> None:
        """Take in that one is gone."""
        if (key := self._read(obj)) is not None and key in self._keys:
            self._keys.discard(key)
            self._removed(key, obj)


def _own_key(obj: Json) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _pod_key(obj: Json) -> str | None:
    key = read_key(obj)
    return f"{key} {obj['metadata']['uid']}" if key else None
