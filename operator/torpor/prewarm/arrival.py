"""Files under way, and the errands that bring their pieces."""

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from torpor.domain.fetching import Part, RemoteFile
from torpor.domain.pieces import cut_missing, cut_pieces
from torpor.prewarm import proof as proving
from torpor.prewarm.contents import Proof
from torpor.prewarm.following import Following
from torpor.prewarm.proof import Sums


class Arrival:
    """One file under way: how it will be checked, and the checksums of the pieces that are on the disk."""

    def __init__(
        self, file: RemoteFile, proof: Proof, piece_bytes: int, there: Mapping[int, Sums]
    ) -> None:
        """`there`: pieces of an earlier run; those that cannot be checked as this one needs are left out."""
        self.file = file
        self.proof = proof
        self.method = proving.choose_method(proof)
        self.attempt = 1
        self._lock = threading.Lock()
        self._piece_bytes = piece_bytes
        self._count = -(-file.size // piece_bytes)
        self._sums = {offset: sums for offset, sums in there.items() if sums.serve(self.method)}
        self._front = 0
        self.following: Following | None = None
        """Computes what pieces' checksums cannot give."""

    @property
    def there_bytes(self) -> int:
        """Bytes on the disk."""
        return sum(self._length(offset) for offset in self._sums)

    @property
    def complete(self) -> bool:
        """Whether every piece is there."""
        return len(self._sums) == self._count

    def front(self) -> int:
        """Bytes from the beginning on that are on the disk without a gap."""
        with self._lock:
            while self._front < self.file.size and self._front in self._sums:
                self._front += self._length(self._front)
            return self._front

    def add(self, piece: Part, sums: Sums) -> bool:
        """A piece was written; whether it was the last one that lacked."""
        with self._lock:
            self._sums[piece.offset] = sums
            return self.complete

    def combined(self, algorithm: str) -> int:
        """The checksum of the complete file."""
        return proving.combine(
            algorithm,
            ((self._sums[at].value(algorithm), self._length(at)) for at in sorted(self._sums)),
        )

    def errands(self, part_bytes: int) -> "list[Errand]":
        """What has to be asked for; nothing once the file is done."""
        if self._count < 0:
            return []
        ranges = cut_missing(self.file, self._sums, part_bytes, self._piece_bytes)
        return [Errand(self, part, self._piece_bytes) for part in ranges]

    def restart(self) -> None:
        """Have nothing again, for another attempt."""
        with self._lock:
            self._sums.clear()
            self._front = 0
            self.following = None
            self.attempt += 1

    def release(self) -> None:
        """Give the checksums' memory back; the file is done."""
        self._sums.clear()
        self.following = None
        self._count = -1

    def _length(self, offset: int) -> int:
        return min(self._piece_bytes, self.file.size - offset)


class Interruptible(Protocol):
    """Who can be torn out of a read."""

    def interrupt(self) -> None:
        """Make a read in progress fail now."""


class Errand:
    """One range to bring. Two hands may be on it; each piece is written by the one that claims it first."""

    def __init__(self, arrival: Arrival, part: Part, piece_bytes: int) -> None:
        self.arrival = arrival
        self.part = part
        self.begun_at: float | None = None
        """When it was first asked for."""
        self.hedged = False
        """Whether it was queued a second time."""
        self._piece_bytes = piece_bytes
        self._lock = threading.Lock()
        self._left: dict[int, Part] | None = None
        self._hands: list[Interruptible] = []

    def begin(self, hand: Interruptible, now: Callable[[], float]) -> None:
        """A hand sets out."""
        with self._lock:
            if self._left is None:
                pieces = cut_pieces(self.part, self._piece_bytes)
                self._left = {piece.offset: piece for piece in pieces}
                self.begun_at = now()
            self._hands.append(hand)

    def leave(self, hand: Interruptible) -> None:
        """That hand is back."""
        with self._lock:
            self._hands.remove(hand)

    def rest(self) -> Part | None:
        """From the first piece that nobody has claimed to the end; None when there is none."""
        with self._lock:
            first = next(iter(self._left or ()), None)
        if first is None:
            return None
        return Part(self.part.key, first, self.part.offset + self.part.length - first)

    def claim(self, hand: Interruptible, offset: int) -> bool:
        """Whether this hand may write the piece; with the last one the other hand is called back."""
        with self._lock:
            won = self._left is not None and self._left.pop(offset, None) is not None
            others = [other for other in self._hands if other is not hand]
            over = won and not self._left
        if over:
            for other in others:
                other.interrupt()
        return won


def queue_errands(arrivals: Iterable[Arrival], range_bytes: int) -> list[Errand]:
    """All errands in the order of the files; those of files that must be read in their order take turns.

    An MD5 keeps one core busy for each file, so several should be under way.
    """
    queue: list[Errand] = []
    turns: list[list[Errand]] = []
    for arrival in arrivals:
        errands = arrival.errands(range_bytes)
        if arrival.method == "md5-etag":
            turns.append(errands)
        else:
            queue += errands
    rows = itertools.zip_longest(*turns)
    return queue + [errand for row in rows for errand in row if errand is not None]
