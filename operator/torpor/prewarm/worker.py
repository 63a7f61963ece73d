"""`python -m torpor.prewarm.worker CONTROL CHANNEL…`: the other side of `outside`; not for people.

Threads bring what their channel asks for. When the control channel closes, whoever sent for us has ended, and
so do we, at once: what was under way is in nobody's journal.
"""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from torpor import clock
from torpor.domain.fetching import FetchReason, Part
from torpor.domain.pieces import count_spare_pieces
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.hand import OwnHand, Wish, take_own_hand
from torpor.prewarm.outside import KINDS, Brief
from torpor.prewarm.proof import Sums
from torpor.prewarm.store import Store
from torpor.prewarm.writebehind import Writers

MOVED_SECONDS = 0.25
"""Bytes are reported with each piece, and so often while a piece is slow."""

Channel: TypeAlias = "Connection[Any, Any]"


class _Desk:
    """Asks the real desk, over the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._moved = 0
        self._told_at = clock.monotonic()

    def moved(self, count: int) -> None:
        self._moved += count
        if clock.monotonic() - self._told_at >= MOVED_SECONDS:
            self._tell()

    def claim(self, piece: Part) -> bool:
        self._tell()
        self._channel.send(("claim", piece))
        return bool(self._channel.recv())

    def wrote(self, piece: Part, sums: Sums) -> None:
        self._channel.send(("wrote", piece, sums))

    def _tell(self) -> None:
        self._channel.send(("moved", self._moved))
        self._moved, self._told_at = 0, clock.monotonic()


class _Slot:
    """One hand, taken when it is first needed."""

    def __init__(
        self, channel: Channel, brief: Brief, store: "Store | FetchFailure", writers: Writers
    ) -> None:
        self._channel = channel
        self._brief = brief
        self._store = store
        self._writers = writers
        self._hand: OwnHand | None = None

    def interrupt(self) -> None:
        if self._hand is not None:
            self._hand.interrupt()

    def serve(self) -> None:
        """Carry out wishes until the channel closes."""
        with ExitStack() as stack:
            while True:
                try:
                    wish = self._channel.recv()
                    self._channel.send(self._carry_out(wish, stack))
                except (EOFError, OSError):
                    return

    def _carry_out(self, wish: Wish, stack: ExitStack) -> tuple[Any, ...]:
        try:
            self._take_hand(stack).bring(wish, _Desk(self._channel))
        except FetchFailure as error:
            kind = next(kind for kind in KINDS if isinstance(error, KINDS[kind]))
            return ("failed", kind, str(error.reason), error.message, error.retryable)
        except OSError as error:
            return ("broken", error.errno or 0, error.strerror or str(error), error.filename)
        except Exception as error:
            text = f"unexpected {type(error).__name__} in a process that moves bytes: {error}"
            return ("failed", "FetchFailure", str(FetchReason.INTERNAL), text, True)
        return ("done",)

    def _take_hand(self, stack: ExitStack) -> OwnHand:
        if isinstance(self._store, FetchFailure):
            raise self._store
        if self._hand is None:
            brief = self._brief
            taking = take_own_hand(
                self._store, brief.folder, brief.rung, brief.piece_bytes, self._writers
            )
            self._hand = stack.enter_context(taking)
        return self._hand


def main(numbers: list[int]) -> None:
    """Serve the channels until the control channel closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control, *channels = (Connection(number) for number in numbers)
    try:
        brief: Brief = control.recv()
        store = _open_store(brief)
        writers = Writers(brief.piece_bytes, count_spare_pieces(brief.piece_bytes))
        slots = [_Slot(channel, brief, store, writers) for channel in channels]
        for slot in slots:
            threading.Thread(target=slot.serve, daemon=True).start()
        while True:
            slots[control.recv()].interrupt()
    except (EOFError, OSError):
        os._exit(0)


def _open_store(brief: Brief) -> Store | FetchFailure:
    try:
        return Store(brief.settings)
    except FetchFailure as error:
        return error


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
