"""The only reader of the clock; everything else is handed the time."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the present instant, aware and in UTC: for what people and the API server read."""
    return datetime.now(UTC)


def now_ms() -> int:
    """Return the present instant as milliseconds since the epoch: for what is counted and compared across programs."""
    return time.time_ns() // 1_000_000


monotonic = time.monotonic
"""Returns seconds of a clock that never jumps: for deadlines and durations inside one process."""
