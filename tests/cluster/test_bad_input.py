"""Bad input: the endpoint says in one sentence what is wrong, so does the refused request, and correcting it heals."""

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
class Broken:
    """All faulty endpoints, applied together, each with a request that was sent right away."""

    space: Space
    faults: dict[str, Fault]
    asked: dict[str, Future[Reply]]
    endpoints: Seen
    pods: Seen

    def told_at(self, name: str) -> float:
        """Return when Ready=False was first told, for the reason that it should have."""
        for at, _, obj in self.endpoints.of(name):
            for condition in obj.get("status", {}).get("conditions", ()):
                found = (condition["type"], condition["status"], condition["reason"])
                if found == ("Ready", "False", self.faults[name].reason):
                    return at
        raise AssertionError(f"{name} was never Ready=False for {self.faults[name].reason}")

    def engine_pods(self, name: str) -> set[str]:
        """Return the names of all engine pods there ever were."""
        labels = [
            (obj["metadata"]["name"], obj["metadata"]["labels"]) for _, _, obj in self.pods.events
        ]
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
        asked = {name: pool.submit(space.chat, name, 180) for name in faults}
        yield Broken(space, faults, asked, endpoints, pods)


@pytest.mark.parametrize("name", NAMES)
def test_the_waiting_request_and_ready_say_what_is_wrong(broken: Broken, name: str) -> None:
    fault, reply = broken.faults[name], broken.asked[name].result()
    told = broken.told_at(name)
    print(f"{name}: {reply.status} {reply.error['message']}")
    print(f"{name}: refused {reply.ended_at - told:+.2f} s after Ready=False")
    assert reply.status == 503
    assert reply.error["code"] == fault.reason
    assert fault.says in reply.error["message"]
    assert reply.ended_at - told <= AT_ONCE
    said = [
        condition["message"]
        for _, _, obj in broken.endpoints.of(name)
        for condition in obj.get("status", {}).get("conditions", ())
        if (condition["type"], condition["reason"]) == ("Ready", fault.reason)
    ]
    assert fault.says in said[0]
    assert "\n" not in said[0]
    assert said[0] in broken.space.torpor.table(broken.space.name, "-o", "wide") or fault.needs_gpu


def test_no_gpu_is_held_for_what_a_cpu_can_tell(broken: Broken) -> None:
    for asked in broken.asked.values():
        asked.result()
    held = {name: broken.engine_pods(name) for name, fault in broken.faults.items()}
    assert not [name for name, pods in held.items() if pods and not broken.faults[name].needs_gpu]
    assert all(held[name] for name, fault in broken.faults.items() if fault.needs_gpu)


def test_correcting_the_cause_heals_every_one_of_them(broken: Broken) -> None:
    for asked in broken.asked.values():
        asked.result()
    for name, fault in broken.faults.items():
        fault.correct(name)
    for name in NAMES:
        broken.space.wait_condition(name, "Ready", timeout=90)
    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(NAMES, pool.map(broken.space.chat, NAMES), strict=True))
    assert {name: reply.status for name, reply in answers.items()} == dict.fromkeys(NAMES, 200)
