"""From one replica to several and back under load: at once on the way up, and nobody is cut off on the way down."""

import asyncio
import time
from collections import Counter
from itertools import pairwise

import httpx
import pytest

from tests.cluster.apiserver import DEPLOYMENTS, Seen
from tests.cluster.crowd import ask_all
from tests.cluster.space import HELLO, Space

pytestmark = pytest.mark.cluster

PER_REPLICA = 32
MANY = 200
NEED = 7
BURSTS = 3
SCALING = {
    "maxReplicas": 8,
    "inFlightPerReplica": PER_REPLICA,
    "keepAlive": {"policy": "fixed", "after": "15s"},
}
ANSWERS = {"STANDIN_TOKENS_PER_SECOND": "10", "STANDIN_REPLY_TOKENS": "40"}
"""Each answer takes four seconds: two hundred at a time are fifty a second."""
UP_SECONDS = 2.0


class Load:
    """Clients that ask again as soon as they have their answer; as many as are wanted now."""

    def __init__(self, space: Space, name: str) -> None:
        self._asked = {"model": f"{space.name}/{name}", "messages": HELLO, "max_tokens": 40}
        self._url = f"{space.torpor.url}/chat/completions"
        limits = httpx.Limits(max_connections=MANY)
        self._http = httpx.AsyncClient(timeout=120, trust_env=False, limits=limits)
        self._clients: list[asyncio.Task[None]] = []
        self._wanted = 0
        self.statuses: list[int] = []

    async def step(self, clients: int) -> None:
        self._wanted = clients
        self._clients += [
            asyncio.create_task(self._ask(number)) for number in range(len(self._clients), clients)
        ]

    async def end(self) -> None:
        self._wanted = 0
        await asyncio.gather(*self._clients)
        await self._http.aclose()

    async def _ask(self, number: int) -> None:
        while number < self._wanted:
            answer = await self._http.post(self._url, json=self._asked)
            self.statuses.append(answer.status_code)


def turns(numbers: list[int]) -> int:
    """Return how often the direction changes."""
    up = [b > a for a, b in pairwise(numbers)]
    return sum(a != b for a, b in pairwise(up))


async def _play(space: Space, deployments: Seen) -> tuple[Load, float, float]:
    load = Load(space, "stairs")
    await load.step(1)
    while not load.statuses:
        await asyncio.sleep(0.1)
    up_at = time.time()
    await load.step(MANY)
    await asyncio.sleep(25)
    down_at = time.time()
    load._wanted = 1
    deadline = time.monotonic() + 120
    while deployments.replicas("stairs")[-1][1] > 1 and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    await asyncio.sleep(5)  # the one that is left is asked all the while
    await load.end()
    return load, up_at, down_at


def test_replicas_follow_the_load_and_nobody_is_cut_off(space: Space) -> None:
    space.start("stairs", switches=ANSWERS, spec={"scaling": SCALING})
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        load, up_at, down_at = asyncio.run(_play(space, deployments))
        steps = deployments.replicas("stairs")
    numbers = [number for _, number in steps]
    followed = next(at for at, number in steps if number >= NEED) - up_at
    told = ", ".join(f"{at - up_at:+.1f} s: {number}" for at, number in steps)
    print(f"{len(load.statuses)} answers; replicas {told}; down from {down_at - up_at:+.1f} s")
    assert set(load.statuses) == {200}
    assert max(numbers) == NEED
    assert followed <= UP_SECONDS
    assert numbers[-1] == 1
    assert turns([1, *numbers[numbers.index(1) :]]) <= 2


def test_a_burst_of_a_thousand_at_zero_gets_the_right_number_in_the_first_write(
    space: Space,
) -> None:
    """On a machine that is busy otherwise the crowd itself may be held up longer than a write: then it comes again."""
    space.start(
        "burst", spec={"scaling": SCALING | {"keepAlive": {"policy": "fixed", "after": "3s"}}}
    )
    for attempt in range(1, BURSTS + 1):
        with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
            statuses = asyncio.run(ask_all(space, "burst", [space.torpor.gateway], 1000))
            steps = [number for _, number in deployments.replicas("burst")]
        print(f"burst {attempt}: {len(statuses)} answers; replicas {steps}")
        assert Counter(statuses) == {200: 1000}
        if steps[:2] == [0, 8]:
            return
        space.wait_asleep("burst")
    pytest.fail(f"none of {BURSTS} bursts found the right number in its first write")


def test_engines_that_queue_get_more_replicas_where_requests_do_not_show_it(space: Space) -> None:
    space.start(
        "queued",
        switches=ANSWERS,
        spec={
            "scaling": SCALING | {"keepAlive": {"policy": "fixed", "after": "1m"}},
            "engine": {"args": ["--max-num-seqs=4"]},
        },
    )
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        statuses = asyncio.run(_queue(space, "queued", 14, deployments))
        steps = deployments.replicas("queued")
    numbers = [number for _, number in steps]
    print(f"{len(statuses)} answers; replicas {numbers}")
    assert set(statuses) == {200}
    assert numbers[:2] == [0, 1]  # what waits fits into one replica's share
    assert numbers == sorted(numbers)
    assert numbers[-1] == 4  # but of fourteen requests one engine runs four at once


async def _queue(space: Space, name: str, clients: int, deployments: Seen) -> list[int]:
    """Keep so many requests in flight until four replicas were asked for, and 15 s longer."""
    load = Load(space, name)
    await load.step(clients)
    deadline = time.monotonic() + 60
    while deployments.replicas(name)[-1][1] < 4 and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await asyncio.sleep(15)  # three more looks: they must not ask for more than that
    await load.end()
    return load.statuses
