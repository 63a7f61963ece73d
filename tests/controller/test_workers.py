from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.cluster_room.kubeapi import until
from torpor import clock
from torpor.controller import workers
from torpor.controller.seen import Key
from torpor.controller.workers import AT_ONCE, Workers
from torpor.errors import Stalled, Waiting

ONE, TWO = ("ml", "one"), ("ml", "two")


class Passes:
    """Passes that a test lets through one by one."""

    def __init__(self) -> None:
        self.began: list[tuple[Key, float]] = []
        self.running: dict[Key, int] = {}
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.ends: list[int | Exception | None] = []
        self.workers = Workers(self.run)

    async def run(self, key: Key) -> int | None:
        self.began.append((key, time.monotonic()))
        self.running[key] = self.running.get(key, 0) + 1
        self.most = max(self.most, self.running[key])
        try:
            await self.gate.wait()
        finally:
            self.running[key] -= 1
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, Exception):
            raise end
        return end

    def count(self, key: Key = ONE) -> int:
        return sum(1 for found, _ in self.began if found == key)

    def gaps(self) -> list[float]:
        times = [when for _, when in self.began]
        return [after - before for before, after in pairwise(times)]


@pytest.fixture
async def passes() -> AsyncIterator[Passes]:
    made = Passes()
    yield made
    await made.workers.stop()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_worker_touched_often_runs_once(passes: Passes) -> None:
    for _ in range(10):
        passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    await settled()
    assert passes.count() == 1


async def test_touches_during_a_pass_make_one_more_and_never_overlap(passes: Passes) -> None:
    passes.gate.clear()
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    for _ in range(10):
        passes.workers.touch(ONE)
        await asyncio.sleep(0)
    assert passes.count() == 1
    passes.gate.set()
    await until(lambda: passes.count() == 2)
    await settled()
    assert (passes.count(), passes.most) == (2, 1)


async def test_endpoints_do_not_wait_for_each_other(passes: Passes) -> None:
    passes.gate.clear()
    passes.workers.touch(ONE)
    passes.workers.touch(TWO)
    await until(lambda: passes.count(ONE) == passes.count(TWO) == 1)


async def test_a_pass_that_wants_to_look_again_runs_then(passes: Passes) -> None:
    passes.ends = [clock.now_ms() + 60, None]
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 2)
    assert passes.gaps()[0] >= 0.04  # the moment asked for, seen from two clocks
    await settled()
    assert passes.count() == 2


async def test_a_moment_that_has_passed_is_now(passes: Passes) -> None:
    passes.ends = [clock.now_ms() - 10_000, None]
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 2)


@pytest.mark.parametrize("error", [Stalled("X", "refused"), RuntimeError("boom")])
async def test_failures_back_off_doubling(
    passes: Passes, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    passes.ends = [error, error, None] if isinstance(error, Stalled) else [error, None]
    with caplog.at_level(logging.WARNING):
        passes.workers.touch(ONE)
        await until(lambda: not passes.ends)
    gaps = passes.gaps()
    assert all(gap >= 0.49 * 2**number for number, gap in enumerate(gaps))
    assert str(error) in caplog.text


async def test_one_endpoints_failure_leaves_the_others_alone(passes: Passes) -> None:
    passes.ends = [RuntimeError("boom")]
    passes.workers.touch(ONE)
    await until(lambda: passes.count(ONE) == 1)
    passes.workers.touch(TWO)
    await until(lambda: passes.count(TWO) == 1)


async def test_what_waits_runs_again_after_its_own_pause(passes: Passes) -> None:
    passes.ends = [Waiting("X", "not yet", after=timedelta(milliseconds=80)), None]
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 2)
    assert passes.gaps()[0] >= 0.07


async def test_a_touch_ends_a_pause(passes: Passes) -> None:
    passes.ends = [Waiting("X", "not yet", after=timedelta(hours=1)), None]
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    await settled()
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 2)


async def test_a_dropped_worker_runs_no_more_until_it_is_touched(passes: Passes) -> None:
    passes.gate.clear()
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    passes.workers.drop(ONE)
    passes.workers.drop(TWO)  # never heard of
    await until(lambda: passes.running[ONE] == 0)
    passes.gate.set()
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 2)
    assert passes.most == 1


async def test_after_a_stop_nothing_runs(passes: Passes) -> None:
    passes.gate.clear()
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    await passes.workers.stop()
    assert passes.running[ONE] == 0
    passes.workers.touch(ONE)
    await settled()
    assert passes.count() == 1


async def test_a_thousand_endpoints_at_once_have_their_passes_in_turns(passes: Passes) -> None:
    keys = [("ml", f"e{number}") for number in range(100)]
    passes.gate.clear()
    for key in keys:
        passes.workers.touch(key)
        passes.workers.touch(key)
    await until(lambda: len(passes.began) >= AT_ONCE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(passes.began) == AT_ONCE
    passes.gate.set()
    await until(lambda: len(passes.began) == len(keys))
    assert {key for key, _ in passes.began} == set(keys)


def spread(monkeypatch: pytest.MonkeyPatch, each: float, most: float, after: int = 1) -> None:
    monkeypatch.setattr(workers, "SPREAD_SECONDS", each)
    monkeypatch.setattr(workers, "SPREAD_AFTER", after)
    monkeypatch.setattr(workers, "SPREAD_MOST_SECONDS", most)


def touch_three(passes: Passes) -> None:
    """Touch three others at once; none of their passes ends."""
    passes.gate.clear()
    for number in range(3):
        passes.workers.touch(("ml", f"e{number}"))


async def test_who_is_touched_while_others_wait_waits_longer(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(monkeypatch, each=60, most=120)
    touch_three(passes)
    await settled()
    assert [key for key, _ in passes.began] == [("ml", "e0")]


async def test_passes_that_are_over_before_the_next_touch_are_spread_too(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(monkeypatch, each=60, most=120, after=2)
    for number in range(4):
        passes.workers.touch(("ml", f"e{number}"))
        await settled()
    assert [key for key, _ in passes.began] == [("ml", "e0"), ("ml", "e1")]


async def test_a_crowd_waits_no_longer_than_the_most(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(monkeypatch, each=60, most=0.01)
    touch_three(passes)
    await until(lambda: len(passes.began) == 3)


async def test_what_happens_while_one_waits_in_line_makes_one_pass(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(monkeypatch, each=0.05, most=0.05)
    passes.gate.clear()
    passes.workers.touch(ONE)
    for _ in range(10):
        passes.workers.touch(TWO)
        await asyncio.sleep(0)
    await until(lambda: passes.count(TWO) == 1)
    passes.gate.set()
    await settled()
    assert passes.count(TWO) == 1


@pytest.mark.parametrize("touched", [False, True], ids=["by the clock", "and touched before that"])
async def test_who_is_due_is_not_late_for_others(
    passes: Passes, monkeypatch: pytest.MonkeyPatch, touched: bool
) -> None:
    passes.ends = [clock.now_ms() + 200]
    passes.workers.touch(ONE)
    await until(lambda: passes.count() == 1)
    spread(monkeypatch, each=60, most=120)
    touch_three(passes)
    await settled()
    if touched:
        passes.workers.touch(ONE)
        await settled()
        assert passes.count() == 1
    await until(lambda: passes.count() == 2)
    assert len(passes.began) == 3  # of the others only the first one was there before them
