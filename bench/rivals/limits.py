"""What server and disk can do at most, measured in the same turns: `python -m bench.rivals.limits WHICH FOLDER`.

WHICH is `server`, `disk`, or `both`: what was received is written (`bench.rivals.pump`). Each prints one JSON line,
`{"seconds": …}`: the time of the work alone, without the start of the interpreter, so that a limit is never set too low
by what has nothing to do with it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bench.rivals.pump import pump_all
from bench.rivals.target import Target, read_target
from dev.cluster.s3 import Store, sign
from torpor.prewarm.buffers import take_buffer

MIB = 1 << 20
CONNECTIONS = 16
RANGE = 8 * MIB
FILES = 4
BLOCK = 16 * MIB
T = TypeVar("T")
_NOTHING = hashlib.sha256(b"").hexdigest()


def ranges(objects: list[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    """(key, first byte, last byte) of everything, file after file."""
    for key, size in objects:
        for offset in range(0, size, RANGE):
            yield key, offset, min(offset + RANGE, size) - 1


class Receiver:
    """One connection that receives ranges into a buffer of its own and forgets them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._host = "{}:{}".format(*target.address)
        self._connection = http.client.HTTPConnection(*target.address, timeout=60)
        self._buffer = memoryview(bytearray(RANGE))

    def receive(self, key: str, first: int, last: int) -> None:
        """Receive one range, the whole of it or fail."""
        path = f"/{self._target.bucket}/{key}"
        headers = sign(
            self._target.account, "GET", self._host, path, {}, _NOTHING, datetime.now(UTC)
        )
        headers["range"] = f"bytes={first}-{last}"
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        wanted, got = last - first + 1, 0
        while got < wanted and (count := answer.readinto(self._buffer[got:wanted])):
            got += count
        if answer.status not in (200, 206) or got != wanted or answer.read(1):
            raise OSError(f"{path} {first}-{last}: status {answer.status}, {got} bytes")


def receive_all(target: Target) -> float:
    """Receive every object of the prefix over parallel connections; returns the seconds."""
    store = Store(target.account, *target.address)
    waiting = ranges(list(store.list(target.source)))
    lock = threading.Lock()

    def work(receiver: Receiver) -> None:
        while True:
            with lock:
                wanted = next(waiting, None)
            if wanted is None:
                return
            receiver.receive(*wanted)

    return _time(work, [Receiver(target) for _ in range(CONNECTIONS)])


def write_all(folder: Path, file_bytes: int) -> float:
    """Write the files past the page cache from huge pages, all at once, to fsync; returns the seconds."""
    view = take_buffer(BLOCK)
    view[:] = os.urandom(MIB) * (BLOCK // MIB)

    def work(path: Path) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
        try:
            os.posix_fallocate(handle, 0, file_bytes)
            for offset in range(0, file_bytes, BLOCK):
                length = min(BLOCK, file_bytes - offset)
                if os.pwrite(handle, view[:length], offset) != length:
                    raise OSError(f"{path}: short write at {offset}")
            os.fsync(handle)
        finally:
            os.close(handle)

    return _time(work, [folder / f"block-{number}" for number in range(FILES)])


def _time(work: Callable[[T], None], items: list[T]) -> float:
    begun = time.monotonic()
    with ThreadPoolExecutor(len(items)) as pool:
        list(pool.map(work, items))
    return time.monotonic() - begun


def main(words: list[str]) -> int:
    """Measure one limit as the command line and BENCH_TARGET say."""
    which, folder = words
    target = read_target(os.environ["BENCH_TARGET"])
    if which == "server":
        seconds = receive_all(target)
    elif which == "both":
        seconds = pump_all(target, Path(folder))
    else:
        store = Store(target.account, *target.address)
        total = sum(size for _, size in store.list(target.source))
        seconds = write_all(Path(folder), total // FILES // 4096 * 4096)
    print(json.dumps({"seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
