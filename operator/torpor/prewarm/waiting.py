"""Waiting for another process: for the one that fetches the same, or for one that may make room."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from torpor import clock
from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.progress import PERIOD_SECONDS

ROOM_WAIT_SECONDS = 120
"""An engine's init container has no list of what may go; in this time the controller starts a Job that has one."""

ROOM_PAUSE_SECONDS = 2

Result = TypeVar("Result")


_FULL = (FetchReason.TOO_LARGE, FetchReason.CACHE_FULL)


def pause(seconds: float) -> None:
    """Really wait."""
    threading.Event().wait(seconds)


def wait_for_room(
    act: Callable[[], Result],
    say: Callable[[dict[str, Any]], None],
    wait: Callable[[float], None] = pause,
) -> Result:
    """Act again and again while there is no room but there may be; the act finds the copy too, if a Job brings it.

    Raises:
        FetchFailure: what `act` raised, if it is for another reason than room, or still for that in the end.
    """
    for left in range(ROOM_WAIT_SECONDS, 0, -ROOM_PAUSE_SECONDS):
        try:
            return act()
        except FetchFailure as failure:
            if failure.reason not in _FULL or not failure.retryable:
                raise
            say({"waiting": f"{failure.message}; waiting {left} s more for a Job to make room"})
        wait(ROOM_PAUSE_SECONDS)
    return act()


class OtherFetch:
    """Says now and then that another process fetches the same weights."""

    def __init__(self, name: str, say: Callable[[dict[str, Any]], None]) -> None:
        self._name = name
        self._say = say
        self._said_at: float | None = None

    def tick(self) -> None:
        """Speak if it is time to."""
        now = clock.monotonic()
        if self._said_at is None or now - self._said_at >= PERIOD_SECONDS:
            self._said_at = now
            self._say({"waiting": f"another pod on this node fetches {self._name}"})
