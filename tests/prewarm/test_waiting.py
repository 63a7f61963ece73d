"""An engine's init container that finds no room: it may not evict, so it waits for a Job that may."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.prewarm.conftest import BUDGET, PART, Full
from tests.prewarm.nodecache import now, used_at
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.fetch import Asker, bring_weights
from torpor.prewarm.waiting import ROOM_PAUSE_SECONDS, ROOM_WAIT_SECONDS


def _ask(full: Full, say: Callable[[dict[str, Any]], None], wait: Callable[[float], None]) -> Asker:
    settings = full.prewarm.settings._replace(budget_bytes=BUDGET)
    return Asker(settings, say, engine=True, wait=wait)


def test_an_engine_waits_for_room_as_long_as_a_job_may_take_to_start(full: Full) -> None:
    said: list[dict[str, Any]] = []
    waited: list[float] = []
    with pytest.raises(FetchFailure, match="in 2 possibly running") as caught:
        bring_weights(_ask(full, said.append, waited.append), None)
    assert caught.value.retryable
    assert sum(waited) == ROOM_WAIT_SECONDS
    assert len(said) == len(waited) == ROOM_WAIT_SECONDS / ROOM_PAUSE_SECONDS
    assert "waiting 120 s more for a Job to make room" in said[0]["waiting"]
    assert "possibly running" in said[0]["waiting"]


def test_an_engine_that_waits_goes_on_when_a_job_makes_room(full: Full) -> None:
    waited: list[float] = []

    def make_room_later(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            full.prewarm.run("collect", "--keep", full.second)

    brought = bring_weights(_ask(full, lambda _: None, make_room_later), None)
    assert (brought.hit, len(waited)) == (False, 3)
    assert now() - used_at(full.prewarm, brought.manifest.hash) < 60


def test_an_engine_that_waits_takes_the_copy_that_a_job_brings(full: Full) -> None:
    """So it must not hold the lock of the copy while it waits."""

    def bring(_: float) -> None:
        assert full.prewarm.run("fetch", **full.job)["reason"] == "Ready"

    brought = bring_weights(_ask(full, lambda _: None, bring), None)
    assert brought.hit
    assert now() - used_at(full.prewarm, brought.manifest.hash) < 60


def test_an_engine_does_not_wait_for_what_waiting_cannot_change(full: Full) -> None:
    settings = full.prewarm.settings._replace(budget_bytes=6 * PART)
    asker = Asker(settings, lambda _: None, engine=True, wait=lambda _: pytest.fail("it waited"))
    with pytest.raises(FetchFailure, match="the cache budget of a node is") as caught:
        bring_weights(asker, None)
    assert not caught.value.retryable
