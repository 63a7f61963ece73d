"""The ledger against the truth: a scripted hour in virtual time, then a cluster on which controllers are killed.

On the cluster endpoints wake and sleep by themselves: one with two replicas, one whose GPU class loses its nodes so
that it falls back to a dearer one, one whose price changes at a second, one whose engine never starts. The controller
that leads is killed at random instants. The truth is made with none of torpor's code from the API server's own
instants and, for the end of each pod, the container runtime's events.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.frame.hour import Outcome, play
from bench.frame.ledgers import Ledger, ListPrice, difference, expected, lives_of, told
from bench.frame.runtime import Ends, listening
from bench.frame.stage import Stage, open_stage
from dev.cluster.progress import say
from tests.cluster.apiserver import ENDPOINTS, PODS, ApiServer, Seen
from tests.cluster.gpuclasses import GPU_CLASSES, L40S_NODES, having_classes
from tests.cluster.killing import kill_leader, remove_controller, wait_for_renewal
from tests.cluster.space import Space

Json = dict[str, Any]
"""Those of the harness."""
BASE = {"meter-plain": "1", "meter-cheap": "1.5", "meter-dear": "2", "meter-dated": "3"}
NOWHERE = {"nvidia.com/gpu.product": None, "torpor.dev/no-such-label": "true"}
"""What meter-cheap selects from the middle of the run on: the next wake falls back to a dearer class."""
LATER = "4.25"
"""What meter-dated costs from the middle of the run on."""
SLOW = {
    "STANDIN_LOAD_SECONDS": "2",
    "STANDIN_TOKENS_PER_SECOND": "16",
    "STANDIN_REPLY_TOKENS": "40",
}
PLANS: dict[str, Json] = {
    "pair": {"classes": ["meter-plain"], "keep": "4s", "at_once": 2},
    "moved": {"classes": ["meter-cheap", "meter-dear"], "keep": "3s"},
    "dated": {"classes": ["meter-dated"], "keep": "5s"},
    "failing": {"classes": ["meter-dear"], "keep": "3s", "crash": "after-load"},
}


@dataclass
class Client:
    """Asks one endpoint, lets it sleep, asks again."""

    space: Space
    name: str
    at_once: int
    answers: dict[int, int] = field(default_factory=dict)
    wakes: int = 0

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop."""
        with ThreadPoolExecutor(self.at_once) as pool:
            while not stop.is_set():
                self.wakes += 1
                asked = [
                    pool.submit(self.space.chat, self.name, max_tokens=64)
                    for _ in range(self.at_once)
                ]
                for reply in asked:
                    status = reply.result().status
                    self.answers[status] = self.answers.get(status, 0) + 1
                while not stop.is_set() and self.space.pods(self.name):
                    time.sleep(0.2)
                stop.wait(2)


@dataclass(frozen=True)
class Ran:
    """What the run on the cluster came to, by endpoint."""

    kills: int
    pods: dict[str, int]
    failed: dict[str, tuple[int, int]]
    """GPU-ms of pods that never were ready: (told, true)."""
    ledgers: dict[str, tuple[Ledger, Ledger]]
    """(told, true)."""
    estimated: int
    answers: dict[str, dict[int, int]]
    ends: int


def run_cluster(stage: Stage, minutes: float, kills: int, seed: int) -> Ran:
    """Let everything go round for so long, and read the ledgers when all sleep."""
    api = ApiServer(Path(str(stage.torpor.kube.kubeconfig)))
    space = Space(stage.namespace, api, stage.torpor, stage.source)
    begun = time.time()
    change_ms = int(begun + minutes * 30) * 1000
    with (
        having_classes(api, L40S_NODES, prices_of(change_ms)),
        api.watching(space.path(PODS)) as pods,
        listening() as ends,
    ):
        for name, plan in PLANS.items():
            space.apply(compose(space, name, plan))
        for name in PLANS:
            space.wait_weights(name)
        clients = [Client(space, name, plan.get("at_once", 1)) for name, plan in PLANS.items()]
        stop = threading.Event()
        with ThreadPoolExecutor(len(clients)) as pool:
            rounds = [pool.submit(client.run, stop) for client in clients]
            try:
                done = kill_at_random(api, begun + minutes * 60, change_ms / 1000, kills, seed)
            finally:
                stop.set()
            for finished in rounds:
                finished.result()
        for name in PLANS:
            space.wait_asleep(name, timeout=180)
        return conclude(space, pods, ends, change_ms, done, clients)


def kill_at_random(api: ApiServer, until: float, change_at: float, kills: int, seed: int) -> int:
    """Kill leaders at random instants; in the middle leave a GPU class without a node. Returns how many died."""
    chance, done, taken = random.Random(seed), 0, False
    while time.time() < until or done < kills:
        if not taken and time.time() >= change_at:
            api.patch(f"{GPU_CLASSES}/meter-cheap", {"spec": {"nodeSelector": NOWHERE}})
            taken = True
            say("GPUClass meter-cheap has no node any more; meter-dated has another price")
        left = max(1.0, until - time.time())
        pause = min(10.0, left / max(1, kills - done))
        time.sleep(chance.uniform(0.0, pause))
        killed = kill_leader(api)
        done += 1
        now = wait_for_renewal(api, killed)
        if now.pod == killed.pod:  # so that it does not wait longer and longer to start again
            remove_controller(api, killed.pod)
            wait_for_renewal(api, now)
        say(f"{done} of {kills} kills, {max(0.0, until - time.time()):.0f} s left")
    return done


def conclude(
    space: Space,
    pods: Seen,
    ends: Ends,
    change_ms: int,
    kills: int,
    clients: list[Client],
) -> Ran:
    """Read both sides."""
    prices = [ListPrice(name, price) for name, price in BASE.items()]
    prices.append(ListPrice("meter-dated", LATER, change_ms))
    counts: dict[str, int] = {}
    failed: dict[str, tuple[int, int]] = {}
    ledgers: dict[str, tuple[Ledger, Ledger]] = {}
    estimated = 0
    for name in PLANS:
        found = space.api.get(space.path(ENDPOINTS, name)) or {}
        cost = found["status"]["cost"]
        lives = lives_of(pods, ends, name)
        counts[name] = len(lives)
        ledgers[name] = told(cost), expected(lives, prices)
        never = sum(life.finished - life.scheduled for life in lives if life.failed)
        terminating = sum(life.finished - life.deleted for life in lives if life.failed)
        said = sum(row.get("failedStartGpuMs", 0) for row in cost.get("rows", ()))
        failed[name] = said, never - terminating
        estimated += cost.get("estimatedMs", 0)
    answers = {client.name: client.answers for client in clients}
    return Ran(kills, counts, failed, ledgers, estimated, answers, len(ends))


def compose(space: Space, name: str, plan: Json) -> Json:
    """One endpoint of the run."""
    switches = SLOW | ({"STANDIN_CRASH": plan["crash"]} if "crash" in plan else {})
    spec: Json = {"placement": {"classes": plan["classes"]}}
    if plan.get("at_once", 1) > 1:
        spec["scaling"] = {"maxReplicas": plan["at_once"], "inFlightPerReplica": 1}
    return space.compose(name, keep_alive=plan["keep"], switches=switches, spec=spec)


def prices_of(change_ms: int) -> dict[str, Json]:
    """The prices of the run's GPU classes."""
    at = datetime.fromtimestamp(change_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    prices: dict[str, Json] = {
        name: {"perGPUHour": price, "currency": "USD"} for name, price in BASE.items()
    }
    prices["meter-dated"]["changes"] = [{"effectiveFrom": at, "perGPUHour": LATER}]
    return prices


def figures_of(hour: Outcome, ran: Ran | None, kills: int) -> list[Figure]:
    """What was seen, and what it must be."""
    found = [
        Figure("virtual hour: pods", hour.pods, ""),
        Figure("virtual hour: kills", hour.kills, "", kills, exactly=True),
        Figure("virtual hour: GPU-seconds", hour.gpu_ms / 1000, "s"),
        Figure("virtual hour: difference", hour.difference, "GPU-ms", 0, exactly=True),
        Figure("virtual hour: estimated", hour.estimated, "GPU-ms", 0, exactly=True),
    ]
    if ran is None:
        return found
    true = {
        name: sum(sum(p.values()) for p in one[1].values()) for name, one in ran.ledgers.items()
    }
    found += [
        Figure("cluster: kills", ran.kills, "", kills, at_least=True),
        Figure("cluster: pods", sum(ran.pods.values()), ""),
        Figure("cluster: containers whose end the runtime told", ran.ends, ""),
        Figure("cluster: GPU-seconds", sum(true.values()) / 1000, "s"),
    ]
    for name, (said, truth) in ran.ledgers.items():
        found.append(Figure(f"{name}: prices", len(truth), ""))
        found.append(
            Figure(f"{name}: difference", difference(said, truth), "GPU-ms", 0, exactly=True)
        )
    apart = sum(abs(said - true) for said, true in ran.failed.values())
    found.append(Figure("failed starts", sum(true for _, true in ran.failed.values()) / 1000, "s"))
    found.append(Figure("failed starts: difference", apart, "GPU-ms", 0, exactly=True))
    found.append(Figure("cluster: estimated", ran.estimated, "GPU-ms"))
    return found


def measure(given: argparse.Namespace) -> int:
    """Play the hour, then run on the cluster; returns the exit code."""
    hour = play(given.kills, given.seed)
    ran = None
    if given.minutes:
        with open_stage("meter") as stage:
            ran = run_cluster(stage, given.minutes, given.kills, given.seed)
    facts: Json = {"seed": given.seed, "minutes": given.minutes}
    if ran is not None:
        facts["answers"] = ran.answers
        for name, (said, truth) in ran.ledgers.items():
            if difference(said, truth):
                say(f"{name}: told {said}, true {truth}")
    return report("meter", figures_of(hour, ran, given.kills), check=given.check, **facts)


def parse() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m bench.meter", description=__doc__)
    options.add_argument("--minutes", type=float, default=10, help="on the cluster; 0: none")
    options.add_argument("--kills", type=int, default=30, help="of the controller that leads")
    options.add_argument("--seed", type=int, default=5, help="of the hour and of the kills")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    return options.parse_args()


if __name__ == "__main__":
    end_with(lambda: measure(parse()))
