"""Real vLLM as a process, set up if it is not there yet; the CPU has to be shared, so one at a time."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.vllm.__main__ import set_up
from dev.vllm.conversation import ARGUMENTS
from dev.vllm.layout import Layout, find_layout
from dev.vllm.server import Server, serve


@pytest.fixture(scope="session")
def vllm_layout() -> Layout:
    """The installed vLLM and its tiny model."""
    layout = find_layout()
    set_up(layout)
    return layout


@pytest.fixture(scope="module")
def vllm(vllm_layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running vLLM with the recorded conversation's arguments and torpor's shutdown time-out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log: Path = tmp_path_factory.mktemp("vllm") / "log"
    with serve(vllm_layout, port, log, [*ARGUMENTS, "--shutdown-timeout", "60"]) as running:
        yield running
