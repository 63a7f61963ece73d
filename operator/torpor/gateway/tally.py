"""What one endpoint did at this gateway since it started: the numbers that the controller reads as demand."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from torpor.gateway.usage import NOTHING_USED, Used

Json = dict[str, Any]

KEPT_MS = 600_000
"""Busy intervals and pods that ended are reported for ten more minutes: a controller that restarts misses nothing."""
MOST_INTERVALS = 1000
"""Busy intervals per pod; beyond, the two oldest are joined, which can only overstate how busy it was long ago."""
MOST_WAKES = 20
CLIENT_LEFT = 499
"""Stands for the status of a request whose client left before its answer was complete."""


class Outcome(NamedTuple):
    """How a request ended, for those who count."""

    status: int = CLIENT_LEFT
    """What the client got, or would have got were a 200 not on its way already."""
    used: Used = NOTHING_USED


LEFT = Outcome()
"""What it is until it is known: the client has left."""


@dataclass(slots=True)
class WakeTimes:
    """The milestones of one wake (epoch milliseconds); None is not reached."""

    at_ms: int
    """The first request began to wait."""
    patched_ms: int | None = None
    pod_seen_ms: int | None = None
    healthy_ms: int | None = None
    first_byte_ms: int | None = None

    def report(self) -> Json:
        """Return it as the demand report has it."""
        return {
            "atMs": self.at_ms,
            "patchedMs": self.patched_ms,
            "podSeenMs": self.pod_seen_ms,
            "healthyMs": self.healthy_ms,
            "firstByteMs": self.first_byte_ms,
        }


class Busy:
    """When one pod had requests of this gateway: merged intervals of epoch milliseconds."""

    def __init__(self) -> None:
        """Start idle."""
        self.in_flight = 0
        self.intervals: deque[list[int | None]] = deque()

    def begin(self, now_ms: int) -> None:
        """Count one more request; the first of them opens an interval, or goes on with one that ends just now."""
        self.in_flight += 1
        if self.in_flight > 1:
            return
        if self.intervals and (ended := self.intervals[-1][1]) is not None and ended >= now_ms:
            self.intervals[-1][1] = None
            return
        self.intervals.append([now_ms, None])
        if len(self.intervals) > MOST_INTERVALS:
            oldest = self.intervals.popleft()
            self.intervals[0][0] = oldest[0]

    def end(self, now_ms: int) -> None:
        """Count one request less; the last of them closes the interval."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self.intervals[-1][1] = max(now_ms, self.intervals[-1][0] or 0)

    def forget(self, before_ms: int) -> bool:
        """Drop intervals that ended before then, and return whether anything is left to say."""
        while self.intervals:
            ended = self.intervals[0][1]
            if ended is None or ended >= before_ms:
                break
            self.intervals.popleft()
        return bool(self.intervals)


class Tally:
    """Cumulative counts of one endpoint."""

    def __init__(self, endpoint: str | None = None) -> None:
        """Start at zero; *endpoint* is its uid, which outlives it here."""
        self.endpoint = endpoint
        self.total = self.succeeded = self.failed = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.cached_tokens = 0
        """Those of the prompts that engines had in their caches, as far as they say so."""
        self.last_byte_ms: int | None = None
        self.wakes: deque[WakeTimes] = deque(maxlen=MOST_WAKES)
        self.pods: dict[str, Busy] = {}

    @property
    def touched(self) -> bool:
        """Return whether there is anything to say."""
        return self.total > 0 or self.last_byte_ms is not None

    @property
    def in_flight(self) -> int:
        """Return how many requests are on pods now."""
        return sum(busy.in_flight for busy in self.pods.values())

    def begin(self, uid: str, now_ms: int) -> None:
        """Note that a request goes to a pod."""
        busy = self.pods.get(uid)
        if busy is None:
            busy = self.pods[uid] = Busy()
        busy.begin(now_ms)

    def end(self, uid: str, now_ms: int) -> None:
        """Note that a request on a pod ended."""
        self.pods[uid].end(now_ms)

    def report(self, waiting: int, now_ms: int) -> Json:
        """Return the endpoint's part of the demand report; requests in flight are those on its pods."""
        for uid in [u for u, busy in self.pods.items() if not busy.forget(now_ms - KEPT_MS)]:
            del self.pods[uid]
        return {
            "waiting": waiting,
            "inFlight": self.in_flight,
            "lastByteAtMs": self.last_byte_ms,
            "requests": {"total": self.total, "succeeded": self.succeeded, "failed": self.failed},
            "tokens": {
                "prompt": self.prompt_tokens,
                "completion": self.completion_tokens,
                "cached": self.cached_tokens,
            },
            "wakes": [wake.report() for wake in self.wakes],
            "pods": {
                uid: {"inFlight": busy.in_flight, "busy": [list(i) for i in busy.intervals]}
                for uid, busy in self.pods.items()
            },
        }
