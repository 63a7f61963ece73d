"""Sockets to the engines that notice when a node is gone.

A node that died does not refuse or reset, it is silent; without these options a request would wait for its answer until
its own time-out, minutes later. An engine that only thinks for long is not cut off, for its node's kernel answers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

PROBES = 2
"""How often a silent connection is probed within the second half of its silence."""


def opener(silence: float) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Return what opens a socket for an address that fails once the other side was silent for so many seconds."""

    def open_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        half = max(1, round(silence / 2))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in (
            ("TCP_KEEPIDLE", half),
            ("TCP_KEEPINTVL", max(1, half // PROBES)),
            ("TCP_KEEPCNT", PROBES),
            ("TCP_USER_TIMEOUT", round(silence * 1000)),
        ):
            if (number := getattr(socket, option, None)) is not None:  # a Mac names them otherwise
                made.setsockopt(socket.IPPROTO_TCP, number, value)
        return made

    return open_socket
