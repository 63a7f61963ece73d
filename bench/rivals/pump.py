"""The least that a download does: what a server sends goes to the disk, and nothing is checked, kept or named.

What server and disk do at the same time is less than what each does alone: they share cores, memory and its bus. So
this is the limit of whoever brings bytes from the one to the other. It is made as fast as we know: whole pieces are
received in one system call into huge pages, written past the page cache four at a time, and while they are written the
connections receive into other buffers.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from bench.rivals.moving import MIB, Source, ranges, reserve, work_off
from bench.rivals.target import Target
from dev.cluster.s3 import Store
from torpor.prewarm.buffers import take_buffer

BLOCK = 4096
PIECE, RANGE = 4 * MIB, 32 * MIB
WRITERS = 4
CONNECTIONS_PER_CORE, MOST_CONNECTIONS = 4, 16


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


class Intake:
    """One connection that fills buffers."""

    def __init__(self, target: Target, pump: Pump, handles: Mapping[str, int]) -> None:
        """`handles` are the files, by the keys of their objects."""
        self._source = Source(target)
        self._pump = pump
        self._handles = handles

    def bring(self, wanted: tuple[str, int, int]) -> None:
        """Receive one range, a buffer after the other.

        Raises:
            OSError: it did not come, or not whole.
        """
        key, first, last = wanted
        answer = self._source.ask(key, first, last)
        link = self._source.connection.sock
        link.settimeout(None)
        for offset in range(first, last + 1, PIECE):
            left = last + 1 - offset
            length = min(PIECE, left)
            view, got = self._pump.empty.get(), 0
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, MIB if left > PIECE else 1)
            if offset == first:  # what the reader of the head has read too much
                got = len(answer.fp.peek(1)[:length])
                answer.fp.readinto(view[:got])
            while got < length:
                count = link.recv_into(view[got:length], 0, socket.MSG_WAITALL)
                if not count:
                    raise OSError(f"{key} ends at {offset + got}")
                got += count
            self._pump.full.put(Full(view, length, self._handles[key], offset))
        answer.close()


def pump_all(target: Target, folder: Path) -> float:
    """Bring every object of the prefix to a file in the folder, to fsync; returns the seconds.

    Raises:
        OSError: something did not come or could not be written.
    """
    objects = list(Store(target.account, *target.address).list(target.source))
    connections = min(MOST_CONNECTIONS, CONNECTIONS_PER_CORE * len(os.sched_getaffinity(0)))
    begun = time.monotonic()
    handles = {key: reserve(folder / Path(key).name, size) for key, size in objects}
    pump = Pump(2 * connections)
    intakes = [Intake(target, pump, handles) for _ in range(connections)]
    with ThreadPoolExecutor(WRITERS) as writers:
        for _ in range(WRITERS):
            writers.submit(pump.write)
        try:
            work_off(ranges(objects, RANGE), [intake.bring for intake in intakes])
        finally:
            pump.end()
    pump.check()
    for handle in handles.values():
        os.fsync(handle)
        os.close(handle)
    return time.monotonic() - begun
