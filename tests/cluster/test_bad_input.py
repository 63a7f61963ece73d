"""Bad input: the endpoint says in one sentence what is wrong, so does the refused request, and correcting it heals."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.install import bucket_of
from dev.install.checkpoint import write_checkpoint
from tests.cluster.apiserver import ENDPOINTS, PODS, Seen
from tests.cluster.conftest import MEGABYTES, MakeSpace
from tests.cluster.faulty import Fault, faults_of
from tests.cluster.space import Reply, Space

pytestmark = pytest.mark.cluster

NAMES = (
    "wrong-key",
    "no-bucket",
    "empty-prefix",
    "truncated",
    "no-ca",
    "wrong-ca",
    "unreachable",
    "gpu-class",
    "image",
    "crash",
    "vram",
)
AT_ONCE = 2.0
"""Seconds from the moment the API server told of Ready=False to the answer of a request that waits."""


@dataclass(frozen=True)
class Course:
    """How it went with one faulty endpoint."""

    refused: Reply
    table: str
    """`kubectl get ie -o wide` right after the refusal."""
    healed: Reply
    """The answer to a request after the correction."""


@dataclass(frozen=True)
class Broken:
    """All faulty endpoints, applied together, each with a request that was sent right away."""

    space: Space
    faults: dict[str, Fault]
    courses: dict[str, Future[Course]]
    endpoints: Seen
    pods: Seen
    corrected_at: dict[str, float]

    def told(self, name: str) -> tuple[float, str]:
        """Return when Ready=False was first told for the reason that it should have, and its message."""
        said = [
            (at, condition["status"], condition["reason"], condition["message"])
            for at, _, obj in self.endpoints.of(name)
            for condition in obj.get("status", {}).get("conditions", ())
            if condition["type"] == "Ready"
        ]
        for at, status, reason, message in said:
            if (status, reason) == ("False", self.faults[name].reason):
                return at, message
        raise AssertionError(f"{name} was never Ready=False for {self.faults[name].reason}: {said}")

    def engine_pods(self, name: str) -> set[str]:
        """Return the names of all engine pods that there were before the correction."""
        early = [obj for at, _, obj in self.pods.events if at <= self.corrected_at[name]]
        labels = [(obj["metadata"]["name"], obj["metadata"]["labels"]) for obj in early]
        return {
            pod
            for pod, label in labels
            if label["torpor.dev/endpoint"] == name and label["torpor.dev/component"] == "engine"
        }


@pytest.fixture(scope="module")
def broken(
    make_space: MakeSpace, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broken]:
    checkpoint: Path = tmp_path_factory.mktemp("faulty") / "whole"
    write_checkpoint(checkpoint, MEGABYTES, seed="faulty")
    space = make_space("bad-input")
    faults = faults_of(space, cluster, bucket_of(cluster), checkpoint)
    assert tuple(faults) == NAMES
    with (
        space.api.watching(space.path(ENDPOINTS)) as endpoints,
        space.api.watching(space.path(PODS)) as pods,
        ThreadPoolExecutor(len(faults)) as pool,
    ):
        for name, fault in faults.items():
            space.apply(fault.compose(name))
        at: dict[str, float] = {}
        courses = {
            name: pool.submit(_go_through, space, name, fault, at) for name, fault in faults.items()
        }
        yield Broken(space, faults, courses, endpoints, pods, at)


def _go_through(space: Space, name: str, fault: Fault, corrected_at: dict[str, float]) -> Course:
    """Ask, be refused, correct the cause, and ask again once the endpoint says that it will answer."""
    refused = space.chat(name, 180)
    table = space.torpor.table(space.name, "-o", "wide")
    corrected_at[name] = time.time()
    fault.correct(name)
    space.wait_condition(name, "Ready", timeout=90)
    return Course(refused, table, space.chat(name))


@pytest.mark.parametrize("name", NAMES)
def test_ready_and_the_waiting_request_say_what_is_wrong(broken: Broken, name: str) -> None:
    fault, course = broken.faults[name], broken.courses[name].result()
    reply = course.refused
    print(f"{name}: {reply.status} {reply.body}")
    assert reply.status == 503
    assert reply.error["code"] == fault.reason
    assert fault.says in reply.error["message"]
    told_at, message = broken.told(name)
    print(f"{name}: refused {reply.ended_at - told_at:+.2f} s after Ready=False")
    assert reply.ended_at - told_at <= AT_ONCE
    assert fault.says in message
    assert "\n" not in message
    assert message in course.table


@pytest.mark.parametrize("name", NAMES)
def test_correcting_the_cause_heals_it_without_a_restart(broken: Broken, name: str) -> None:
    assert broken.courses[name].result().healed.status == 200


def test_no_gpu_is_held_for_what_a_cpu_can_tell(broken: Broken) -> None:
    for course in broken.courses.values():
        course.result()
    held = {name: broken.engine_pods(name) for name in NAMES}
    assert not [name for name, pods in held.items() if pods and not broken.faults[name].needs_gpu]
    assert all(held[name] for name, fault in broken.faults.items() if fault.needs_gpu)
