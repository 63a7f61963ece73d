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
        self._size = size
        self._changed = threading.Condition()
        self._active = 0
        self._hands: list[Hand] = []
        self._threads: set[threading.Thread] = set()
        """Those that take tasks; one that leaves is out before it has closed its hand."""
        self._started: list[threading.Thread] = []
        self._shift = 0
        self._error: BaseException | None = None

    @property
    def waiting(self) -> int:
        """Tasks that nobody has taken yet."""
        return len(self._queue)

    @property
    def idle(self) -> int:
        """Threads that have nothing to do, and could be started."""
        with self._changed:
            return max(0, self._size - self._active) if not self._queue else 0

    def add(self, tasks: Iterable[Task]) -> None:
        """Queue more, from within a task or a tick: the crew cannot have run dry meanwhile."""
        with self._changed:
            self._queue.extend(tasks)
            self._hire()
            self._changed.notify_all()

    def resize(self, size: int) -> None:
        """Work with more or fewer threads from now on; one too many leaves after its task."""
        with self._changed:
            self._size = size
            self._hire()
            self._changed.notify_all()

    def renew(self) -> None:
        """Have every thread take a fresh hand after its task."""
        with self._changed:
            self._shift += 1
            self._changed.notify_all()

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Work until everything is done; `tick` is called about twice a second by the caller's thread.

        Raises:
            BaseException: the first one that a task (or `tick`) raised, after all threads were told to stop.
        """
        try:
            with self._changed:
                self._hire()
            while self._wait():
                tick()
        finally:
            self._dismiss()
        if self._error is not None:
            raise self._error

    def _hire(self) -> None:
        """Start threads for what waits, as far as the size allows; the condition is held."""
        wanted = min(self._size, self._active + len(self._queue))
        while len(self._threads) < wanted and not self.stop.is_set():
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.add(thread)
            self._started.append(thread)
            thread.start()

    def _wait(self) -> bool:
        """Sleep until something changed; False when there is nothing more to wait for."""
        with self._changed:
            if self._threads and self._error is None:
                self._changed.wait(TICK_SECONDS)
            return bool(self._threads) and self._error is None

    def _dismiss(self) -> None:
        self.stop.set()
        with self._changed:
            self._changed.notify_all()
            hands, threads = list(self._hands), list(self._started)
        for hand in hands:
            hand.interrupt()
        for thread in threads:
            thread.join(LEAVE_SECONDS)

    def _work(self) -> None:
        try:
            while self._work_a_shift():
                pass
        except Stopped:
            pass
        except BaseException as error:
            with self._changed:
                if not self.stop.is_set():
                    self._error = error
                    self.stop.set()
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _work_a_shift(self) -> bool:
        """Take a hand and work with it; whether to go on with another one."""
        shift = self._shift
        with self._take_hand() as hand:
            with self._changed:
                self._hands.append(hand)
            try:
                while (task := self._next_task(shift)) is not None:
                    self._do(hand, task[0])
            finally:
                with self._changed:
                    self._hands.remove(hand)
        with self._changed:
            return shift != self._shift and threading.current_thread() in self._threads

    def _next_task(self, shift: int) -> tuple[Task] | None:
        """Wait for a task; None when there is none for this thread and this hand any more."""
        with self._changed:
            while not self.stop.is_set() and shift == self._shift:
                if len(self._threads) > self._size:
                    break
                if self._queue:
                    self._active += 1
                    return (self._queue.popleft(),)
                if not self._active:
                    break
                self._changed.wait()
            if shift == self._shift or self.stop.is_set():
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()
            return None

    def _do(self, hand: Hand, task: Task) -> None:
        try:
            self._act(hand, task)
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()
