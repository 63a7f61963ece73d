"""Slow tails, connections that die at random, and several processes: exact, and nobody waits for the slowest."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket
from tests.prewarm.test_fetch import _finish, _start
from tests.prewarm.test_resume import fail_after, ranges_of

pytestmark = pytest.mark.slow

SHARD = "model-00002-of-00002.safetensors"
STALLED = (6 * PART, 7 * PART)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What stalls is let go when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def stall(
    released: threading.Event, after: int, which: Callable[[int], bool]
) -> Callable[[Asked, Answer], None]:
    """One range stalls when it is asked for the first time (0), or as `which` says."""
    times = 0

    def hold(asked: Asked, answer: Answer) -> None:
        nonlocal times
        wanted = f"bytes={STALLED[0]}-{STALLED[1] - 1}"
        if asked.target.endswith(SHARD) and asked.headers.get("Range") == wanted:
            if which(times):
                answer.stall_after, answer.until = after, released
            times += 1

    return hold


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("after", [0, PART // 2], ids=["no head", "half a body"])
def test_a_range_that_stalls_is_asked_for_twice_and_not_waited_for(
    after: int,
    processes: int,
    prewarm: Prewarm,
    bucket: Bucket,
    released: threading.Event,
) -> None:
    """It is let go only after the fetch has ended."""
    files = bucket.put_checkpoint("llama/", shard_bytes=10 * PART)
    hold = stall(released, after, lambda times: times == 0)
    with FaultProxy(bucket.server.port, after=hold) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, connections=4, processes=processes)
        assert not released.is_set()
        asked = [one for one in ranges_of(proxy) if one[0].endswith(SHARD) and one[1:] == STALLED]
        released.set()
    assert len(asked) >= 2
    prewarm.assert_holds(result, files)
    assert result["bytes"] == sum(map(len, files.values()))


def test_a_hand_that_is_called_back_does_not_ask_once_more(
    prewarm: Prewarm, bucket: Bucket, released: threading.Event
) -> None:
    """The store stalls this range on every connection but the hedge's: the third request would wait as the first."""
    files = bucket.put_checkpoint("llama/", shard_bytes=10 * PART)
    hold = stall(released, 0, lambda times: times != 1)
    with FaultProxy(bucket.server.port, after=hold) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, connections=4)
        asked = [one for one in ranges_of(proxy) if one[0].endswith(SHARD) and one[1:] == STALLED]
        released.set()
    prewarm.assert_holds(result, files)
    assert len(asked) == 2


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("processes", [1, 2])
def test_connections_cut_at_random_cost_requests_and_nothing_else(
    seed: int, processes: int, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=12 * PART + 99)
    draw = random.Random(seed)
    cuts = 0

    def cut(asked: Asked, answer: Answer) -> None:
        nonlocal cuts
        if asked.is_range_of and draw.random() < 0.25:
            cuts += 1
            answer.cut_after = draw.randrange(len(answer.body) + 1)

    with FaultProxy(bucket.server.port, after=cut) as proxy:
        result = prewarm.run(
            "fetch",
            endpoint=proxy.endpoint,
            part_attempts=20,
            part_bytes=PART // 2,
            connections=8,
            processes=processes,
        )
    assert cuts > 3
    prewarm.assert_holds(result, files)


def test_two_processes_share_the_work_and_go_on_from_one_journal(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=20 * PART)
    with FaultProxy(bucket.server.port, after=fail_after(20)) as proxy:
        broken = prewarm.run("fetch", endpoint=proxy.endpoint, processes=2, part_attempts=1)
        assert broken["reason"] == "WeightsUnreachable"
        proxy.after = None
        result = prewarm.run("fetch", endpoint=proxy.endpoint, processes=2)
    assert result["resumedBytes"] > 0
    prewarm.assert_holds(result, files)


def test_the_other_process_ends_with_the_parent_that_is_killed(
    prewarm: Prewarm, bucket: Bucket, released: threading.Event
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=20 * PART)
    begun = threading.Event()
    downloads = 0

    def hold(asked: Asked, answer: Answer) -> None:
        nonlocal downloads
        if asked.is_range_of and "-65535" not in asked.headers["Range"]:
            downloads += 1
            if downloads == 12:
                begun.set()
            if downloads >= 12:
                answer.stall_after, answer.until = 1000, released

    with FaultProxy(bucket.server.port, after=hold) as proxy:
        pod = _start(prewarm, 0, endpoint=proxy.endpoint, processes=2)
        assert begun.wait(30)
        (worker,) = children(pod.pid)
        pod.send_signal(signal.SIGKILL)
        assert pod.wait(30) == -signal.SIGKILL
        pod.communicate(timeout=30)  # to the end of stderr, which the other one holds too
        assert not is_running(worker)
        released.set()
        proxy.after = None
        again = _start(prewarm, 1, endpoint=proxy.endpoint, processes=2)
        result = _finish(again, prewarm, 1)
    assert result["reason"] == "Ready"
    prewarm.assert_holds(result, files)


def children(pid: int) -> list[int]:
    """Processes below one, those of its threads too."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for file in found for word in file.read_text().split()]


def is_running(pid: int) -> bool:
    """Whether it has not ended; one that nobody has waited for yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
