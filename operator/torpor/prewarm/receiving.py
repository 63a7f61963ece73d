"""Bytes from a socket in few system calls, with a look up often enough to say how far it is."""

import socket
import struct

SILENCE_SECONDS = 30.0
"""Longest time without a byte in the middle of an answer."""

LOOK_SECONDS = 0.5
"""A read that waits for more ends with what there is after so long, so that a slow link shows progress too."""


def set_looks(link: socket.socket) -> None:
    """Let blocking reads of this socket end every `LOOK_SECONDS`; where Python keeps the time it changes nothing."""
    seconds, micros = divmod(int(LOOK_SECONDS * 1_000_000), 1_000_000)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, micros))


def receive(
    link: socket.socket, view: memoryview, flags: int = 0, seconds: float = SILENCE_SECONDS
) -> int:
    """Receive into `view`; 0 when the peer has closed.

    Raises:
        OSError: the connection failed, or (`TimeoutError`) not a byte came for so many seconds.
    """
    for _ in range(int(seconds / LOOK_SECONDS)):
        try:
            return link.recv_into(view, 0, flags)
        except BlockingIOError:  # nothing yet
            continue
    raise TimeoutError
