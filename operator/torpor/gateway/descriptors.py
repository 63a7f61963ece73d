"""How many files, which sockets are, this process may have open."""

from __future__ import annotations

import resource

RESERVED = 512
"""For the API server, both ports, the event loop, what the interpreter opens, and connections that leave."""
UNLIMITED = 1 << 30


def open_to_the_limit() -> None:
    """Allow this process as many open files as the system lets it allow itself: containers often begin with 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files_for_connections() -> int:
    """Return how many sockets clients and engines may have together."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else max(16, soft - RESERVED)
