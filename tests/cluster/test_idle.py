"""Sleep: to the second when nobody asks, and without loss for whoever asks at that very moment."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.cluster.apiserver import DEPLOYMENTS, PODS, Json, Seen
from tests.cluster.space import HELLO, Space

pytestmark = pytest.mark.cluster

KEEP_ALIVES = {"e1": 1, "e2": 2, "e3": 2, "e4": 3}
"""Seconds; four endpoints at a time, since one may hold two of the node's eight GPUs around its sleep."""
BURST = 10
SPACING = 0.015
"""Seconds between two requests of a burst: together they cover the instant, not one moment of it."""
OFFSETS = (-0.25, -0.06, 0.0, 0.06, 0.25)
"""Where a cycle's burst begins, in seconds from the instant at which the endpoint should go to sleep."""
BOUND = 1.0


@dataclass
class Measured:
    """What happened to one endpoint; instants in epoch seconds."""

    lags: list[float] = field(default_factory=list)
    """From the deadline to the write of replicas 0, where nobody disturbed it. The deadline counts from the last byte,
    or from the newest replica's first Ready if that is later."""
    sent: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


def test_an_idle_endpoint_sleeps_to_the_second_and_loses_no_request_around_it(
    space: Space,
) -> None:
    for name, seconds in KEEP_ALIVES.items():
        space.apply(space.compose(name, keep_alive=f"{seconds}s"))
    for name in KEEP_ALIVES:
        space.wait_weights(name)
    with (
        space.api.watching(space.path(DEPLOYMENTS)) as deployments,
        space.api.watching(space.path(PODS)) as pods,
    ):
        measured = asyncio.run(_play_all(space, deployments, pods))
        slack = _answer_time(space)
    slept = {name: deployments.slept(name) for name in KEEP_ALIVES}
    before, after = _orders(measured, slept)
    lags = [lag for one in measured.values() for lag in one.lags]
    statuses = [status for one in measured.values() for status in one.statuses]
    print(f"deadline → replicas 0: {', '.join(f'{lag:+.3f}' for lag in lags)} s")
    print(f"{len(statuses)} requests around it: {before} before, {after} within 1 s after a sleep")
    assert len(statuses) >= 200
    assert set(statuses) == {200}
    assert min(before, after) >= 20
    assert len(lags) == 2 * len(KEEP_ALIVES)
    assert max(abs(lag) for lag in lags) <= BOUND + slack


async def _play_all(space: Space, deployments: Seen, pods: Seen) -> dict[str, Measured]:
    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(_play(space, name, seconds, deployments, pods))
            for name, seconds in KEEP_ALIVES.items()
        }
    return {name: task.result() for name, task in tasks.items()}


async def _play(
    space: Space, name: str, keep_alive: int, deployments: Seen, pods: Seen
) -> Measured:
    """Alternate: let it sleep undisturbed (first and last), and ask around the expected instant between."""
    measured = Measured()
    measured.lags.append(await _undisturbed(space, name, keep_alive, deployments, pods))
    for offset in OFFSETS:
        last_byte = await _warm(space, name, pods)
        instant = last_byte + keep_alive + statistics.median(measured.lags) + offset
        await asyncio.sleep(max(0.0, instant - time.time()))
        replies = [asyncio.create_task(_ask(space, name, k * SPACING)) for k in range(BURST)]
        for sent, status in await asyncio.gather(*replies):
            measured.sent.append(sent)
            measured.statuses.append(status)
    measured.lags.append(await _undisturbed(space, name, keep_alive, deployments, pods))
    return measured


async def _undisturbed(
    space: Space, name: str, keep_alive: int, deployments: Seen, pods: Seen
) -> float:
    """Ask a ready endpoint, then nobody asks; return how late (seconds) replicas 0 was written."""
    last_byte = await _warm(space, name, pods)
    deadline = time.monotonic() + 60
    while not (later := [at for at in deployments.slept(name) if at > last_byte]):
        assert time.monotonic() < deadline, f"{name} does not sleep"
        await asyncio.sleep(0.02)
    newest = max(at for at in _first_ready(pods, name) if at < later[0])
    return later[0] - max(last_byte, newest) - keep_alive


async def _warm(space: Space, name: str, pods: Seen) -> float:
    """Ask until the answer came from a pod that Kubernetes had called ready before: its Ready does not
    move the clock any more. Return when the last byte of the last answer came.

    A pod that goes to sleep is ready for a moment longer and answers, to the watch it may still seem to stay:
    the Deployment itself says whether it does. Not even that tells when it was woken again at once: the pod that
    answered goes all the same, and the next one's Ready moves the clock.
    """
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        asked_ready = _is_ready(pods, name)
        _, status = await _ask(space, name)
        assert status == 200
        last_byte = time.time()
        if asked_ready and _is_ready(pods, name) and await _stays(space, name):
            return last_byte
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} has no ready pod")


async def _stays(space: Space, name: str) -> bool:
    deployment = await asyncio.to_thread(space.api.get, f"{space.path(DEPLOYMENTS)}/{name}")
    assert deployment is not None
    return bool(deployment["spec"]["replicas"])


async def _ask(space: Space, name: str, delay: float = 0.0) -> tuple[float, int]:
    await asyncio.sleep(delay)
    asked = {"model": f"{space.name}/{name}", "messages": HELLO, "max_tokens": 4}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        sent = time.time()
        answer = await client.post(f"{space.torpor.url}/chat/completions", json=asked)
    return sent, answer.status_code


def _is_ready(pods: Seen, name: str) -> bool:
    latest = {obj["metadata"]["uid"]: (kind, obj) for _, kind, obj in _engines(pods, name)}
    return any(
        kind != "DELETED" and "deletionTimestamp" not in obj["metadata"] and _says_ready(obj)
        for kind, obj in latest.values()
    )


def _first_ready(pods: Seen, name: str) -> list[float]:
    """Return when each pod of an endpoint was seen ready for the first time."""
    seen = {
        obj["metadata"]["uid"]: at
        for at, _, obj in reversed(_engines(pods, name))
        if _says_ready(obj)
    }
    return list(seen.values())


def _engines(pods: Seen, name: str) -> list[tuple[float, str, Json]]:
    return [
        event
        for event in list(pods.events)
        if event[2]["metadata"]["labels"].get("torpor.dev/endpoint") == name
        and event[2]["metadata"]["labels"]["torpor.dev/component"] == "engine"
    ]


def _says_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _orders(measured: dict[str, Measured], slept: dict[str, list[float]]) -> tuple[int, int]:
    """Return how many requests were sent before a sleep (or prevented it), and how many within 1 s after one."""
    after = sum(
        any(0 <= sent - at <= 1 for at in slept[name])
        for name, one in measured.items()
        for sent in one.sent
    )
    return sum(len(one.sent) for one in measured.values()) - after, after


def _answer_time(space: Space) -> float:
    """Return what the API server takes to answer: as late as a watch may tell what it knows."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        space.replicas("e1")
        took.append(time.monotonic() - began)
    return max(took)
