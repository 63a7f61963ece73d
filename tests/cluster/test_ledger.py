"""The ledger under fire: the controller is killed in every phase, and every GPU-millisecond is still there."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import pytest

from tests.cluster.apiserver import DEPLOYMENTS, PODS, Seen, until
from tests.cluster.killing import kill_leader, remove_controller, wait_for_renewal
from tests.cluster.space import Reply, Space
from tests.cluster.truth import PHASES, facts_of, sum_of

pytestmark = pytest.mark.cluster

ENDPOINTS = {"a": "3s", "b": "5s", "c": "4s"}
"""Keep-alive of each: they drift apart, so that every kill meets them in different phases."""
SWITCHES = {
    "STANDIN_LOAD_SECONDS": "2",
    "STANDIN_TOKENS_PER_SECOND": "16",
    "STANDIN_REPLY_TOKENS": "40",
}
STATES = ("starting", "busy", "idle", "terminating", "asleep")
KILLS = 20
FAILOVERS = (7, 14)
"""Kills after which the pod is removed at once, so that the other replica must wait for the Lease to run out."""


class Driver:
    """Asks one endpoint, lets it fall asleep, asks again; knows in which state it is."""

    def __init__(self, space: Space, name: str, pods: Seen, deployments: Seen) -> None:
        self.name = name
        self.replies: list[Reply] = []
        self._space, self._pods, self._deployments = space, pods, deployments
        self._asking = False

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop."""
        while not stop.is_set():
            self._asking = True
            self.replies.append(self._space.chat(self.name, max_tokens=64))
            self._asking = False
            while not stop.is_set() and self.state() != "asleep":
                time.sleep(0.1)
            stop.wait(2)

    def state(self) -> str:
        """Return the state of the endpoint as the pods' own words have it."""
        living = [pod for pod in facts_of(self._pods, self.name).values() if not pod.gone]
        if any(pod.deleted is not None for pod in living):
            return "terminating"
        if any(pod.ready is not None for pod in living):
            return "busy" if self._asking else "idle"
        versions = self._deployments.of(self.name)
        asked_for = bool(versions and versions[-1][2]["spec"].get("replicas"))
        return "starting" if living or asked_for else "asleep"


def test_twenty_kills_in_every_phase_lose_no_wake_and_no_millisecond(space: Space) -> None:
    for name, keep_alive in ENDPOINTS.items():
        space.apply(space.compose(name, keep_alive=keep_alive, switches=SWITCHES))
    for name in ENDPOINTS:
        space.wait_weights(name)
    stop = threading.Event()
    with (
        space.api.watching(space.path(PODS)) as pods,
        space.api.watching(space.path(DEPLOYMENTS)) as deployments,
        ThreadPoolExecutor(len(ENDPOINTS)) as pool,
    ):
        drivers = [Driver(space, name, pods, deployments) for name in ENDPOINTS]
        rounds = [pool.submit(driver.run, stop) for driver in drivers]
        try:
            met = _kill_again_and_again(space, drivers)
        finally:
            stop.set()
        for done in rounds:
            done.result()
        ended = {name: space.wait_asleep(name, timeout=120) for name in ENDPOINTS}
        truth = {name: facts_of(pods, name) for name in ENDPOINTS}
    print(f"{KILLS} kills met the endpoints: {dict(met)}")
    assert set(met) == set(STATES)
    assert min(met[state] for state in STATES) >= KILLS // len(STATES)
    for driver in drivers:
        assert {reply.status for reply in driver.replies} == {200}
        assert len(driver.replies) >= 2
        cost = ended[driver.name].status.cost
        real = sum_of(pod.bill() for pod in truth[driver.name].values())
        told = cost.gpu_ms
        billed = (told.starting, told.busy + told.idle, told.terminating)
        print(
            f"{driver.name}: {len(truth[driver.name])} pods, {len(driver.replies)} requests, {real}, {billed}"
        )
        assert dict(zip(PHASES, billed, strict=True)) == real
        assert told.total == sum(real.values())
        assert told.busy > 0
        assert sum(row.gpu_ms.total for row in cost.rows) == told.total
        assert cost.estimated_ms == 0
        assert Decimal(cost.spent or "0") > 0


def _kill_again_and_again(space: Space, drivers: list[Driver]) -> Counter[str]:
    """Kill the leader KILLS times, each time while some endpoint is in the state that is due."""
    met: Counter[str] = Counter()
    for number in range(KILLS):
        due = STATES[number % len(STATES)]
        until(f"an endpoint that is {due}", partial(_any_in, due, drivers), timeout=90, every=0.05)
        killed = kill_leader(space.api)
        met[due] += 1
        if number in FAILOVERS:
            remove_controller(space.api, killed.pod, grace=0)
        now = wait_for_renewal(space.api, killed)
        if now.pod == killed.pod:
            remove_controller(space.api, killed.pod)
            wait_for_renewal(space.api, now)
    return met


def _any_in(state: str, drivers: list[Driver]) -> bool | None:
    return True if any(driver.state() == state for driver in drivers) else None
