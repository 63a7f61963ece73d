"""How far, how fast, how long still: said on stdout about once a second, and to whoever asks over HTTP."""

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
        name: str,
        total_bytes: int,
        say: Callable[[dict[str, Any]], None],
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        """`name`: the hash of what moves."""
        self._name = name
        self._total = total_bytes
        self._say = say
        self._now = now
        self._lock = threading.Lock()
        self._moved = 0
        self._shown = 0
        self._resumed = 0
        self._marks: deque[tuple[float, int]] = deque([(now(), 0)])
        self._said_at = now()

    @property
    def moved(self) -> int:
        """Bytes that are there or on their way into their file, those of earlier runs included."""
        return self._moved

    def resume(self, there_bytes: int) -> None:
        """Begin with what an earlier run left; that is said at once."""
        with self._lock:
            self._moved = self._shown = self._resumed = there_bytes
            self._marks = deque([(self._now(), there_bytes)])
        self._say({"progress": self.describe()})

    def add(self, count: int) -> None:
        """Count bytes that arrived."""
        with self._lock:
            self._moved += count
            self._shown = max(self._shown, self._moved)

    def take_back(self, count: int) -> None:
        """Count bytes no more that were under way: their range goes on elsewhere. What was said stands until then."""
        with self._lock:
            self._moved -= count

    def void(self, count: int) -> None:
        """Count bytes no more that were there: they were wrong, and it is said so."""
        with self._lock:
            self._moved -= count
            self._shown = max(0, self._moved)

    def tick(self) -> None:
        """Speak if it is time to."""
        now = self._now()
        if now - self._said_at < PERIOD_SECONDS:
            return
        self._said_at = now
        with self._lock:
            self._marks.append((now, self._shown))
            while now - self._marks[0][0] > WINDOW_SECONDS:
                self._marks.popleft()
        self._say({"progress": self.describe()})

    def describe(self) -> dict[str, Any]:
        """What is said, as of now; from any thread."""
        with self._lock:
            since, before = self._marks[0]
            now, moved = self._now(), self._shown
        rate = max(0.0, (moved - before) / (now - since)) if now > since else 0.0
        left = max(0, self._total - moved) / rate if rate else None
        return {
            "hash": self._name,
            "bytes": min(moved, self._total),
            "total": self._total,
            "resumed": self._resumed,
            "bytesPerSecond": round(rate),
            "secondsLeft": None if left is None else round(left, 1),
        }
