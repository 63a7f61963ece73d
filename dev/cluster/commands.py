"""Run other programs and turn their failure into one sentence."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from .errors import HarnessError
from .progress import say

Argument = str | Path
T = TypeVar("T")


def run(
    command: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 600.0,
) -> str:
    """Run to the end and return stdout.

    Raises:
        HarnessError: exit status not 0, or longer than `timeout` seconds; carries the last
            lines that the program printed.
    """
    words = [str(word) for word in command]
    shown = shlex.join(words[:6]) + (" …" if len(words) > 6 else "")
    try:
        done = subprocess.run(
            words, cwd=cwd, env=env, input=stdin, timeout=timeout, capture_output=True, text=True
        )
    except FileNotFoundError as missing:
        raise HarnessError(f"{words[0]} is not installed, needed for `{shown}`") from missing
    except subprocess.TimeoutExpired as late:
        raise HarnessError(f"`{shown}` did not end within {timeout:.0f} s") from late
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()[-15:]
        raise HarnessError(f"`{shown}` failed with status {done.returncode}:\n" + "\n".join(told))
    return done.stdout


def succeeds(command: Sequence[Argument], *, timeout: float = 60.0) -> bool:
    """Whether the command ends with status 0; its output is nobody's business."""
    try:
        run(command, timeout=timeout)
    except HarnessError:
        return False
    return True


def again(what: str, action: Callable[[], T], *, tries: int = 4, pause: float = 3.0) -> T:
    """Do something that depends on a network, up to `tries` times with doubling pauses."""
    for attempt in range(1, tries + 1):
        try:
            return action()
        except HarnessError as failed:
            if attempt == tries:
                raise
            say(f"{what}: try {attempt} of {tries} failed, next in {pause:.0f} s: {failed}")
            time.sleep(pause)
            pause *= 2
    raise AssertionError("unreachable: the last try returns or raises")


def wait_until(what: str, holds: Callable[[], bool], *, timeout: float, every: float = 0.1) -> None:
    """Poll until `holds()`.

    Raises:
        HarnessError: not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise HarnessError(f"{what}: not within {timeout:.0f} s")
        time.sleep(every)
