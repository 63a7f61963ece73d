"""One process per copy: advisory locks that a killed process cannot leave behind."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event

POLL_SECONDS = 0.2


def try_lock(path: str) -> int | None:
    """Lock a file without waiting; the descriptor that holds the lock until it is closed, or None."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def hold_lock(path: str, waiting: Callable[[], None] = lambda: None) -> Generator[int, None, None]:
    """Hold the lock; `waiting` is called several times a second while another process has it.

    Gives the descriptor: a child that inherits it holds the lock too, for as long as it lives.
    """
    fd = try_lock(path)
    while fd is None:
        waiting()
        Event().wait(POLL_SECONDS)
        fd = try_lock(path)
    try:
        yield fd
    finally:
        os.close(fd)
