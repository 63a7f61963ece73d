"""Move the parts of a plan into their files, check each file, and force it to disk."""

import mmap
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from torpor.domain.fetching import FetchPlan, FetchReason, Part, RemoteFile, cut
from torpor.prewarm import proof as proving
from torpor.prewarm.connection import Interruption
from torpor.prewarm.contents import Proof
from torpor.prewarm.crew import Crew, Stopped
from torpor.prewarm.disk import Target
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.patience import Patience
from torpor.prewarm.preflight import open_session
from torpor.prewarm.progress import Progress
from torpor.prewarm.store import Session, Store
from torpor.settings.prewarm import PrewarmSettings

FILE_ATTEMPTS = 2
"""A checksum that differs is fetched once more: bytes that break on the way break differently each time."""


class Hand(NamedTuple):
    """What each thread holds: a connection and a page-aligned buffer of one part."""

    session: Session
    buffer: memoryview

    def interrupt(self) -> None:
        """Make a read in progress fail now."""
        self.session.interrupt()


class Landed(NamedTuple):
    """One file that is on disk, whole."""

    file: RemoteFile
    crc64nvme: str
    verified: str


class _Arrival:
    """One file under way: its open target and the checksums of the parts that came."""

    def __init__(self, file: RemoteFile, parts: tuple[Part, ...], proof: Proof) -> None:
        self.file = file
        self.parts = parts
        self.proof = proof
        self.method = proving.choose_method(proof)
        self.target: Target | None = None
        self.sums: dict[int, dict[str, int]] = {}
        self.attempt = 1

    def combined(self, algorithm: str) -> int:
        return proving.combine(
            algorithm, ((self.sums[part.offset][algorithm], part.length) for part in self.parts)
        )


class Transfer:
    """Moves one plan; used once."""

    def __init__(
        self,
        store: Store,
        folder: str,
        plan: FetchPlan,
        progress: Progress,
        *,
        settings: PrewarmSettings,
        direct: bool,
    ) -> None:
        """`folder` holds every file already, at its full size."""
        self._store = store
        self._folder = folder
        self._plan = plan
        self._progress = progress
        self._settings = settings
        self._direct = direct
        self._lock = threading.Lock()
        self._arrivals: dict[str, _Arrival] = {}
        self._landed: list[Landed] = []
        self._crew: Crew[Hand, Part]

    def run(self) -> list[Landed]:
        """Return every file of the plan, verified and forced to disk.

        Raises:
            FetchFailure: the store fails for longer than patience lasts, or content is not what it should be.
            ObjectChanged: an object was replaced since it was listed.
        """
        Crew(
            self._settings.connections,
            lambda: open_session(self._store),
            self._prove,
            self._plan.files,
        ).run()
        self._crew = Crew(self._settings.connections, self._take_hand, self._move, self._plan.parts)
        try:
            self._crew.run(self._progress.tick)
        finally:
            for arrival in self._arrivals.values():
                if arrival.target is not None:
                    arrival.target.close()
        for file in self._plan.files:
            if file.size == 0:
                self._landed.append(Landed(file, proving.format_crc64(0), proving.METHODS[0]))
        return self._landed

    def _prove(self, session: Session, file: RemoteFile) -> None:
        proof = session.prove(file)
        with self._lock:
            self._arrivals[file.key] = _Arrival(file, cut(file, self._settings.part_bytes), proof)

    @contextmanager
    def _take_hand(self) -> Generator[Hand, None, None]:
        """The mapping lives as long as the last view of it, a traceback's included: it is not closed by hand."""
        with open_session(self._store) as session:
            yield Hand(session, memoryview(mmap.mmap(-1, self._settings.part_bytes)))

    def _move(self, hand: Hand, part: Part) -> None:
        arrival = self._arrivals[part.key]
        target = self._open(arrival)
        self._receive(hand, arrival.file, part)
        data = hand.buffer[: part.length]
        sums = proving.sum_part(arrival.method, data)
        target.write(hand.buffer, part.offset, part.length)
        with self._lock:
            arrival.sums[part.offset] = sums
            complete = len(arrival.sums) == len(arrival.parts)
        if complete:
            self._finish(hand, arrival, target)

    def _open(self, arrival: _Arrival) -> Target:
        with self._lock:
            if arrival.target is None:
                path = os.path.join(self._folder, arrival.file.key)
                arrival.target = Target(path, arrival.file.size, direct=self._direct)
            return arrival.target

    def _receive(self, hand: Hand, file: RemoteFile, part: Part) -> None:
        """Ask until the part is there; bytes of an attempt that failed are not counted as progress."""
        patience = Patience(
            attempts=self._settings.part_attempts, first_seconds=0.2, stop=self._crew.stop
        )
        while not self._crew.stop.is_set():
            came = 0

            def count(moved: int) -> None:
                nonlocal came
                if self._crew.stop.is_set():
                    raise Stopped
                came += moved
                self._progress.add(moved)

            try:
                hand.session.read_into(file, part, hand.buffer, count)
            except Interruption as error:
                self._progress.add(-came)
                patience.wait_after(error)
            else:
                return
        raise Stopped

    def _finish(self, hand: Hand, arrival: _Arrival, target: Target) -> None:
        difference = self._compare(hand, arrival, target)
        if difference is not None:
            self._repeat(arrival, difference)
            return
        target.seal()
        target.close()
        crc = proving.format_crc64(arrival.combined("crc64nvme"))
        with self._lock:
            self._landed.append(Landed(arrival.file, crc, arrival.method))

    def _compare(self, hand: Hand, arrival: _Arrival, target: Target) -> str | None:
        if arrival.method == "size-only":
            return None
        if arrival.method != "md5-etag":
            value = arrival.combined(arrival.method)
            return proving.compare_checksum(arrival.method, value, arrival.proof)
        if len(arrival.parts) == 1:
            return proving.compare_md5(arrival.file, [hand.buffer[: arrival.file.size]])
        return proving.compare_md5(arrival.file, target.read_back(hand.buffer))

    def _repeat(self, arrival: _Arrival, difference: str) -> None:
        name = self._store.address.source + arrival.file.key
        if arrival.attempt == FILE_ATTEMPTS:
            raise FetchFailure(
                FetchReason.CORRUPT,
                f"{name} arrived {FILE_ATTEMPTS} times with a wrong checksum: {difference}",
                retryable=True,
            )
        with self._lock:
            arrival.attempt += 1
            arrival.sums.clear()
        self._progress.add(-arrival.file.size)
        self._crew.add(arrival.parts)
