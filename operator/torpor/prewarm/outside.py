"""A process beside this one that moves bytes, as this one sees it.

Each of its hands has a channel of its own: a wish goes out, questions and the outcome come back. It never
touches the journal. It ends when this process does, however that ends: its control channel closes then.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from torpor.domain.fetching import FetchReason
from torpor.prewarm.connection import Busy, Interruption
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.hand import Desk, Wish
from torpor.prewarm.writing import Rung
from torpor.settings.prewarm import PrewarmSettings

HANDS = 64
"""Channels of one process: as many as there can be connections, since threads that leave still hold theirs."""

LEAVE_SECONDS = 5.0

KINDS: dict[str, type[FetchFailure]] = {
    kind.__name__: kind for kind in (Busy, Interruption, ObjectChanged, FetchFailure)
}
"""Failures by which the other side acts differently, the narrower first."""


class Brief(NamedTuple):
    """What a process is told at its start."""

    settings: PrewarmSettings
    folder: str
    rung: Rung
    piece_bytes: int


class Worker:
    """One process beside this one."""

    def __init__(
        self, settings: PrewarmSettings, folder: str, rung: Rung, piece_bytes: int, lock_fd: int
    ) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        self._control, control = Pipe()
        pairs = [Pipe() for _ in range(HANDS)]
        self._channels = [mine for mine, _ in pairs]
        self._free = list(range(HANDS))
        self._lock = threading.Lock()
        theirs = [control, *(other for _, other in pairs)]
        numbers = [end.fileno() for end in theirs]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "torpor.prewarm.worker", *map(str, numbers)],
                pass_fds=(*numbers, lock_fd),
                cwd=_find_source_root(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            for end in theirs:
                end.close()
        self._control.send(Brief(settings, os.path.abspath(folder), rung, piece_bytes))

    @contextmanager
    def take_hand(self) -> Generator["RemoteHand", None, None]:
        """A hand of that process; there are `HANDS`."""
        with self._lock:
            number = self._free.pop()
        try:
            yield RemoteHand(self, number, self._channels[number])
        finally:
            with self._lock:
                self._free.append(number)

    def interrupt(self, number: int) -> None:
        """Make the read of one hand fail now."""
        with self._lock, contextlib.suppress(OSError):
            self._control.send(number)

    def close(self) -> None:
        """End it, and wait until it has ended."""
        for channel in (self._control, *self._channels):
            channel.close()
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RemoteHand:
    """A hand of another process."""

    def __init__(self, worker: Worker, number: int, channel: "Connection[Any, Any]") -> None:
        self._worker = worker
        self._number = number
        self._channel = channel

    def bring(self, wish: Wish, desk: Desk) -> None:
        """As a hand of this process; what goes wrong there is raised here."""
        try:
            self._channel.send(wish)
            while self._answer(self._channel.recv(), desk):
                pass
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise FetchFailure(
                FetchReason.INTERNAL,
                "a process that moves bytes has ended by itself, perhaps for lack of memory; "
                "the next run goes on from here",
                retryable=True,
            ) from error

    def interrupt(self) -> None:
        """Make a read in progress fail now."""
        self._worker.interrupt(self._number)

    def _answer(self, message: tuple[Any, ...], desk: Desk) -> bool:
        """Act on one message; whether more will come."""
        match message:
            case ("moved", int(count)):
                desk.moved(count)
            case ("claim", piece):
                self._channel.send(desk.claim(piece))
            case ("wrote", piece, sums):
                desk.wrote(piece, sums)
            case ("failed", str(kind), reason, str(text), bool(retryable)):
                raise _revive(kind, FetchReason(reason), text, retryable=retryable)
            case ("broken", int(number), str(text), path):
                raise OSError(number, text, path)
            case _:
                return False
        return True


def _revive(kind: str, reason: FetchReason, text: str, *, retryable: bool) -> FetchFailure:
    """The failure as the other process had it; its kind decides whether it is asked again."""
    failure = FetchFailure.__new__(KINDS[kind])
    FetchFailure.__init__(failure, reason, text, retryable=retryable)
    return failure


def _find_source_root() -> str:
    """The folder that holds the package: the other process must run the same code, however this was started."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
