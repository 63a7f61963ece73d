"""`/endpoints.json`: one pass over what the controller has in memory, and only what has changed is read again."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torpor.controller.drawn import Drawn
from torpor.controller.health import State
from torpor.controller.page.rows import row_of
from torpor.controller.seen import Key, Seen
from torpor.domain.timeline import first_hour

Json = dict[str, Any]

FRESH_MS = 1_000
"""How long an answer is given again: many who look cost no more than one."""
GZIP_LEVEL = 4
"""Higher levels take twice the time on a thousand endpoints and save a tenth."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, the same compressed, and what tells it from others."""

    body: bytes
    packed: bytes
    tag: str


class Listing:
    """What the page is told: who leads, and if it is this controller, every endpoint."""

    def __init__(self, state: State, namespace: str, holder: Callable[[], str]) -> None:
        """Tell by *state* whether this controller leads; *holder* names who does, *namespace* where it runs."""
        self._state = state
        self._namespace = namespace
        self._holder = holder
        self._seen: Seen | None = None
        self._lines = Drawn[str]()
        self._last: Answer | None = None
        self._head = ""
        self._made_ms = 0

    @property
    def leads(self) -> bool:
        """Whether the endpoints are told here."""
        return self._role == "leader"

    def show(self, seen: Seen) -> None:
        """Tell the endpoints of *seen* from now on, once they have been listed."""
        self._seen = seen

    def answer(self, now_ms: int) -> Answer:
        """Return what is to be told at an instant."""
        head = json.dumps(
            {
                "role": self._role,
                "leader": self._holder() if self._role == "standby" else "",
                "namespace": self._namespace,
                "firstHourMs": first_hour(now_ms),
            }
        )
        fresh = head == self._head and 0 <= now_ms - self._made_ms < FRESH_MS
        if self._last is not None and fresh:
            return self._last
        body = f'{head[:-1]}, "endpoints": [{", ".join(self._rows(now_ms))}]}}'.encode()
        self._head, self._made_ms = head, now_ms
        if self._last is None or self._last.body != body:
            tag = hashlib.sha256(body).hexdigest()[:32]
            self._last = Answer(body, gzip.compress(body, GZIP_LEVEL, mtime=0), f'W/"{tag}"')
        return self._last

    @property
    def _role(self) -> str:
        if not self._state.leads:
            return "standby"
        listed = self._seen is not None and self._state.listed.is_set()
        return "leader" if listed else "listing"

    def _rows(self, now_ms: int) -> list[str]:
        """An object that is still the same one has the same line; of its hours, the page leaves out what grew old."""

        def written(key: Key, obj: Json) -> str:
            return json.dumps(row_of(*key, obj, now_ms).to_dict(), separators=(",", ":"))

        endpoints = self._seen.endpoints if self._seen is not None and self.leads else {}
        lines = self._lines.all(endpoints, written)
        return [lines[key] for key in sorted(lines)]
