"""The processes that move bytes, this one first: each thread of the crew gets a hand in one of them."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torpor.domain.pieces import count_spare_pieces
from torpor.prewarm.hand import Hand, take_own_hand
from torpor.prewarm.store import Store
from torpor.prewarm.writebehind import Writers
from torpor.prewarm.writing import Rung
from torpor.settings.prewarm import PrewarmSettings

if TYPE_CHECKING:
    from torpor.prewarm.outside import Worker


class Yard:
    """Hands out hands; used once."""

    def __init__(
        self,
        store: Store,
        settings: PrewarmSettings,
        folder: str,
        rung: Rung,
        piece_bytes: int,
        lock_fd: int,
    ) -> None:
        """`lock_fd` is the lock of what moves: other processes hold it too, so that none outlives it."""
        self._store = store
        self._settings = settings
        self._folder = folder
        self._rung = rung
        self._piece_bytes = piece_bytes
        self._lock_fd = lock_fd
        self._lock = threading.Lock()
        self._writers = Writers(piece_bytes, count_spare_pieces(piece_bytes))
        self._workers: list[Worker] = []
        self._hands = [0]

    @property
    def size(self) -> int:
        """Processes, this one included."""
        return len(self._hands)

    def grow(self, size: int) -> None:
        """Start processes until there are so many.

        Raises:
            OSError: no process can be started.
        """
        while self.size < size:
            from torpor.prewarm.outside import Worker  # most downloads never need it

            worker = Worker(
                self._settings, self._folder, self._rung, self._piece_bytes, self._lock_fd
            )
            with self._lock:
                self._workers.append(worker)
                self._hands.append(0)

    @contextmanager
    def take_hand(self) -> Generator[Hand, None, None]:
        """A hand of the process that has the fewest out."""
        with self._lock:
            number = min(range(len(self._hands)), key=self._hands.__getitem__)
            self._hands[number] += 1
        try:
            if number == 0:
                with take_own_hand(
                    self._store, self._folder, self._rung, self._piece_bytes, self._writers
                ) as hand:
                    yield hand
            else:
                with self._workers[number - 1].take_hand() as remote:
                    yield remote
        finally:
            with self._lock:
                self._hands[number] -= 1

    def close(self) -> None:
        """End the other processes, and the threads of this one that write."""
        self._writers.close()
        for worker in self._workers:
            worker.close()
