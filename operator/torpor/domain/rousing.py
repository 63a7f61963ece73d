"""When replicas are written, and how many: the part of a waiting room that wakes.

What makes a wake due is told with each call: the terms, how many requests wait, and the time.
"""

from __future__ import annotations

from torpor.domain.waitroom import Settle, Terms, Wake, Willing, WriteOutcome, Written

SETTLE_SECONDS = 0.002
"""Pause before a write: longer than one pass over the event loop, far below the 20 ms that a wake may take."""
SETTLE_MOST_SECONDS = 0.032
"""Longest single pause: they double, for a herd whose clients share two busy cores comes in clumps with some
milliseconds between them. One that needs several pods already is taken to be whole only after so long without more."""
SETTLE_LIMIT_SECONDS = 0.1
"""Longest wait for a herd that still grows: a tenth of the quickest cold start.

It is counted in pauses, not by the clock: reading two hundred requests takes a gateway that much processor time, and on
a machine with other work several times as long, and what lies unread at the end of a pause belongs to the herd.
"""
RETRY_SECONDS = (0.1, 2.0)
"""First and last pause between failed writes; doubling, and short because somebody waits."""


class Rousing:
    """The replicas as far as they are known, and the one write that may be under way."""

    def __init__(self) -> None:
        """Start knowing nothing of the Deployment."""
        self.replicas: int | None = None
        self.trouble = ""
        """Why the last write failed; empty once one did not."""
        self._version = self._version_before = 0
        self._writing = False
        self._settling = False
        self._settling_count = 0
        self._pause = self._paused = 0.0
        self._retry = RETRY_SECONDS[0]
        self._woken_at: float | None = None
        self._promised_until = 0.0

    def promise(self, until: float) -> None:
        """Owe a wake, until then, to somebody who does not wait for it; none is needed above zero."""
        if not self.replicas:
            self._promised_until = until

    def awake_for(self, now: float) -> float:
        """Return how many seconds ago the replicas were seen to be no longer zero; 0 at zero."""
        return 0.0 if self._woken_at is None else now - self._woken_at

    def told(self, replicas: int | None, version: int | None, now: float) -> bool:
        """Take in the Deployment's replicas, and return False for news older than the last write."""
        if version is not None:
            if version < self._version:
                return False
            self._version = version
        self._count(replicas, now)
        return True

    def due(self, terms: Terms, waiting: int, now: float) -> list[Settle | Wake]:
        """Return the pause before a write, or the write at once where N cannot grow; nothing if there is none to do."""
        if self._settling or not self._wakeable(terms, waiting, now):
            return []
        if wanted(terms, waiting) >= terms.max_replicas:
            return [self._wake(terms, waiting)]
        self._pause, self._paused = SETTLE_SECONDS, 0.0
        return [self._settle(SETTLE_SECONDS, waiting)]

    def settled(self, terms: Terms, waiting: int, now: float) -> list[Settle | Wake]:
        """Go on after a pause: wait again, twice as long, while the herd grows or a clump may be to come; or write."""
        settling, self._settling = self._settling, False
        if not settling or not self._wakeable(terms, waiting, now):
            return []
        pods, left = wanted(terms, waiting), SETTLE_LIMIT_SECONDS - self._paused
        grows = waiting > self._settling_count
        more = grows or (pods > 1 and self._pause < SETTLE_MOST_SECONDS)
        if more and pods < terms.max_replicas and left >= SETTLE_SECONDS:
            self._pause = min(2 * self._pause, SETTLE_MOST_SECONDS, left)
            return [self._settle(self._pause, waiting)]
        return [self._wake(terms, waiting)]

    def written(self, written: Written, now: float) -> bool:
        """Take in how the write ended, and return whether the endpoint is awake now.

        After a lost race the replicas are taken to be one until the watch says the number; unless it has spoken since
        the write began, for then the endpoint may be at zero again already, and who waits must wake it again.
        """
        self._writing = False
        version = written.version or 0
        if written.outcome not in (WriteOutcome.WRITTEN, WriteOutcome.RACE_LOST):
            self.trouble = written.message
            if written.outcome is WriteOutcome.DENIED:
                self._promised_until = 0.0
            return False
        self._promised_until = 0.0
        if version > self._version or self._version == self._version_before:
            self._count(max(1, written.replicas), now)
        self._version = max(self._version, version)
        self.trouble, self._retry = "", RETRY_SECONDS[0]
        return True

    def again(self, terms: Terms, waiting: int, now: float) -> list[Settle | Wake]:
        """Return the pause after a write that failed, which is longer each time."""
        pause, self._retry = self._retry, min(2 * self._retry, RETRY_SECONDS[1])
        if not self._wakeable(terms, waiting, now):
            return []
        return [self._settle(pause, waiting)]

    def _count(self, replicas: int | None, now: float) -> None:
        if not replicas:
            self._woken_at = None
        elif self._woken_at is None:
            self._woken_at, self._promised_until = now, 0.0
        self.replicas = replicas

    def _wakeable(self, terms: Terms, waiting: int, now: float) -> bool:
        """Return whether an endpoint at zero is to be woken for somebody, may be, and nobody is at it yet."""
        may = terms.willing is Willing.YES and self.replicas == 0 and not self._writing
        return may and (waiting > 0 or now < self._promised_until)

    def _settle(self, after: float, waiting: int) -> Settle:
        self._settling, self._settling_count = True, waiting
        self._paused += after
        return Settle(after)

    def _wake(self, terms: Terms, waiting: int) -> Wake:
        self._writing, self._version_before = True, self._version
        return Wake(wanted(terms, waiting))


def wanted(terms: Terms, waiting: int) -> int:
    """Return N: as many pods as those who wait would fill, within the endpoint's bounds."""
    needed = -(-waiting // terms.in_flight_per_pod)
    return max(1, min(needed, terms.max_replicas))
