"""Move what is missing of a plan into its files, check each file, and force it to disk."""

import os
import threading
from collections import deque
from contextlib import nullcontext
from typing import NamedTuple

from torpor import clock
from torpor.domain.fetching import FetchPlan, FetchReason, Part, RemoteFile
from torpor.domain.pacing import choose_hedges, first_connections, most_connections
from torpor.domain.pieces import choose_range_bytes
from torpor.prewarm import proof as proving
from torpor.prewarm.arrival import Arrival, Errand, queue_errands
from torpor.prewarm.connection import Busy, Interruption
from torpor.prewarm.crew import Crew, Stopped
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.following import Following
from torpor.prewarm.hand import Hand, Wish
from torpor.prewarm.journal import Journal
from torpor.prewarm.pace import Pacemaker, count_cores
from torpor.prewarm.patience import Patience
from torpor.prewarm.preflight import open_session
from torpor.prewarm.progress import Progress
from torpor.prewarm.proof import Sums
from torpor.prewarm.store import Session, Store
from torpor.prewarm.writing import Rung, seal
from torpor.prewarm.yard import Yard
from torpor.settings.prewarm import PrewarmSettings

FILE_ATTEMPTS = 2
"""A checksum that differs is fetched once more: bytes that break on the way break differently each time."""

REMEMBERED_DURATIONS = 200
"""Ranges whose duration tells what is usual now."""


class Landed(NamedTuple):
    """One file that is whole."""

    file: RemoteFile
    crc64nvme: str
    verified: str


class Transfer:
    """Moves one plan; used once."""

    def __init__(
        self,
        store: Store,
        folder: str,
        plan: FetchPlan,
        journal: Journal,
        progress: Progress,
        *,
        settings: PrewarmSettings,
        rung: Rung,
        lock_fd: int,
    ) -> None:
        """`folder` holds every file already, at its full size; the journal is the folder's."""
        self._store = store
        self._folder = folder
        self._plan = plan
        self._journal = journal
        self._progress = progress
        self._settings = settings
        self._rung = rung
        self._lock = threading.Lock()
        self._arrivals: dict[str, Arrival] = {}
        self._landed: list[Landed] = []
        self._under_way: set[Errand] = set()
        self._durations: deque[tuple[int, float]] = deque(maxlen=REMEMBERED_DURATIONS)
        self._yard = Yard(store, settings, folder, rung, journal.piece_bytes, lock_fd)
        self._connections = first_connections(settings.connections, count_cores())
        self._range_bytes = choose_range_bytes(
            plan.total_bytes, self._connections, settings.part_bytes
        )
        self._crew: Crew[Hand, Errand]
        self._pace: Pacemaker
        self.resumed_bytes = 0
        """Bytes that an earlier run had left."""

    def run(self) -> list[Landed]:
        """Return every file of the plan, verified and forced to disk.

        However it ends, what was written is in the journal then.

        Raises:
            FetchFailure: the store fails for longer than patience lasts, or content is not what it should be.
            ObjectChanged: an object was replaced since it was listed.
        """
        files, size = self._plan.files, self._connections
        try:
            Crew(size, lambda: open_session(self._store), self._prove, files).run()
            self._progress.resume(self.resumed_bytes)
            arrivals = [self._arrivals[file.key] for file in files]
            errands = queue_errands(arrivals, self._range_bytes)
            self._crew = Crew(size, self._yard.take_hand, self._move, errands)
            self._pace = Pacemaker(
                self._connections,
                self._settings.processes,
                self._crew,
                self._yard,
                self._progress,
                most=most_connections(self._journal.piece_bytes),
            )
            self._crew.run(self._tick)
        finally:
            self._yard.close()
        Crew(size, lambda: nullcontext(_Nothing()), self._seal, self._landed).run(
            self._progress.tick
        )
        return self._landed

    def _prove(self, session: Session, file: RemoteFile) -> None:
        """Find out how a file can be checked; one that is there already is checked now."""
        proof, there = session.prove(file), self._journal.there.pop(file.key, {})
        arrival = Arrival(file, proof, self._journal.piece_bytes, there)
        resumed = arrival.there_bytes
        if arrival.complete:
            difference = self._compare(arrival)
            if difference is None:
                self._land(arrival)
            else:
                self._disbelieve(arrival, difference)
                resumed = 0
        with self._lock:
            self._arrivals[file.key] = arrival
            self.resumed_bytes += resumed

    def _tick(self) -> None:
        self._progress.tick()
        self._pace.tick()
        self._hedge()

    def _hedge(self) -> None:
        """When nothing waits any more, ask a second time for what is much slower than usual."""
        idle = self._crew.idle
        if not idle:
            return
        now = clock.monotonic()
        with self._lock:
            single = [e for e in self._under_way if not e.hedged and e.begun_at is not None]
            waited = [(e.part.length, now - (e.begun_at or now)) for e in single]
            chosen = [single[at] for at in choose_hedges(waited, list(self._durations), idle)]
        for errand in chosen:
            errand.hedged = True
        if chosen:
            self._crew.add(chosen)

    def _move(self, hand: Hand, errand: Errand) -> None:
        """Ask until every piece of the range is claimed, by this hand or another."""
        patience = Patience(
            attempts=self._settings.part_attempts, first_seconds=0.2, stop=self._crew.stop
        )
        errand.begin(hand, clock.monotonic)
        with self._lock:
            self._under_way.add(errand)
        try:
            while (rest := errand.rest()) is not None:
                self._ask(hand, errand, rest, patience)
        finally:
            errand.leave(hand)
            with self._lock:
                self._under_way.discard(errand)
                if errand.begun_at is not None:
                    took = clock.monotonic() - errand.begun_at
                    self._durations.append((errand.part.length, took))

    def _ask(self, hand: Hand, errand: Errand, rest: Part, patience: Patience) -> None:
        if self._crew.stop.is_set():
            raise Stopped
        desk = _Desk(self, hand, errand)
        try:
            hand.bring(Wish(errand.arrival.file, rest, errand.arrival.method), desk)
        except Interruption as error:
            if errand.rest() is None:
                return
            if isinstance(error, Busy):
                self._pace.slow_down()
            patience.wait_after(error)
        finally:
            self._progress.take_back(desk.in_air)

    def note(self, desk: "_Desk", count: int) -> None:
        """Bytes came in."""
        if self._crew.stop.is_set():
            raise Stopped
        desk.in_air += count
        self._progress.add(count)

    def settle(self, desk: "_Desk", piece: Part, sums: Sums) -> None:
        """A piece is in its file."""
        desk.in_air -= piece.length
        arrival = desk.errand.arrival
        self._journal.add(piece, sums)
        if arrival.add(piece, sums):
            self._finish(arrival)
        elif arrival.method == "md5-etag":
            self._follow(arrival).advance(arrival.front)

    def _finish(self, arrival: Arrival) -> None:
        difference = self._compare(arrival)
        if difference is None:
            self._land(arrival)
            return
        self._disbelieve(arrival, difference)
        self._progress.void(arrival.file.size)
        self._crew.add(arrival.errands(self._range_bytes))

    def _land(self, arrival: Arrival) -> None:
        crc = proving.format_crc64(arrival.combined("crc64nvme"))
        method = arrival.method if arrival.file.size else proving.METHODS[0]
        arrival.release()
        with self._lock:
            self._landed.append(Landed(arrival.file, crc, method))

    def _seal(self, _: "_Nothing", entry: Landed) -> None:
        seal(os.path.join(self._folder, entry.file.key), entry.file.size)

    def _compare(self, arrival: Arrival) -> str | None:
        if arrival.method == "size-only" or not arrival.file.size:
            return None
        if arrival.method != "md5-etag":
            value = arrival.combined(arrival.method)
            return proving.compare_checksum(arrival.method, value, arrival.proof)
        return proving.compare_md5(arrival.file, self._follow(arrival).digest())

    def _follow(self, arrival: Arrival) -> Following:
        with self._lock:
            if arrival.following is None:
                path = os.path.join(self._folder, arrival.file.key)
                arrival.following = Following(path, arrival.file.size, self._rung)
            return arrival.following

    def _disbelieve(self, arrival: Arrival, difference: str) -> None:
        """Have nothing of the file again, once."""
        self._journal.annul(arrival.file.key)
        name = self._store.address.source + arrival.file.key
        if arrival.attempt == FILE_ATTEMPTS:
            raise FetchFailure(
                FetchReason.CORRUPT,
                f"{name} arrived {FILE_ATTEMPTS} times with a wrong checksum: {difference}",
                retryable=True,
            )
        arrival.restart()


class _Nothing:
    """What forces a file to disk holds nothing, and cannot be torn out of it."""

    def interrupt(self) -> None:
        pass


class _Desk:
    """One hand's attempt at one errand."""

    def __init__(self, transfer: Transfer, hand: Hand, errand: Errand) -> None:
        self.errand = errand
        self.in_air = 0
        """Bytes that were counted as progress and are not in the file yet; taken back if they never are."""
        self._transfer = transfer
        self._hand = hand

    def moved(self, count: int) -> None:
        self._transfer.note(self, count)

    def claim(self, piece: Part) -> bool:
        return self.errand.claim(self._hand, piece.offset)

    def wrote(self, piece: Part, sums: Sums) -> None:
        self._transfer.settle(self, piece, sums)
