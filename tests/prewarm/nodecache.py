"""What the tests of the node cache do to it: let time pass, hold locks, kill a process at a chosen step."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.prewarm.conftest import Prewarm

LONG_AGO = 1_000_000

KILL_AT = """
import os, signal, sys
at, argv = int(sys.argv[1]), sys.argv[2:]
from torpor.prewarm.program import main
seen = 0

def count(event, arguments):
    global seen
    if event == "os.rename" or (seen and event in ("os.remove", "os.rmdir", "os.mkdir")):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
sys.exit(main(argv))
"""


def age(prewarm: "Prewarm", name: str, used: int = LONG_AGO, *, published: int = LONG_AGO) -> None:
    """Make a copy as old as that, in seconds since the epoch."""
    own = prewarm.model(name) / ".torpor"
    os.utime(own / "READY", (published, published))
    os.utime(own / "used", (used, used))


def used_at(prewarm: "Prewarm", name: str) -> int:
    return int((prewarm.model(name) / ".torpor" / "used").stat().st_mtime)


def now() -> int:
    return int(time.time())


@contextmanager
def held(lock: Path, *, shared: bool = False) -> Iterator[None]:
    """Another process holds the lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    code = (
        f"import fcntl,sys; f=open({str(lock)!r},'w'); fcntl.flock(f,{1 if shared else 2}); "
        "print(1,flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
    finally:
        holder.communicate()


def run_killed(environ: dict[str, str], step: int, *argv: str) -> bool:
    """Run a mode, and kill it -9 just before a step: the first rename is 1, then each change of a folder counts.

    Returns whether it was killed: it ends by itself when it has fewer steps.
    """
    command = [sys.executable, "-c", KILL_AT, str(step), *argv]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode in (-signal.SIGKILL, 0), run.stdout + run.stderr
    return run.returncode != 0


def run_in_namespace(prewarm: "Prewarm", script: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script that may mount; `torpor MODE…` in it runs the program."""
    torpor = f'torpor() {{ "{sys.executable}" -m torpor.prewarm "$@"; }}\n'
    return subprocess.run(
        ["unshare", "--mount" if os.geteuid() == 0 else "-rm", "sh", "-c", torpor + script],
        env=prewarm.environ() | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
