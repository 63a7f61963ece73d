"""The line of those who wait: the keys take turns, and within a key it goes by arrival."""

from __future__ import annotations

import heapq
from collections import OrderedDict

from torpor.domain.waitroom import Request

SLACK = 64
"""Entries of those who have left that a heap may hold beyond as many as there are of those who wait."""


class _Queue:
    """The requests of one key: a heap of tickets, in which who has left is skipped when it comes up."""

    __slots__ = ("tickets", "waiting")

    def __init__(self) -> None:
        self.tickets: list[int] = []
        self.waiting = 0


class Line:
    """Requests without a pod.

    `pop` takes the keys one after the other, so that a key with a thousand requests delays another key's only one by a
    single turn. A key that begins to wait stands behind those who wait already. Within a key the smallest ticket comes
    first: tickets grow with each request, so that one that comes back has its old place.

    Every operation takes O(log n) steps, spread over all; those for several requests that for each.
    """

    def __init__(self) -> None:
        """Start with nobody."""
        self.bytes = 0
        self._requests: dict[int, Request] = {}
        self._turns: OrderedDict[str, _Queue] = OrderedDict()
        """The keys that wait, the one whose turn it is first."""
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def next_deadline(self) -> float | None:
        """Return when the first patience ends; None while nobody waits."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self._requests:
            heapq.heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    @property
    def first(self) -> Request:
        """Return whose turn it is; the line must not be empty."""
        tickets = next(iter(self._turns.values())).tickets
        while (request := self._requests.get(tickets[0])) is None:
            heapq.heappop(tickets)
        return request

    def of(self, owner: str) -> int:
        """Return how many requests of a key wait."""
        queue = self._turns.get(owner)
        return queue.waiting if queue is not None else 0

    def push(self, request: Request, returns: bool = False) -> None:
        """Let a request wait at its place; one that *returns* unserved gives its key the turn back."""
        queue = self._turns.get(request.owner)
        if queue is None:
            queue = self._turns[request.owner] = _Queue()
        if returns:
            self._turns.move_to_end(request.owner, last=False)
        queue.waiting += 1
        self._requests[request.ticket] = request
        self.bytes += request.size
        heapq.heappush(queue.tickets, request.ticket)
        heapq.heappush(self._deadlines, (request.deadline, request.ticket))
        self._tidy(queue)

    def pop(self) -> Request:
        """Take out whose turn it is; the line must not be empty."""
        request = self.first
        queue = self._turns[request.owner]
        heapq.heappop(queue.tickets)
        self._strike(request.ticket)
        if queue.waiting:
            self._turns.move_to_end(request.owner)
        return request

    def leave(self, ticket: int) -> bool:
        """Take one out from wherever it stands; return whether it was there."""
        if ticket not in self._requests:
            return False
        self._strike(ticket)
        return True

    def take_late(self, now: float) -> list[Request]:
        """Take out everybody whose deadline has come, in order of arrival."""
        late: list[Request] = []
        while (deadline := self.next_deadline) is not None and deadline <= now:
            late.append(self._strike(self._deadlines[0][1]))
        return sorted(late, key=_ticket)

    def take_all(self) -> list[Request]:
        """Take out everybody, in order of arrival."""
        return [self._strike(ticket) for ticket in sorted(self._requests)]

    def _strike(self, ticket: int) -> Request:
        request = self._requests.pop(ticket)
        self.bytes -= request.size
        queue = self._turns[request.owner]
        queue.waiting -= 1
        if not queue.waiting:
            del self._turns[request.owner]
        return request

    def _tidy(self, queue: _Queue) -> None:
        """Forget in both heaps who has left, once they are many."""
        if len(queue.tickets) > 2 * queue.waiting + SLACK:
            queue.tickets = sorted(ticket for ticket in queue.tickets if ticket in self._requests)
        if len(self._deadlines) > 2 * len(self._requests) + SLACK:
            self._deadlines = sorted((r.deadline, r.ticket) for r in self._requests.values())


def _ticket(request: Request) -> int:
    return request.ticket
