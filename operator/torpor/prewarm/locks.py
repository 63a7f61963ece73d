"""One process per copy: advisory locks that a killed process cannot leave behind. Standard library only."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event

POLL_SECONDS = 0.2


def try_lock(path: str, *, shared: bool = False) -> int | None:
    """Lock a file without waiting; the descriptor that holds the lock until it is closed, or None.

    Who holds a lock may remove its file. A descriptor of a removed file locks nothing that others see, so
    after locking it is made sure that the path still leads to it.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    while True:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _leads_to(path, fd):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


@contextmanager
def hold_lock(
    path: str, waiting: Callable[[], None] = lambda: None, *, shared: bool = False
) -> Generator[int, None, None]:
    """Hold the lock; `waiting` is called several times a second while another process has it.

    Gives the descriptor: a child that inherits it holds the lock too, for as long as it lives.
    """
    fd = try_lock(path, shared=shared)
    while fd is None:
        waiting()
        Event().wait(POLL_SECONDS)
        fd = try_lock(path, shared=shared)
    try:
        yield fd
    finally:
        os.close(fd)
