"""Hub → bucket, in parts, with nothing on disk: each part is read into memory, hashed in turn, and put.

A file's content is known by its SHA-256, or Git's SHA-1, over its bytes in order; parts are moved at the same
time, and take turns at the hash. What a former run left of an upload is not moved again, so its hash cannot be
had on the way: such a file stays without a record, and is read back and checked in the next round.
"""

import hashlib
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from torpor.domain.fetching import FetchReason, Part, RemoteFile
from torpor.domain.hub import HubFile, HubPlan, HubSource, record_key
from torpor.prewarm.crew import Crew, Stopped
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.hub import Hub
from torpor.prewarm.hubanswers import be_patient
from torpor.prewarm.multipart import Begun, Upload, abort, part_bytes_of
from torpor.prewarm.preflight import open_session
from torpor.prewarm.progress import Progress
from torpor.prewarm.store import Session, Store
from torpor.prewarm.upload import delete, put_bytes

HANDS = 6
"""Parts in memory at a time: 6 × 16 MiB."""

ATTEMPTS = 6
TURN_SECONDS = 0.5


class Digest(Protocol):
    """A hash under way."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def hexdigest(self) -> str:
        """The hash of all bytes taken."""
        ...


class Piece(NamedTuple):
    """One part of one file to be sent; numbers count from 1 as S3 does."""

    file: "_Sent"
    number: int
    offset: int
    length: int


class Check(NamedTuple):
    """One file in the bucket to be read back."""

    file: HubFile


class _Hand:
    """What one thread holds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._buffer = bytearray()

    def buffer(self, length: int) -> memoryview:
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        return memoryview(self._buffer)[:length]

    def interrupt(self) -> None:
        self.session.interrupt()


class _Sent:
    """One file on its way."""

    def __init__(self, file: HubFile, begun: Begun | None) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.upload: Upload | None = None
        self.part_bytes = part_bytes_of(file.size)
        self._begun = begun
        self._digest = content_digest(file)
        self._turn = 1
        self._turned = threading.Condition()
        self._put = 0
        self.resumed = False

    @property
    def is_small(self) -> bool:
        return self.file.size <= self.part_bytes

    def pieces(self) -> list[Piece]:
        return [
            Piece(self, number, offset, min(self.part_bytes, self.file.size - offset))
            for number, offset in enumerate(range(0, max(1, self.file.size), self.part_bytes), 1)
        ]

    def take_upload(self, session: Session) -> Upload:
        """The one upload of this file: continued, or begun by whoever comes first."""
        with self.lock:
            if self.upload is None and self._begun is not None:
                found = Upload.resume(session, self._begun)
                if not found.is_empty:  # else there is nothing to gain, and it may be another pod's
                    self.upload, self.resumed = found, True
            if self.upload is None:
                self.upload = Upload.begin(session, self.file.key)
            return self.upload

    def hash_in_turn(self, number: int, data: memoryview, stop: threading.Event) -> None:
        with self._turned:
            while self._turn != number:
                if stop.is_set():
                    raise Stopped
                self._turned.wait(TURN_SECONDS)
        self._digest.update(data)
        with self._turned:
            self._turn += 1
            self._turned.notify_all()

    def count_put(self) -> bool:
        """Whether that was the last part."""
        with self.lock:
            self._put += 1
            return self._put * self.part_bytes >= self.file.size

    def fault(self) -> str | None:
        return content_fault(self.file, self._digest)


class Copying:
    """Carries a plan out."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        source: HubSource,
        commit: str,
        plan: HubPlan,
        begun: Mapping[str, Begun],
        progress: Progress,
    ) -> None:
        """`begun` are the uploads that the store knows, by key."""
        self._store = store
        self._hub = hub
        self._source = source
        self._commit = commit
        self._progress = progress
        self._etags: dict[str, str] = {}
        sent = [_Sent(file, begun.get(file.key)) for file in plan.send]
        tasks: list[Piece | Check] = [piece for file in sent for piece in file.pieces()]
        tasks += [Check(file) for file in plan.check]
        self._crew = Crew(HANDS, self._take_hand, self._act, tasks)

    def run(self) -> None:
        """Copy and check until all is done.

        Raises:
            UploadGone: another process ended one of the uploads: look again at what is there.
            FetchFailure: the hub or the store fails for good, or a file's content is not what the hub names.
        """
        self._crew.run(self._progress.tick)

    @contextmanager
    def _take_hand(self) -> Generator[_Hand, None, None]:
        with open_session(self._store) as session:
            yield _Hand(session)

    def _act(self, hand: _Hand, task: "Piece | Check") -> None:
        if isinstance(task, Check):
            self._check(hand, task.file)
        elif task.file.is_small:
            self._send_small(hand, task)
        else:
            self._send_part(hand, task)

    def _send_small(self, hand: _Hand, piece: Piece) -> None:
        data = self._read(hand, piece)
        piece.file.hash_in_turn(1, data, self._crew.stop)
        self._refuse(piece.file.fault())
        etag = put_bytes(hand.session, piece.file.file.key, data)
        self._record(hand.session, piece.file.file, etag)

    def _send_part(self, hand: _Hand, piece: Piece) -> None:
        sent, session = piece.file, hand.session
        upload = sent.take_upload(session)
        if upload.has(piece.number, piece.length):
            self._progress.add(piece.length)
        else:
            data = self._read(hand, piece)
            if not sent.resumed:
                sent.hash_in_turn(piece.number, data, self._crew.stop)
            upload.put_part(session, piece.number, data)
        if not sent.count_put():
            return
        fault = None if sent.resumed else sent.fault()
        if fault is not None:
            abort(session, Begun(upload.key, upload.id, ""))
            self._refuse(fault)
        etag = upload.complete(session)
        if not sent.resumed:
            self._record(session, sent.file, etag)

    def _read(self, hand: _Hand, piece: Piece) -> memoryview:
        buffer = hand.buffer(piece.length)
        file, stop = piece.file.file, self._crew.stop

        def once() -> None:
            arrived = 0

            def count(moved: int) -> None:
                nonlocal arrived
                arrived += moved
                self._progress.add(moved)

            try:
                self._hub.read_into(
                    self._source, self._commit, file, piece.offset, buffer, count, stop
                )
            except BaseException:
                self._progress.take_back(arrived)
                raise

        be_patient(once, ATTEMPTS, stop)
        return buffer

    def _check(self, hand: _Hand, file: HubFile) -> None:
        """Read back what lies in the bucket; what is wrong is removed, so that the next round sends it."""
        there = hand.session.find(file.key)
        if there is None or there.size != file.size:
            return
        digest, step = content_digest(file), part_bytes_of(file.size)
        for offset in range(0, file.size, step):
            if self._crew.stop.is_set():
                raise Stopped
            length = min(step, file.size - offset)
            buffer = hand.buffer(length)
            self._read_back(hand.session, there, Part(file.key, offset, length), buffer)
            digest.update(buffer)
        if content_fault(file, digest) is None:
            self._record(hand.session, file, there.etag)
        else:
            delete(hand.session, file.key)

    def _read_back(
        self, session: Session, there: RemoteFile, part: Part, buffer: memoryview
    ) -> None:
        session.patiently(lambda: session.read_into(there, part, buffer, lambda _: None))
        self._progress.add(part.length)

    def _record(self, session: Session, file: HubFile, etag: str) -> None:
        put_bytes(session, record_key(file, etag), b"")

    def _refuse(self, fault: str | None) -> None:
        if fault is not None:
            raise FetchFailure(
                FetchReason.CORRUPT,
                f"{self._source}: {fault}; it is asked for again",
                retryable=True,
            )


def content_digest(file: HubFile) -> Digest:
    """The hash that the hub names the file's content by."""
    if file.identity.startswith("sha256:"):
        return hashlib.sha256()
    return hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)


def content_fault(file: HubFile, digest: Digest) -> str | None:
    """What differs, if anything."""
    kind, _, named = file.identity.partition(":")
    got = digest.hexdigest()
    if got == named:
        return None
    return f"{file.key} arrived with {kind} {got}, the hub names {named}"
