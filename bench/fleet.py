"""A thousand endpoints, a tenth of them awake: how much the controller writes, how old figures get, what it costs.

API server, scheduler and controllers are real; the node that the endpoints run on is not there (`bench.frame.ghost`).
Writes are counted as a watch shows them: each is a version of an object in the endpoints' namespace.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.frame.ending import end_with
from bench.frame.figures import Figure, percentile, report
from bench.frame.ghost import haunting
from bench.frame.stage import Stage, open_stage
from dev.cluster.progress import say, step
from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, ApiServer, Seen, until
from tests.cluster.gpuclasses import having_classes
from tests.cluster.killing import find_leader, process_of

Json = dict[str, Any]
GHOST = "ghost-0"
LABELS = {"torpor.dev/bench-fleet": "true"}
GPU_CLASS = "bench-fleet"
LEFT = {"hash": "b" * 32, "bytes": 16_000_000, "files": 3}
"""What a check of the weights would have found."""


@dataclass(frozen=True)
class Watched:
    """What was seen while nothing happened but time."""

    seconds: float
    writes: dict[str, int]
    ages: list[float]
    """Age of the oldest figure of an awake endpoint, each second."""
    cpu: float
    """Cores of the controller that leads."""
    memory: int


def fill(stage: Stage, api: ApiServer, count: int) -> None:
    """Apply so many endpoints and wait until all would answer."""
    root = ENDPOINTS.format(stage.namespace)
    spec: Json = {
        "prewarm": {"nodes": "none", "image": False},
        "placement": {"classes": [GPU_CLASS]},
        "scaling": {"keepAlive": {"policy": "fixed", "after": "2h"}},
    }

    def add(number: int) -> None:
        name = f"e{number:04}"
        body = stage.torpor.endpoint(name, stage.namespace, stage.source, spec)
        api.apply(f"{root}/{name}", body)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(count)))
    said = 0

    def ready() -> bool | None:
        nonlocal said
        found = sum(_is_ready(item) for item in api.items(root))
        if found >= said + count // 10:
            said = found
            say(f"{found} of {count} endpoints are Ready")
        return True if found == count else None

    until(f"{count} endpoints Ready", ready, timeout=1200, every=3.0)


def wake(stage: Stage, api: ApiServer, count: int) -> None:
    """Write the replicas of so many, as a gateway does, and wait until they are awake."""
    root = DEPLOYMENTS.format(stage.namespace)
    for number in range(count):
        api.patch(f"{root}/e{number:04}/scale", {"spec": {"replicas": 1}})

    def awake() -> bool | None:
        items = api.items(ENDPOINTS.format(stage.namespace))
        return True if sum(_is_awake(item) for item in items) == count else None

    until(f"{count} endpoints awake", awake, timeout=300, every=2.0)


def settle(stage: Stage, api: ApiServer, seconds: float) -> None:
    """Wait until no endpoint that sleeps has been written for so long: what was made is also told."""
    with api.watching(ENDPOINTS.format(stage.namespace)) as seen:
        time.sleep(3.0)
        since, known = time.monotonic(), len(seen.events)

        def calm() -> bool | None:
            nonlocal since, known
            new = seen.events[known:]
            if any(not _is_awake(obj) for _, _, obj in new):
                since = time.monotonic()
            known += len(new)
            return True if time.monotonic() - since >= seconds else None

        until("the endpoints that sleep are left alone", calm, timeout=900, every=1.0)


def watch(stage: Stage, api: ApiServer, seconds: float) -> Watched:
    """Look on for so long."""
    kinds = {
        "endpoints": ENDPOINTS.format(stage.namespace),
        "deployments": DEPLOYMENTS.format(stage.namespace),
        "jobs": f"/apis/batch/v1/namespaces/{stage.namespace}/jobs",
        "events": f"/api/v1/namespaces/{stage.namespace}/events",
    }
    leader = find_leader(api)
    pid = until("the leader's process", lambda: process_of(api, leader), timeout=30)
    with ExitStack() as stack:
        seen = {kind: stack.enter_context(api.watching(path)) for kind, path in kinds.items()}
        time.sleep(5.0)
        start = {kind: len(one.events) for kind, one in seen.items()}
        begun, used = time.monotonic(), _cpu_seconds(pid)
        ages = _look_on(seen["endpoints"], seconds)
        lasted, spent = time.monotonic() - begun, _cpu_seconds(pid) - used
        writes = {kind: len(one.events) - start[kind] for kind, one in seen.items()}
    return Watched(lasted, writes, ages, spent / lasted, _resident(pid))


def _look_on(endpoints: Seen, seconds: float) -> list[float]:
    """Return the age of the oldest figure of an awake endpoint, second by second."""
    latest: dict[str, Json] = {}
    at, ages = 0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while at < len(endpoints.events):
            _, _, obj = endpoints.events[at]
            latest[obj["metadata"]["name"]] = obj
            at += 1
        now = datetime.now(UTC)
        stamps = [obj["status"]["cost"]["asOf"] for obj in latest.values() if _is_awake(obj)]
        ages.append(max((now - datetime.fromisoformat(s)).total_seconds() for s in stamps))
        time.sleep(1.0)
    return ages


def _is_ready(obj: Json) -> bool:
    return _condition(obj, "Ready") == "True"


def _is_awake(obj: Json) -> bool:
    return _condition(obj, "Awake") == "True"


def _condition(obj: Json, kind: str) -> str:
    found = obj.get("status", {}).get("conditions", ())
    return next((one["status"] for one in found if one["type"] == kind), "")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def figures_of(found: Watched, endpoints: int, awake: int) -> list[Figure]:
    """What was seen, and what it must be."""
    total = sum(found.writes.values())
    return [
        Figure("endpoints", endpoints, ""),
        Figure("awake", awake, ""),
        Figure("API writes", total / found.seconds, "/s", 10),
        *(Figure(f"  {kind}", count / found.seconds, "/s") for kind, count in found.writes.items()),
        Figure("oldest figure, largest", max(found.ages), "s", 60),
        Figure("oldest figure, p50", percentile(found.ages, 0.5), "s"),
        Figure("controller", found.cpu, "cores", 0.2),
        Figure("controller, resident", found.memory / 1e6, "MB"),
    ]


def measure(given: argparse.Namespace) -> int:
    """Set up, look on, print; returns the exit code."""
    awake = given.endpoints // 10
    with open_stage("fleet") as stage:
        api = ApiServer(Path(str(stage.torpor.kube.kubeconfig)))
        price = {"perGPUHour": "1.861", "currency": "USD"}
        with (
            having_classes(api, LABELS, {GPU_CLASS: price}),
            haunting(api, stage.namespace, GHOST, LABELS, given.endpoints, LEFT),
        ):
            try:
                found = look_on(stage, api, given)
            finally:
                with step("put all to rest"):
                    api.delete(ENDPOINTS.format(stage.namespace))
                    rest(stage, api)
    return report("fleet", figures_of(found, given.endpoints, awake), check=given.check)


def look_on(stage: Stage, api: ApiServer, given: argparse.Namespace) -> Watched:
    """Fill, wake a tenth, let it settle, look on."""
    with step(f"{given.endpoints} endpoints"):
        fill(stage, api, given.endpoints)
    with step(f"wake {given.endpoints // 10}"):
        wake(stage, api, given.endpoints // 10)
    with step("let it settle"):
        settle(stage, api, given.settle)
    with step(f"look on for {given.seconds:.0f} s"):
        return watch(stage, api, given.seconds)


def rest(stage: Stage, api: ApiServer) -> None:
    """Wait until all endpoints are gone, and the node that is not there has let its pods go: nobody else could."""
    paths = (ENDPOINTS.format(stage.namespace), f"/api/v1/namespaces/{stage.namespace}/pods")

    def gone() -> bool | None:
        return None if any(api.items(path) for path in paths) else True

    until("all endpoints and pods gone", gone, timeout=600, every=3.0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    options.add_argument("--endpoints", type=int, default=1000, help="a tenth of them awake")
    options.add_argument("--seconds", type=float, default=120, help="how long to look on")
    options.add_argument(
        "--settle", type=float, default=30, help="seconds without a write to who sleeps before that"
    )
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    return options.parse_args()


if __name__ == "__main__":
    end_with(lambda: measure(parse()))
