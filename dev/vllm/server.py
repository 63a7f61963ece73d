"""vLLM as a process of this machine, started as its pod starts it: for the warm-up and for tests."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .install import SetupError
from .layout import Layout
from .pod import ARGUMENTS, environment

START_SECONDS = 600.0
"""Longest start, on a machine that does other things too."""


@dataclass(frozen=True)
class Server:
    """A running vLLM."""

    url: str
    process: "subprocess.Popen[bytes]"
    seconds_to_healthy: float
    log: Path


def is_healthy(url: str) -> bool:
    """Say whether /health answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def command(layout: Layout, port: int, *arguments: str) -> list[str]:
    """The command line: torpor's own arguments as in a pod, then those of the CPU build."""
    program = [str(layout.python), "-m", "vllm.entrypoints.cli.main", "serve", str(layout.model)]
    given = ["--host", "127.0.0.1", "--port", str(port), *ARGUMENTS, *arguments]
    return [*program, *given]


@contextmanager
def serve(layout: Layout, port: int, log: Path, arguments: Sequence[str] = ()) -> Iterator[Server]:
    """Run vLLM until the block ends; entered when it is healthy.

    Raises:
        SetupError: it ended, or was not healthy in time; with the end of its log.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath), **environment(str(layout.warm))}
    url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["nice", *command(layout, port, *arguments)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not is_healthy(url):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                tail = log.read_text(errors="replace")[-2000:]
                raise SetupError(f"vLLM did not become healthy; {log} ends:\n{tail}")
            time.sleep(0.1)
        yield Server(url, process, time.monotonic() - began, log)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End vLLM and its children: asked first, killed after 30 s."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
