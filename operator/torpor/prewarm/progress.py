"""How far, how fast, how long still: said on stdout about once a second."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from torpor import clock

PERIOD_SECONDS = 1.0
WINDOW_SECONDS = 10.0
"""The rate is that of the last seconds, not of the whole: it is what the time left depends on."""


class Progress:
    """Counts bytes from many threads, and speaks from one."""

    def __init__(
        self,
        total_bytes: int,
        say: Callable[[dict[str, Any]], None],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._total = total_bytes
        self._say = say
        self._now = now
        self._lock = threading.Lock()
        self._moved = 0
        self._marks: deque[tuple[float, int]] = deque([(now(), 0)])
        self._said_at = now()

    def add(self, count: int) -> None:
        """Count bytes that arrived; negative when a part is asked for again."""
        with self._lock:
            self._moved += count

    def tick(self) -> None:
        """Speak if it is time to."""
        now = self._now()
        if now - self._said_at < PERIOD_SECONDS:
            return
        self._said_at = now
        with self._lock:
            moved = self._moved
        self._marks.append((now, moved))
        while now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()
        self._say({"progress": self._describe(now, moved)})

    def _describe(self, now: float, moved: int) -> dict[str, Any]:
        since, before = self._marks[0]
        rate = max(0.0, (moved - before) / (now - since)) if now > since else 0.0
        left = (self._total - moved) / rate if rate else None
        return {
            "bytes": moved,
            "total": self._total,
            "bytesPerSecond": round(rate),
            "secondsLeft": None if left is None else round(left, 1),
        }
