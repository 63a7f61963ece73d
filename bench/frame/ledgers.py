"""What a ledger must be: pods' lives from the API server's and the runtime's own instants, cut at dated prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from bench.frame.runtime import Ends
from tests.cluster.apiserver import Json, Seen
from tests.cluster.truth import PodFacts, facts_of

PHASES = ("starting", "serving", "terminating")
Ledger = dict[tuple[str, str], dict[str, int]]
"""GPU-ms by phase, for each (GPU class, price of a GPU-hour)."""


@dataclass(frozen=True)
class ListPrice:
    """A price of a class from an instant (epoch ms) on."""

    gpu_class: str
    per_hour: str
    from_ms: int = 0


@dataclass(frozen=True)
class Life:
    """One engine pod from its scheduling to the end of its last container, epoch ms."""

    gpu_class: str
    scheduled: int
    ready: int | None
    deleted: int
    finished: int

    @property
    def failed(self) -> bool:
        """Whether it was told to end, or ended, before it was ready; Ready in that very second counts as ready."""
        return self.ready is None or self.ready > self.deleted

    def phase(self, at: int) -> str:
        """Return the phase of an instant."""
        if at >= self.deleted:
            return "terminating"
        return "starting" if self.ready is None or at < self.ready else "serving"


def lives_of(pods: Seen, ends: Ends, endpoint: str) -> list[Life]:
    """Return the lives of an endpoint's pods that have ended; the end is the runtime's.

    Raises:
        LookupError: the runtime has told of no end of a pod's container.
    """
    containers, classes = _containers(pods, endpoint)
    found: list[Life] = []
    for uid, facts in facts_of(pods, endpoint).items():
        told = [ends.of(container) for container in containers[uid]]
        known = [at for at in told if at is not None]
        if not known and containers[uid]:
            raise LookupError(f"the runtime told of no end of pod {uid}")
        found.append(_life(facts, max(known, default=0), classes[uid]))
    return found


def _life(facts: PodFacts, finished: int, gpu_class: str) -> Life:
    """A pod's instants in order: Kubernetes' whole seconds may be out of it by one."""
    scheduled = facts.scheduled or 0
    end = max(finished, scheduled)
    deleted = min(max(facts.deleted or end, scheduled), end)
    return Life(gpu_class, scheduled, facts.ready, deleted, end)


def _containers(pods: Seen, endpoint: str) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Container ids and GPU class by pod uid, from every version that was seen."""
    containers: dict[str, set[str]] = defaultdict(set)
    classes: dict[str, str] = {}
    for _, _, pod in list(pods.events):
        labels, uid = pod["metadata"]["labels"], pod["metadata"]["uid"]
        if labels.get("torpor.dev/endpoint") != endpoint:
            continue
        if labels["torpor.dev/component"] != "engine":
            continue
        classes[uid] = labels["torpor.dev/gpu-class"]
        containers[uid] |= set(_ids(pod))
    return containers, classes


def _ids(pod: Json) -> Iterable[str]:
    status = pod.get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(kind, ()):
            for state in (container, container.get("state", {}).get("terminated") or {}):
                if state.get("containerID"):
                    yield state["containerID"].removeprefix("containerd://")


def expected(lives: Iterable[Life], prices: Iterable[ListPrice]) -> Ledger:
    """Return the ledger of pods with one GPU each: every stretch between two edges is looked at once."""
    listed = sorted(prices, key=lambda price: price.from_ms)
    ledger: Ledger = defaultdict(lambda: dict.fromkeys(PHASES, 0))
    for life in lives:
        own = [price for price in listed if price.gpu_class == life.gpu_class]
        edges = {life.scheduled, life.deleted, life.finished, *(p.from_ms for p in own)}
        edges |= {life.ready} if life.ready else set()
        inside = sorted(at for at in edges if life.scheduled <= at <= life.finished)
        for start, end in pairwise(inside):
            held = [price for price in own if price.from_ms <= start][-1]
            ledger[held.gpu_class, held.per_hour][life.phase(start)] += end - start
    return {key: phases for key, phases in ledger.items() if any(phases.values())}


def told(cost: Json) -> Ledger:
    """Return the same from a `status.cost`; busy and idle together are what the pods' own instants can tell."""
    ledger: Ledger = {}
    for row in cost.get("rows", ()):
        spent = row.get("gpuMs", {})
        phases = {
            "starting": spent.get("starting", 0),
            "serving": spent.get("busy", 0) + spent.get("idle", 0),
            "terminating": spent.get("terminating", 0),
        }
        if any(phases.values()):
            ledger[row["gpuClass"], row.get("perGPUHour", "unknown")] = phases
    return ledger


def difference(one: Ledger, other: Ledger) -> int:
    """Return the GPU-ms in which two ledgers differ, all prices and phases together."""
    return sum(
        abs(one.get(key, {}).get(phase, 0) - other.get(key, {}).get(phase, 0))
        for key in one.keys() | other.keys()
        for phase in PHASES
    )
