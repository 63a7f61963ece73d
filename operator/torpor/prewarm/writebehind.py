"""Pieces on their way to the disk while their hand reads on: a full buffer is exchanged for an empty one.

A hand that waits for the disk receives nothing meanwhile, and all of them wait at the same times. With as many buffers
more as there are hands, whoever only receives and writes does so 1.17 times as fast (two cores, a disk of 2 GB/s);
twice as many hands with a buffer each bring nothing.
"""

import threading
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol, Self

from torpor.domain.fetching import Part
from torpor.prewarm.buffers import take_buffer
from torpor.prewarm.proof import Sums
from torpor.prewarm.writing import Target

WRITES_AT_ONCE = 4
"""Pieces that one process hands to the disk at a time. It is busy with four; of eight or more it takes a little of each
in turn, so that all end in one moment, all of their hands receive in the next, and it has nothing to do meanwhile: a
fifth of the time on two cores (counted every 4 ms)."""


class Ledger(Protocol):
    """Who hears what is in its file."""

    def wrote(self, piece: Part, sums: Sums) -> None:
        """The piece is."""


class _Written(NamedTuple):
    """How one write ended."""

    piece: Part
    sums: Sums
    error: BaseException | None


class _Order(NamedTuple):
    """One write to be done, and who waits for it."""

    target: Target
    buffer: memoryview
    piece: Part
    sums: Sums
    answer: "SimpleQueue[_Written]"


class Writers:
    """The threads of this process that write, and its spare buffers."""

    def __init__(self, piece_bytes: int, spare: int) -> None:
        """Start the threads.

        Args:
            piece_bytes: what a buffer holds.
            spare: buffers beside those of the hands; without any, a hand waits for its own write.
        """
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._empty: SimpleQueue[memoryview] = SimpleQueue()
        for _ in range(spare):
            self._empty.put(take_buffer(piece_bytes))
        for _ in range(WRITES_AT_ONCE):
            threading.Thread(target=self._work, daemon=True).start()

    def exchange(self, order: _Order) -> memoryview:
        """Have a buffer written; returns an empty one as soon as there is one."""
        self._orders.put(order)
        return self._empty.get()

    def close(self) -> None:
        """Let the threads end with what is ordered."""
        for _ in range(WRITES_AT_ONCE):
            self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            error: BaseException | None = None
            try:
                order.target.write(order.buffer, order.piece.offset, order.piece.length)
            except BaseException as raised:
                error = raised
            self._empty.put(order.buffer)
            order.answer.put(_Written(order.piece, order.sums, error))
            del order  # while it waits for the next, this one's buffer may have to go


class WriteBehind:
    """What one hand has under way to one file; when its block ends, all of it is there, or the error is raised."""

    def __init__(self, writers: Writers, target: Target, ledger: Ledger) -> None:
        """`ledger` hears of each piece in the hand's own thread."""
        self._writers = writers
        self._target = target
        self._ledger = ledger
        self._written: SimpleQueue[_Written] = SimpleQueue()
        self._under_way = 0
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._under_way:
            self._settle(self._written.get())
        self._raise()

    def write(self, buffer: memoryview, piece: Part, sums: Sums) -> memoryview:
        """Have a claimed piece written, and give an empty buffer back.

        Raises:
            FetchFailure: the disk is full, or what the ledger raised, of this or an earlier piece.
            OSError: it cannot be written.
        """
        self.look()
        self._raise()
        order = _Order(self._target, buffer, piece, sums, self._written)
        self._under_way += 1
        return self._writers.exchange(order)

    def look(self) -> None:
        """Tell the ledger what is written by now. An error waits for `write`: whoever reads takes it for its own."""
        while self._under_way:
            try:
                written = self._written.get_nowait()
            except Empty:
                return
            self._settle(written)

    def _settle(self, written: _Written) -> None:
        self._under_way -= 1
        try:
            if written.error is not None:
                raise written.error
            self._ledger.wrote(written.piece, written.sums)
        except BaseException as error:
            self._error = self._error or error

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
