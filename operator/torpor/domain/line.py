"""The line of those who wait: in order of arrival, counted by number and by bytes."""

from __future__ import annotations

import heapq

from torpor.domain.waitroom import Request


class Line:
    """Requests without a pod, smallest ticket first.

    Tickets grow with each request, so a heap of them keeps the order of arrival also for one that comes back. Who
    leaves from the middle is only struck from `_requests`; its ticket is skipped when it comes up.
    """

    def __init__(self) -> None:
        """Start with nobody."""
        self.bytes = 0
        self._requests: dict[int, Request] = {}
        self._tickets: list[int] = []

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def next_deadline(self) -> float | None:
        """Return when the first patience ends; None while nobody waits."""
        return min((request.deadline for request in self._requests.values()), default=None)

    def push(self, request: Request) -> None:
        """Let a request wait at the place of its ticket."""
        self._requests[request.ticket] = request
        self.bytes += request.size
        heapq.heappush(self._tickets, request.ticket)
        if len(self._tickets) > 2 * len(self._requests) + 64:
            self._tickets = sorted(self._requests)

    def pop(self) -> Request:
        """Take out who came first; the line must not be empty."""
        while (ticket := heapq.heappop(self._tickets)) not in self._requests:
            pass
        return self._strike(ticket)

    def leave(self, ticket: int) -> bool:
        """Take one out from wherever it stands; return whether it was there."""
        if ticket not in self._requests:
            return False
        self._strike(ticket)
        return True

    def take_late(self, now: float) -> list[Request]:
        """Take out everybody whose deadline has come, in order."""
        late = sorted(r.ticket for r in self._requests.values() if r.deadline <= now)
        return [self._strike(ticket) for ticket in late]

    def take_all(self) -> list[Request]:
        """Take out everybody, in order."""
        return [self._strike(ticket) for ticket in sorted(self._requests)]

    def _strike(self, ticket: int) -> Request:
        request = self._requests.pop(ticket)
        self.bytes -= request.size
        if not self._requests:
            self._tickets.clear()
        return request
