"""Measures each second or so how the transfer does, and carries out what `domain.pacing` decides."""

import os
from typing import Any

from torpor import clock
from torpor.domain.pacing import Pace, next_pace, next_processes
from torpor.prewarm.crew import Crew
from torpor.prewarm.progress import Progress
from torpor.prewarm.yard import Yard

ROUND_SECONDS = 1.0


class Pacemaker:
    """Sets the number of connections and processes of one transfer; `slow_down` is for any thread."""

    def __init__(
        self,
        connections: int,
        processes: int,
        crew: Crew[Any, Any],
        yard: Yard,
        progress: Progress,
        *,
        most: int,
    ) -> None:
        """Begin with so many connections, of at most `most`, and with the processes that the setting asks for."""
        self._wanted = processes
        self._most = most
        self._crew = crew
        self._yard = yard
        self._progress = progress
        self._pace = Pace(connections)
        self._slowed = False
        self._begin_round()
        yard.grow(processes)

    def slow_down(self) -> None:
        """The store asked for fewer requests."""
        self._slowed = True

    def tick(self) -> None:
        """Decide when a round is over; what is left at the end of a transfer says nothing about the link."""
        seconds = clock.monotonic() - self._begun_at
        if seconds < ROUND_SECONDS or not self._crew.waiting:
            return
        rate = max(0, self._progress.moved - self._moved) / seconds
        busy = (_cpu_seconds() - self._cpu) / seconds
        slowed, self._slowed = self._slowed, False
        pace = next_pace(self._pace, rate, slowed=slowed, most=self._most)
        if pace.connections != self._pace.connections:
            self._crew.resize(pace.connections)
        self._pace = pace
        size = next_processes(
            self._yard.size,
            count_cores(),
            bytes_per_second=rate,
            busy_cores=busy,
            wanted=self._wanted,
        )
        if size > self._yard.size:
            self._yard.grow(size)
            self._crew.renew()
        self._begin_round()

    def _begin_round(self) -> None:
        self._begun_at = clock.monotonic()
        self._moved = self._progress.moved
        self._cpu = _cpu_seconds()


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
