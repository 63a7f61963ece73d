"""A running stand-in for each test that wants one, started as the image starts it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.vllm.conversation import ARGUMENTS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
"""Seconds after which a test gives up waiting; none asserts on time."""


@dataclass
class Standin:
    """One process of the stand-in."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> int | None:
        """The status of /health; None while nothing listens."""
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code
        except httpx.TransportError:
            return None

    def wait_healthy(self) -> "Standin":
        self.wait_until(lambda: self.health() == 200)
        return self

    def wait_until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"gave up; the log:\n{self.said()}"
            time.sleep(0.005)

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait_exit(self) -> int:
        return self.process.wait(PATIENCE)

    def said(self) -> str:
        return self.log.read_text()

    def last_line(self) -> str:
        return self.said().rstrip().splitlines()[-1]

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics, named as `name` or `name{label="value"`."""
        page = httpx.get(f"{self.url}/metrics").text.splitlines()
        (line,) = [
            line
            for line in page
            if line.startswith(sample.split("{")[0] + "{")
            and all(part in line for part in sample.rstrip("}").split("{")[1:])
        ]
        return float(line.rsplit(" ", 1)[1])

    def chat(self, **more: Any) -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions", json=question(**more), timeout=PATIENCE
        )


def question(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], **more}


@pytest.fixture
def ask() -> Callable[..., dict[str, Any]]:
    """Makes the body of a chat."""
    return question


def make_checkpoint(folder: Path) -> Path:
    """Fill a folder so that it looks like a model of 1 MiB."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    return folder


def launch(model: Path, log: Path, *arguments: str, **switches: object) -> Standin:
    """Start a process; the switches come without their prefix."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "standin", str(model), *ARGUMENTS[:3]]
    command += ["--host", "127.0.0.1", "--port", str(port), *arguments]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "dev" / "engine"),
        **{f"STANDIN_{name}": str(value) for name, value in switches.items()},
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    return Standin(process, port, log)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that looks like a model."""
    return make_checkpoint(tmp_path / "model")


@pytest.fixture
def start(checkpoint: Path, tmp_path: Path) -> Iterator[Callable[..., Standin]]:
    """Starts stand-ins: `start("--flag", …, LOAD_SECONDS=1)`."""
    running: list[Standin] = []

    def begin(*arguments: str, model: Path = checkpoint, **switches: object) -> Standin:
        log = tmp_path / f"standin-{len(running)}.log"
        running.append(launch(model, log, *arguments, **switches))
        return running[-1]

    yield begin
    for standin in running:
        standin.end()


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    """One healthy stand-in with the arguments of the recorded conversation."""
    folder = tmp_path_factory.mktemp("standin")
    running = launch(make_checkpoint(folder / "model"), folder / "log", *ARGUMENTS)
    yield running.wait_healthy()
    running.end()
