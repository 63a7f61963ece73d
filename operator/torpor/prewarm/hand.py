"""What brings a range: a connection, a page-aligned buffer of one piece, and the file it goes into."""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import NamedTuple, Protocol

from torpor.domain.fetching import Part, RemoteFile
from torpor.prewarm.buffers import take_buffer
from torpor.prewarm.preflight import open_session
from torpor.prewarm.proof import Summing, Sums
from torpor.prewarm.store import Session, Store
from torpor.prewarm.writebehind import WriteBehind, Writers
from torpor.prewarm.writing import Rung, Target


class Wish(NamedTuple):
    """A range to bring, and how its pieces are summed."""

    file: RemoteFile
    part: Part
    method: str


class Desk(Protocol):
    """Who sent the hand, and decides what may be written."""

    def moved(self, count: int) -> None:
        """Bytes came; may raise to end the errand."""

    def claim(self, piece: Part) -> bool:
        """Whether the piece may be written by this hand; no: somebody else has it, come back."""
        ...

    def wrote(self, piece: Part, sums: Sums) -> None:
        """A claimed piece is in its file."""


class Hand(Protocol):
    """Brings ranges, one at a time."""

    def bring(self, wish: Wish, desk: Desk) -> None:
        """Ask for the range once, and write its pieces as they come.

        Raises:
            FetchFailure: it did not come, or not whole.
            OSError: it cannot be written.
        """

    def interrupt(self) -> None:
        """Make a read in progress fail now."""


class OwnHand:
    """A hand of this process."""

    def __init__(
        self, session: Session, buffer: memoryview, folder: str, rung: Rung, writers: Writers
    ) -> None:
        self._session = session
        self._buffer = buffer
        self._writers = writers
        self._folder = folder
        self._rung = rung

    def bring(self, wish: Wish, desk: Desk) -> None:
        """Read and sum, claim, have written while the next is read."""
        path = os.path.join(self._folder, wish.file.key)
        with Target(path, self._rung) as target, WriteBehind(self._writers, target, desk) as behind:
            self._read(wish, desk, behind)

    def _read(self, wish: Wish, desk: Desk, behind: WriteBehind) -> None:
        summing = Summing(wish.method)

        def arrived(data: memoryview) -> None:
            summing.add(data)
            desk.moved(len(data))
            behind.look()

        pieces = self._session.read_pieces(
            wish.file, wish.part, len(self._buffer), lambda: self._buffer, arrived
        )
        with closing(pieces):
            for piece in pieces:
                sums = summing.take()
                if not desk.claim(piece):
                    return
                self._buffer = behind.write(self._buffer, piece, sums)

    def interrupt(self) -> None:
        """Make a read in progress fail now."""
        self._session.interrupt()


@contextmanager
def take_own_hand(
    store: Store, folder: str, rung: Rung, piece_bytes: int, writers: Writers
) -> Generator[OwnHand, None, None]:
    """A connection and a buffer of one piece, for as long as the block runs."""
    with open_session(store) as session:
        yield OwnHand(session, take_buffer(piece_bytes), folder, rung, writers)
