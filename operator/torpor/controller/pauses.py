"""How long to wait after something failed for an endpoint, and how loudly it is told."""

from __future__ import annotations

import logging

from torpor.cluster.objects import Conflict
from torpor.controller.seen import Key
from torpor.errors import TorporError, Waiting

log = logging.getLogger(__name__)

SOON_SECONDS = 0.05
"""After a write that lost against another one: what it lost against is about to be heard."""
FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0
"""Pauses after a failure that nobody foresaw; doubling."""


class Pauses:
    """Remembers for each endpoint how long the next pause after a failure is."""

    def __init__(self, what: str) -> None:
        """Speak of *what* fails, such as "the pass"."""
        self._what = what
        self._next: dict[Key, float] = {}

    def after(self, key: Key, error: Exception) -> float:
        """Log the error and return for how long to wait, in seconds."""
        if isinstance(error, Conflict):
            log.debug("%s/%s has changed meanwhile: %s", *key, error.message)
            return SOON_SECONDS
        if isinstance(error, Waiting):
            log.info("%s/%s waits: %s", *key, error.message)
            return error.after.total_seconds() or SOON_SECONDS
        pause = self._next.get(key, FIRST_SECONDS)
        self._next[key] = min(2 * pause, LONGEST_SECONDS)
        if isinstance(error, TorporError):
            log.warning(
                "%s/%s: %s failed, again in %g s: %s", *key, self._what, pause, error.message
            )
        else:
            log.error("%s/%s: %s failed, again in %g s", *key, self._what, pause, exc_info=error)
        return pause

    def over(self, key: Key) -> None:
        """Say that it went well, or that nobody will ask again: the next failure is a first one."""
        self._next.pop(key, None)
