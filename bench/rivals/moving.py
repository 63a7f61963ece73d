"""What the limits share: signed requests for ranges, files past the page cache, a queue that several threads empty."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bench.rivals.target import Target
from dev.cluster.s3 import sign

MIB = 1 << 20
T = TypeVar("T")
_NOTHING = hashlib.sha256(b"").hexdigest()


class Source:
    """One connection to the server."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._host = "{}:{}".format(*target.address)
        self.connection = http.client.HTTPConnection(*target.address, timeout=60)

    def ask(self, key: str, first: int, last: int) -> http.client.HTTPResponse:
        """Ask for a range; its body is still to be read.

        Raises:
            OSError: there is no such answer.
        """
        path = f"/{self._target.bucket}/{key}"
        now = datetime.now(UTC)
        headers = sign(self._target.account, "GET", self._host, path, {}, _NOTHING, now)
        headers["range"] = f"bytes={first}-{last}"
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        if answer.status not in (200, 206):
            raise OSError(f"{path} {first}-{last}: status {answer.status}")
        return answer


def ranges(objects: Iterable[tuple[str, int]], range_bytes: int) -> Iterator[tuple[str, int, int]]:
    """(key, first byte, last byte) of everything, file after file."""
    for key, size in objects:
        for offset in range(0, size, range_bytes):
            yield key, offset, min(offset + range_bytes, size) - 1


def reserve(path: Path, size: int) -> int:
    """Open a file to be written past the page cache, with room for all of it; returns its descriptor."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    os.posix_fallocate(handle, 0, size)
    return handle


def work_off(waiting: Iterator[T], workers: Sequence[Callable[[T], None]]) -> None:
    """Give what waits to the workers, each in a thread of its own, until nothing waits.

    Raises:
        Exception: what a worker raised.
    """
    lock = threading.Lock()

    def work(act: Callable[[T], None]) -> None:
        while True:
            with lock:
                task = next(waiting, None)
            if task is None:
                return
            act(task)

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(work, workers))
