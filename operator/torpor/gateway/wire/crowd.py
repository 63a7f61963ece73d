"""All connections of clients: how many there may be, and which of them goes for one too many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from torpor.domain.waitroom import Refusal

log = logging.getLogger(__name__)

MOST_LEAVING = 256
"""Connections that may linger at once; of more, each is closed without a word."""
RETRY_AFTER = 5.0
"""Seconds a client is told to stay away when there are too many connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may do; times are in seconds."""

    idle: float
    """Without a request."""
    header: float
    """From the first byte of a request to the end of its headers."""
    linger: float
    """From an answer that ends the connection to its end, while the client may still send: or it would not read it."""
    send: float
    """Without taking anything of an answer that waits for its client."""
    most: int
    """Connections at once."""
    files: int
    """Connections and those to engines together: one that is not idle may need one."""


class Member(Protocol):
    """A connection, as the crowd sees it."""

    task: asyncio.Task[None] | None
    """What handles its request."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer whatever comes next with *refusal*; close soon if nothing comes."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...

    def cut(self) -> None:
        """Hang up at once, whatever runs."""
        ...

    def sweep(self, now: float, limits: Limits) -> None:
        """Hang up if it has been silent, slow or deaf for too long."""
        ...


class Crowd:
    """Counts connections and knows which are idle."""

    def __init__(self, limits: Limits) -> None:
        """Start with nobody."""
        self.limits = limits
        self.members: set[Member] = set()
        self._leaving: set[Member] = set()
        """Those that have been told why they end, or will be; they count apart, for they cost nobody a place."""
        self._idle: dict[Member, None] = {}
        """The one that is idle for longest first."""
        self._warned = False

    @property
    def open(self) -> int:
        """Return how many connections there are that may ask."""
        return len(self.members)

    @property
    def leaving(self) -> int:
        """Return how many others are about to be closed."""
        return len(self._leaving)

    @property
    def idle(self) -> int:
        """Return how many of them have no request."""
        return len(self._idle)

    def admit(self, newcomer: Member) -> None:
        """Count a new connection; if it is one too many, the one idle for longest goes, or else the new one."""
        limits, idle = self.limits, self._idle
        self.members.add(newcomer)
        busy = len(self.members) - len(idle) - 1
        if len(self.members) <= limits.most and len(self.members) + busy <= limits.files:
            idle[newcomer] = None
            return
        if not self._warned:
            self._warned = True
            log.warning("%d connections, %d of them busy: idle ones are closed", self.open, busy)
        longest = next(iter(idle), None)
        if longest is not None:
            self.leave(longest)
            longest.close()
            idle[newcomer] = None
            return
        said = f"this gateway has {self.open} connections, of which {busy} are busy: limit {limits.most}"
        newcomer.refuse(Refusal(503, "too_many_connections", said, retry_after=RETRY_AFTER))

    def work(self, member: Member) -> None:
        """Note that a connection has a request."""
        self._idle.pop(member, None)

    def rest(self, member: Member) -> None:
        """Note that a connection has none any more."""
        if member in self.members:
            self._idle[member] = None

    def part(self, member: Member) -> None:
        """Count a connection among those that are about to be closed; where there are too many it is closed now."""
        self.leave(member)
        if len(self._leaving) >= MOST_LEAVING:
            member.cut()
        else:
            self._leaving.add(member)

    def leave(self, member: Member) -> None:
        """Count a connection no longer; twice does no harm."""
        self._leaving.discard(member)
        self.members.discard(member)
        self._idle.pop(member, None)

    def sweep(self, now: float, members: Collection[Member]) -> None:
        """Look at some of the connections."""
        for member in list(members):
            member.sweep(now, self.limits)
