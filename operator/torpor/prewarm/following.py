"""The MD5 of a file whose pieces arrive in any order.

It can only be computed from the beginning on. Were it left until the last piece is there, the other cores would stand
still meanwhile; so whoever has written a piece goes on with it, as far as the file is there without a gap.
"""

import hashlib
import threading
from collections.abc import Callable

from torpor.prewarm.writing import READ_BYTES, Rung, read_back

MOST_BYTES = 16 * 1024 * 1024
"""What one call goes on by at most: its thread has a connection waiting, whose store would lose patience."""


class Following:
    """One file; `advance` is for any thread, and one at a time does the work."""

    def __init__(self, path: str, size: int, rung: Rung) -> None:
        """`size` is the true one; the file on the disk may be longer by less than a block."""
        self._path = path
        self._size = size
        self._rung = rung
        self._lock = threading.Lock()
        self._digest = hashlib.md5(usedforsecurity=False)
        self._done = 0

    def advance(self, front: Callable[[], int]) -> None:
        """Go on towards the first gap, which `front` tells, unless another thread does.

        Raises:
            OSError: the file cannot be read back.
        """
        if self._done >= front() or not self._lock.acquire(blocking=False):
            return
        try:
            self._read(min(front(), self._done + MOST_BYTES))
        finally:
            self._lock.release()

    def digest(self) -> str:
        """The MD5 of the whole file, which is there.

        Raises:
            OSError: the file cannot be read back.
        """
        with self._lock:
            self._read(self._size)
        return self._digest.hexdigest()

    def _read(self, end: int) -> None:
        """Up to `end`: whole blocks, except at the end of the file."""
        offsets = range(self._done, end, READ_BYTES)
        for offset, view in read_back(self._path, end, self._rung, offsets):
            self._digest.update(view)
            self._done = offset + len(view)
