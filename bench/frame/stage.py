"""The stage: torpor on the harness's cluster, a namespace, a small checkpoint, and endpoints that sleep soon."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import aiohttp

from bench.frame.ending import end_with
from dev.cluster import Cluster, HarnessError
from dev.cluster.progress import say
from dev.install import Installed, install
from dev.install.checkpoint import write_checkpoint
from torpor.cluster.connect import Api, connect

Json = dict[str, Any]
MODEL_PATH = "/v1/chat/completions"
_ASKING = aiohttp.ClientTimeout(total=120)
QUICK = {"STANDIN_TOKENS_PER_SECOND": "0"}
"""An engine that loads as fast as it reads and answers as fast as it can."""


@dataclass(frozen=True)
class Stage:
    """Where a benchmark measures."""

    torpor: Installed
    namespace: str
    source: str

    def add_endpoint(self, name: str, spec: Json | None = None, **scaling: Any) -> None:
        """Apply an endpoint of the quick stand-in and wait until it is Ready and its weights on the node.

        It sleeps a second after its last answer.

        Args:
            name: Its name.
            spec: More of its spec.
            scaling: More of its `spec.scaling`.
        """
        self.apply_endpoint(name, spec, **scaling)
        self.wait_for(name)

    def apply_endpoint(self, name: str, spec: Json | None = None, **scaling: Any) -> None:
        """Apply one as `add_endpoint` does, and do not wait."""
        composed: Json = {
            "scaling": {"keepAlive": {"policy": "fixed", "after": "1s"}, **scaling},
            "template": {"spec": {"containers": [_LEAVES_AT_ONCE]}},
            **(spec or {}),
        }
        torpor = self.torpor
        torpor.kube.apply(torpor.endpoint(name, self.namespace, self.source, composed, QUICK))

    def wait_for(self, name: str) -> None:
        """Return once one is Ready and its weights are on the node."""
        for condition in ("Ready", "WeightsReady"):
            self.torpor.wait_for_condition(self.namespace, name, condition, timeout=180)

    async def connect(self) -> Api:
        """Open a way to the API server with the harness's own rights."""
        return await connect(str(self.torpor.kube.kubeconfig))


_LEAVES_AT_ONCE: Json = {
    "name": "engine",
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
}
"""Pods end sooner than users' would, so that more rounds fit into a minute; no measured time contains it."""


@contextmanager
def open_stage(name: str, values: Json | None = None) -> Iterator[Stage]:
    """Bring up cluster and torpor, make a namespace of the benchmark's own; remove it afterwards.

    *values* are further values of the chart.

    Raises:
        HarnessError: says what is missing.
    """
    torpor = install(Cluster.up(), values)
    namespace = f"torpor-bench-{name}"
    source = f"s3://torpor-bench/{name}/"
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), megabytes=1, seed=name)
        torpor.bucket.put(Path(folder), source)
    torpor.remove_namespace(namespace)
    torpor.make_namespace(namespace)
    try:
        torpor.make_s3_secret(namespace)
        yield Stage(torpor, namespace, source)
    finally:
        say(f"removing namespace {namespace}")
        torpor.remove_namespace(namespace)
        torpor.bucket.remove(source)


async def ask_endpoint(gateway: str, model: str) -> float:
    """Ask for one token over a connection of its own; returns the epoch seconds of the answer's first byte.

    Raises:
        HarnessError: the answer is not 200.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "wake up"}],
        "max_tokens": 1,
    }
    async with (
        aiohttp.ClientSession(timeout=_ASKING) as session,
        session.post(f"{gateway}{MODEL_PATH}", json=body) as answer,
    ):
        first_byte = time.time()
        text = await answer.text()
    if answer.status != 200:
        raise HarnessError(f"{model} answered {answer.status}: {text[:500]}")
    return first_byte


def main(
    measure: Callable[[argparse.Namespace], Coroutine[Any, Any, int]],
    parser: argparse.ArgumentParser,
) -> NoReturn:
    """Run a benchmark from the command line and end the program with its exit code."""
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    given = parser.parse_args()
    end_with(lambda: asyncio.run(measure(given)))
