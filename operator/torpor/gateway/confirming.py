"""No request is refused for a state that is over: the API server is asked first whether an endpoint still says no.

A watch is some milliseconds behind, and more on a busy machine: whoever waited with `kubectl wait` until the endpoint
was ready, and then asked, would be told what was wrong before. A read is shared by all who came before it began, and
an endpoint is read at most ten times a second however many are refused. If nobody answers, what was told last counts.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from torpor import clock
from torpor.gateway.catalogue import Entry, read_version
from torpor.gateway.hall import Hall
from torpor.manifests.names import ENDPOINTS, GROUP, VERSION

Json = dict[str, Any]

PAUSE_SECONDS = 0.1
"""Time between two reads of one endpoint."""


class Reads(Protocol):
    """Whoever can read one object as it is now."""

    async def read(self, path: str) -> Json | None:
        """Return the object at *path*, not older than this call; None if it is gone or nobody can tell."""
        ...


class Confirmer:
    """Brings what the hall knows of an endpoint up to this instant."""

    def __init__(self, hall: Hall, reader: Reads) -> None:
        """Tell *hall* what *reader* finds."""
        self._hall = hall
        self._reader = reader
        self._next: dict[str, asyncio.Task[None]] = {}
        """Reads that have not begun yet: they tell of everything that was before now."""
        self._began: dict[str, float] = {}

    async def confirm(self, entry: Entry) -> None:
        """Return once the hall knows the endpoint's state at some instant after this call began, if it can be had."""
        key = entry.key
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = self._hall.tools.spawn(self._read(entry))
        await asyncio.shield(task)

    async def _read(self, entry: Entry) -> None:
        key = entry.key
        since = clock.monotonic() - self._began.get(key, -PAUSE_SECONDS)
        await asyncio.sleep(max(0.0, PAUSE_SECONDS - since))
        self._began[key] = clock.monotonic()
        del self._next[key]
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{entry.namespace}/{ENDPOINTS}/{entry.name}"
        found = await self._reader.read(path)
        known = self._hall.directory.entries.get(key)
        if found is not None and known is not None and read_version(found) > known.version:
            self._hall.endpoints.change(found)
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._forget, key)

    def _forget(self, key: str) -> None:
        if clock.monotonic() - self._began.get(key, 0.0) >= PAUSE_SECONDS:
            self._began.pop(key, None)
