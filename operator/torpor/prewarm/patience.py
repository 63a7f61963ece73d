"""How long to go on asking after an interruption."""

import random
import threading

from torpor.prewarm.connection import Interruption

LONGEST_SECONDS = 10.0


class Patience:
    """Counts attempts and waits between them: doubling, with jitter so that many readers spread out."""

    def __init__(
        self, *, attempts: int, first_seconds: float, stop: threading.Event | None = None
    ) -> None:
        """`attempts` counts the first one too; `stop` ends a wait early."""
        self._left = attempts - 1
        self._seconds = first_seconds
        self._stop = stop or threading.Event()

    def wait_after(self, error: Interruption) -> None:
        """Wait before the next attempt.

        Raises:
            Interruption: the given one, when no attempt is left.
        """
        if self._left == 0:
            raise error
        self._left -= 1
        self._stop.wait(self._seconds * random.uniform(0.5, 1.5))
        self._seconds = min(self._seconds * 2, LONGEST_SECONDS)
