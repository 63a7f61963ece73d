"""Threads that work through one queue, each with what it holds for itself, until the queue is empty or one fails."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

TICK_SECONDS = 0.5
LEAVE_SECONDS = 10.0


class Interruptible(Protocol):
    """What a hand must be able to do: be torn out of a read by another thread."""

    def interrupt(self) -> None:
        """Make a blocking read fail now."""


Hand = TypeVar("Hand", bound=Interruptible)
Task = TypeVar("Task")


class Stopped(Exception):  # not an error: somebody else's was reported
    """A task ends early because the crew was told to stop."""


class Crew(Generic[Hand, Task]):
    """Runs `act(hand, task)` for each task in order of the queue, `size` of them at a time."""

    def __init__(
        self,
        size: int,
        take_hand: Callable[[], AbstractContextManager[Hand]],
        act: Callable[[Hand, Task], None],
        tasks: Iterable[Task],
    ) -> None:
        """`take_hand` is entered once per thread and left when the thread ends."""
        self.stop = threading.Event()
        self._take_hand = take_hand
        self._act = act
        self._queue: deque[Task] = deque(tasks)
        self._size = min(size, len(self._queue))
        self._changed = threading.Condition()
        self._active = 0
        self._running = 0
        self._hands: list[Hand] = []
        self._error: BaseException | None = None

    def add(self, tasks: Iterable[Task]) -> None:
        """Queue more, from within a task: the crew cannot have run dry meanwhile."""
        with self._changed:
            self._queue.extend(tasks)
            self._changed.notify_all()

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Work until everything is done; `tick` is called about twice a second by the caller's thread.

        Raises:
            BaseException: the first one that a task (or `tick`) raised, after all threads were told to stop.
        """
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._size)]
        self._running = len(threads)
        for thread in threads:
            thread.start()
        try:
            while self._wait():
                tick()
        finally:
            self._dismiss(threads)
        if self._error is not None:
            raise self._error

    def _wait(self) -> bool:
        """Sleep until something changed; False when there is nothing more to wait for."""
        with self._changed:
            if self._running and self._error is None:
                self._changed.wait(TICK_SECONDS)
            return self._running > 0 and self._error is None

    def _dismiss(self, threads: list[threading.Thread]) -> None:
        self.stop.set()
        with self._changed:
            self._changed.notify_all()
            hands = list(self._hands)
        for hand in hands:
            hand.interrupt()
        for thread in threads:
            thread.join(LEAVE_SECONDS)

    def _work(self) -> None:
        try:
            with self._take_hand() as hand:
                with self._changed:
                    self._hands.append(hand)
                try:
                    self._take_tasks(hand)
                finally:
                    with self._changed:
                        self._hands.remove(hand)
        except Stopped:
            pass
        except BaseException as error:
            with self._changed:
                if not self.stop.is_set():
                    self._error = error
                    self.stop.set()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _take_tasks(self, hand: Hand) -> None:
        while True:
            with self._changed:
                while not self._queue and self._active and not self.stop.is_set():
                    self._changed.wait()
                if not self._queue or self.stop.is_set():
                    return
                task = self._queue.popleft()
                self._active += 1
            try:
                self._act(hand, task)
            finally:
                with self._changed:
                    self._active -= 1
                    self._changed.notify_all()
