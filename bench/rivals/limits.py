"""What server and disk can do at most, measured in the same turns: `python -m bench.rivals.limits WHICH FOLDER`.

WHICH is `server`, `disk`, or `both`: what was received is written (`bench.rivals.pump`). Each prints one JSON line,
`{"seconds": …}`: the time of the work alone, without the start of the interpreter, so that a limit is never set too low
by what has nothing to do with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.rivals.moving import MIB, Source, ranges, reserve, work_off
from bench.rivals.pump import pump_all
from bench.rivals.target import Target, read_target
from dev.cluster.s3 import Store
from torpor.prewarm.buffers import take_buffer

CONNECTIONS = 16
RANGE = 8 * MIB
FILES = 4
BLOCK = 16 * MIB


class Receiver:
    """One connection that receives ranges into a buffer of its own and forgets them."""

    def __init__(self, target: Target) -> None:
        self._source = Source(target)
        self._buffer = memoryview(bytearray(RANGE))

    def receive(self, wanted: tuple[str, int, int]) -> None:
        """Receive one range, the whole of it or fail."""
        key, first, last = wanted
        answer = self._source.ask(key, first, last)
        length, got = last - first + 1, 0
        while got < length and (count := answer.readinto(self._buffer[got:length])):
            got += count
        if got != length or answer.read(1):
            raise OSError(f"{key} {first}-{last}: {got} bytes")


def receive_all(target: Target) -> float:
    """Receive every object of the prefix over parallel connections; returns the seconds."""
    objects = list(Store(target.account, *target.address).list(target.source))
    receivers = [Receiver(target) for _ in range(CONNECTIONS)]
    return _time(lambda: work_off(ranges(objects, RANGE), [one.receive for one in receivers]))


def write_all(folder: Path, file_bytes: int) -> float:
    """Write the files past the page cache from huge pages, all at once, to fsync; returns the seconds."""
    view = take_buffer(BLOCK)
    view[:] = os.urandom(MIB) * (BLOCK // MIB)

    def work(path: Path) -> None:
        handle = reserve(path, file_bytes)
        try:
            for offset in range(0, file_bytes, BLOCK):
                length = min(BLOCK, file_bytes - offset)
                if os.pwrite(handle, view[:length], offset) != length:
                    raise OSError(f"{path}: short write at {offset}")
            os.fsync(handle)
        finally:
            os.close(handle)

    paths = (folder / f"block-{number}" for number in range(FILES))
    return _time(lambda: work_off(paths, [work] * FILES))


def _time(act: Callable[[], None]) -> float:
    begun = time.monotonic()
    act()
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
