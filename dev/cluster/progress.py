"""Progress lines with seconds, on stderr so that stdout stays machine-readable."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_started = time.monotonic()


def say(text: str) -> None:
    """Print one line, stamped with the seconds since this program started."""
    print(f"[{time.monotonic() - _started:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str, *, quiet_below: float = 0.0) -> Iterator[None]:
    """Announce a step when it is over, with what it took; silent if faster than `quiet_below`."""
    begun = time.monotonic()
    if quiet_below == 0.0:
        say(f"{text} …")
    yield
    took = time.monotonic() - begun
    if took >= quiet_below:
        say(f"{text}: {took:.1f} s")
