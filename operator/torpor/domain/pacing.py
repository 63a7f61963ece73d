"""How hard to pull: how many connections, when to ask twice, how many processes.

Decisions from measurements; who measures is `torpor.prewarm`. A round is the second or so between two of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

MIB = 1024 * 1024

LEAST_CONNECTIONS, MOST_CONNECTIONS = 4, 64
"""Adapted between these. Fewer at the start are a person's wish, and kept."""

FIRST_CONNECTIONS, CONNECTIONS_PER_CORE = 16, 4
"""To begin with: 16 saturate what S3 gives to each of them; few cores serve fewer, for less CPU time a byte."""

MOST_BUFFER_BYTES = 128 * MIB
"""Memory for all buffers, one a connection: with four processes the whole stays below 256 MB."""

GROWTH, WORTH = 1.3, 1.05
"""A third more connections must bring a twentieth more bytes, or they are given back."""

PAUSE_ROUNDS, LATER_ROUNDS = 3, 10
"""Rounds of quiet after the store asked for it, and until growth that did not pay is tried again."""

PROCESS_BYTES_PER_SECOND, PROCESS_CORES = 1.2e9, 0.9
"""One Python process moves about 1.5 GB/s before its threads wait for each other: the next starts before that."""

MOST_PROCESSES = 4
"""Each takes about 30 MB beside the buffers of its connections."""

HEDGE_FACTOR, HEDGE_SECONDS = 2.0, 0.5
"""A range is slow when it takes twice as long as usual, and half a second more than usual."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many connections pull at a time, and what was learned on the way there."""

    connections: int
    tried_from: int = 0
    """Connections before the last growth, whose worth the next round shows; 0: nothing is being tried."""
    rate_before: float = 0.0
    """Bytes per second before that growth."""
    ceiling: int = 0
    """Connections at which the store asked to slow down; 0: it never did, or long ago."""
    quiet: int = 0
    """Rounds to leave everything as it is."""


def first_connections(wanted: int, cores: int) -> int:
    """How many connections to begin with; `wanted` is what the setting says, 0 leaves it to us."""
    few = max(LEAST_CONNECTIONS, CONNECTIONS_PER_CORE * cores)
    return wanted or min(FIRST_CONNECTIONS, few)


def most_connections(piece_bytes: int) -> int:
    """How many connections the memory for buffers of one piece each allows."""
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, MOST_BUFFER_BYTES // piece_bytes))


def next_pace(pace: Pace, bytes_per_second: float, *, slowed: bool, most: int) -> Pace:
    """Decide after a round; `most` is the number of connections that the memory allows.

    1. Fewer than the least: somebody set it so. 2. The store asked to slow down: half. 3. Quiet: wait.
    4. Back up to just below the ceiling, one at a time. 5. The last growth did not pay: back. 6. Grow.
    """
    count = pace.connections
    if count < LEAST_CONNECTIONS:
        return pace
    if slowed:
        return Pace(max(LEAST_CONNECTIONS, count // 2), ceiling=count, quiet=PAUSE_ROUNDS)
    if pace.quiet:
        return replace(pace, quiet=pace.quiet - 1)
    if pace.ceiling:
        if count + 1 < pace.ceiling:
            return replace(pace, connections=count + 1)
        return Pace(count, quiet=LATER_ROUNDS)
    if pace.tried_from and bytes_per_second < pace.rate_before * WORTH:
        return Pace(pace.tried_from, quiet=LATER_ROUNDS)
    if count >= most:
        return Pace(count)
    more = min(most, math.ceil(count * GROWTH))
    return Pace(more, tried_from=count, rate_before=bytes_per_second)


def next_processes(
    running: int, cores: int, *, bytes_per_second: float, busy_cores: float, wanted: int
) -> int:
    """How many processes should move bytes; never fewer than run already.

    Args:
        running: those that run, this one included.
        cores: what this machine has.
        bytes_per_second: of all of them together.
        busy_cores: CPU seconds per second of this process.
        wanted: what the setting says; 0 leaves it to us: one more whenever those that run are saturated, where
            at least four cores leave two for each.
    """
    if wanted:
        return wanted
    most = min(MOST_PROCESSES, cores // 2) if cores >= 4 else 1
    saturated = (
        bytes_per_second >= PROCESS_BYTES_PER_SECOND * running or busy_cores >= PROCESS_CORES
    )
    return max(running, min(most, running + 1)) if saturated else running


def choose_hedges(
    waited: Sequence[tuple[int, float]], usual: Sequence[tuple[int, float]], idle: int
) -> list[int]:
    """Which ranges under way to ask for a second time, by index, the slowest first.

    A range is compared with those of at least half its length: a small file tells nothing about a large range, and on
    a slow link every large one would be asked for twice, through the same link.

    Args:
        waited: (bytes, seconds since it was asked for) of each; leave out those that were asked for twice.
        usual: (bytes, seconds it took) of ranges that are complete; without one alike, nothing is known to be slow.
        idle: connections that have nothing else to do.
    """
    slow: list[int] = []
    for index, (length, seconds) in enumerate(waited):
        alike = sorted(took for size, took in usual if size * 2 >= length)
        if not alike:
            continue
        median = alike[len(alike) // 2]
        if seconds > max(median * HEDGE_FACTOR, median + HEDGE_SECONDS):
            slow.append(index)
    return sorted(slow, key=lambda index: -waited[index][1])[: max(0, idle)]
