"""Connections to engines that notice when a node is gone.

A node that died does not refuse or reset, it is silent; without these options a request would wait for its answer until
its own time-out, minutes later. An engine that only thinks for long is not cut off, for its node's kernel answers.
"""

from __future__ import annotations

import socket
from typing import Protocol

PROBES = 2
"""How often a silent connection is probed within the second half of its silence."""


class Socket(Protocol):
    """A socket, or what an event loop gives for one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set one option."""
        ...


def end_when_silent(made: Socket, seconds: float) -> None:
    """Have a connection fail once the other side was silent for so many seconds."""
    half = max(1, round(seconds / 2))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", half),
        ("TCP_KEEPINTVL", max(1, half // PROBES)),
        ("TCP_KEEPCNT", PROBES),
        ("TCP_USER_TIMEOUT", round(seconds * 1000)),
    ):
        if (number := getattr(socket, option, None)) is not None:  # a Mac names them otherwise
            made.setsockopt(socket.IPPROTO_TCP, number, value)
