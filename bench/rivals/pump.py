"""The least that a download does: what a server sends goes to the disk, and nothing is checked, kept or named.

What server and disk do at the same time is less than what each does alone: they share cores, memory and its bus. So
this is the limit of whoever brings bytes from the one to the other. It is made as fast as we know: whole pieces are
received in one system call into huge pages, written past the page cache four at a time, and while they are written the
connections receive into other buffers.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from bench.rivals.target import Target
from dev.cluster.s3 import Store, sign
from torpor.prewarm.buffers import take_buffer

MIB = 1 << 20
BLOCK = 4096
PIECE, RANGE = 4 * MIB, 32 * MIB
WRITERS = 4
CONNECTIONS_PER_CORE, MOST_CONNECTIONS = 4, 16
_NOTHING = hashlib.sha256(b"").hexdigest()


class Wanted(NamedTuple):
    """A range of an object, and where it goes."""

    key: str
    first: int
    last: int
    handle: int


class Full(NamedTuple):
    """A buffer to be written."""

    view: memoryview
    length: int
    handle: int
    offset: int


class Pump:
    """Buffers that go around between connections and writers."""

    def __init__(self, buffers: int) -> None:
        self.empty: SimpleQueue[memoryview] = SimpleQueue()
        self.full: SimpleQueue[Full | None] = SimpleQueue()
        self._errors: list[OSError] = []
        for _ in range(buffers):
            self.empty.put(take_buffer(PIECE))

    def write(self) -> None:
        """Write what is full until told that nothing comes any more."""
        while (one := self.full.get()) is not None:
            length = -(-one.length // BLOCK) * BLOCK
            try:
                if os.pwrite(one.handle, one.view[:length], one.offset) != length:
                    raise OSError(f"short write at {one.offset}")
            except OSError as error:
                self._errors.append(error)
            self.empty.put(one.view)

    def end(self) -> None:
        """Let the writers end."""
        for _ in range(WRITERS):
            self.full.put(None)

    def check(self) -> None:
        """Look back once they have.

        Raises:
            OSError: something could not be written.
        """
        if self._errors:
            raise self._errors[0]


class Source:
    """One connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._host = "{}:{}".format(*target.address)
        self._connection = http.client.HTTPConnection(*target.address, timeout=60)

    def bring(self, wanted: Wanted, pump: Pump) -> None:
        """Receive one range, a buffer after the other.

        Raises:
            OSError: it did not come, or not whole.
        """
        answer = self._ask(wanted)
        link = self._connection.sock
        link.settimeout(None)
        for offset in range(wanted.first, wanted.last + 1, PIECE):
            length, left = min(PIECE, wanted.last + 1 - offset), wanted.last + 1 - offset
            view, got = pump.empty.get(), 0
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, MIB if left > PIECE else 1)
            if offset == wanted.first:  # what the reader of the head has read too much
                got = len(answer.fp.peek(1)[:length])
                answer.fp.readinto(view[:got])
            while got < length:
                count = link.recv_into(view[got:length], 0, socket.MSG_WAITALL)
                if not count:
                    raise OSError(f"{wanted.key} ends at {offset + got}")
                got += count
            pump.full.put(Full(view, length, wanted.handle, offset))
        answer.close()

    def _ask(self, wanted: Wanted) -> http.client.HTTPResponse:
        path = f"/{self._target.bucket}/{wanted.key}"
        now = datetime.now(UTC)
        headers = sign(self._target.account, "GET", self._host, path, {}, _NOTHING, now)
        headers["range"] = f"bytes={wanted.first}-{wanted.last}"
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        if answer.status not in (200, 206):
            raise OSError(f"{path}: status {answer.status}")
        return answer


def pump_all(target: Target, folder: Path) -> float:
    """Bring every object of the prefix to a file in the folder, to fsync; returns the seconds.

    Raises:
        OSError: something did not come or could not be written.
    """
    objects = list(Store(target.account, *target.address).list(target.source))
    connections = min(MOST_CONNECTIONS, CONNECTIONS_PER_CORE * len(os.sched_getaffinity(0)))
    begun = time.monotonic()
    handles = {key: _reserve(folder / Path(key).name, size) for key, size in objects}
    pump, lock = Pump(2 * connections), threading.Lock()
    waiting = _ranges(objects, handles)

    def work(source: Source) -> None:
        while True:
            with lock:
                wanted = next(waiting, None)
            if wanted is None:
                return
            source.bring(wanted, pump)

    with ThreadPoolExecutor(WRITERS) as writers:
        for _ in range(WRITERS):
            writers.submit(pump.write)
        try:
            with ThreadPoolExecutor(connections) as readers:
                list(readers.map(work, [Source(target) for _ in range(connections)]))
        finally:
            pump.end()
    pump.check()
    for handle in handles.values():
        os.fsync(handle)
        os.close(handle)
    return time.monotonic() - begun


def _reserve(path: Path, size: int) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    os.posix_fallocate(handle, 0, size)
    return handle


def _ranges(objects: list[tuple[str, int]], handles: dict[str, int]) -> Iterator[Wanted]:
    for key, size in objects:
        for first in range(0, size, RANGE):
            yield Wanted(key, first, min(first + RANGE, size) - 1, handles[key])
