"""Run one command and write what it took, as JSON: `python meter.py REPORT LOG FOLDER COMMAND…`.

Standard library only, run as a file and without `site`, so that this process stays small: Linux counts what the
parent held before `exec` into the child's largest resident set.

`seconds` ends when the command does, `durable` when every file below FOLDER has been fsynced as well. Processor
time is that of the command and of every process below it, orphans included: this process adopts them
(PR_SET_CHILD_SUBREAPER), so the kernel hands it their accounts too. `peak` is the largest sum of resident sets
seen in 20 samples a second; `largest` is the kernel's own largest resident set of a single process.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

PERIOD_SECONDS = 0.05
ORPHANS_SECONDS = 5.0
"""What may outlive the command: Python's helper processes leave within milliseconds."""
PAGE = os.sysconf("SC_PAGE_SIZE")
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36


class Stopped(BaseException):
    """SIGTERM, or whoever started this process is gone."""


def tree(root: int) -> Iterator[int]:
    """Pids of a process and of all below it that live now."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as children:
                    waiting += [int(word) for word in children.read().split()]


def resident(pid: int) -> int:
    """Bytes of a process in memory; 0 once it has gone."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * PAGE
    except OSError:
        return 0


class Sampler(threading.Thread):
    """Keeps the largest sum of resident sets of what this process has started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until told that it is over."""
        own = os.getpid()
        while not self.done.wait(PERIOD_SECONDS):
            self.peak = max(self.peak, sum(resident(pid) for pid in tree(own) if pid != own))


def make_durable(folder: str) -> None:
    """Fsync every file below a folder, and the folders."""
    for place, _, names in os.walk(folder, topdown=False):
        for path in [*(os.path.join(place, name) for name in names), place]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def bury(deadline: float) -> Iterator[tuple[float, int]]:
    """Wait for adopted processes; yields processor seconds and largest resident set of each."""
    while True:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            yield used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
            continue
        if time.monotonic() > deadline:
            kill_below()
        time.sleep(0.01)


def kill_below() -> None:
    """Kill every process below this one, nobody else."""
    own = os.getpid()
    for pid in list(tree(own)):
        if pid != own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def measure(command: list[str], log: str, folder: str) -> dict[str, float]:
    """Run the command to its end; returns the report."""
    sampler = Sampler()
    sampler.start()
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    begun = time.monotonic()
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, writing, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    _, status, used = os.wait4(pid, 0)
    ended = time.monotonic()
    make_durable(folder)
    durable = time.monotonic()
    sampler.done.set()
    sampler.join()
    cpu, largest = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    for more, held in bury(ended + ORPHANS_SECONDS):
        cpu, largest = cpu + more, max(largest, held)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": ended - begun,
        "durable": durable - begun,
        "cpu": cpu,
        "peak": sampler.peak,
        "largest": largest,
    }


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


def main(words: list[str]) -> int:
    """Measure as the command line says; returns the exit status, which is not the command's."""
    report, log, folder, *command = words
    own = os.getpid()
    if not os.path.exists(f"/proc/{own}/task/{own}/children"):
        print("this kernel has no /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)")
        return 3
    signal.signal(signal.SIGTERM, _stop)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        measured = measure(command, log, folder)
    except Stopped:
        return 143
    finally:
        for _ in bury(0.0):
            pass
    with open(report, "w", encoding="utf-8") as output:
        json.dump(measured, output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
