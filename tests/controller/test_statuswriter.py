"""Statuses are written one at a time per endpoint, beside the passes, and anew when there was more to say."""

from __future__ import annotations

import asyncio
import copy
from functools import partial
from typing import Any

import pytest

from tests.cluster_room.kubeapi import until
from tests.controller.stage import ENDPOINT, KEY, Stage
from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.cluster.objects import Conflict
from torpor.controller import pauses, statuswriter

Json = dict[str, Any]
STATUS_WRITE = f"PATCH {ENDPOINT}/status"
ASLEEP = EndpointStatus.model_validate({"replicas": 0, "weights": {"hash": "a" * 32}})


@pytest.fixture
def applied(stage: Stage) -> Stage:
    stage.apply()
    return stage


def obj_of(stage: Stage) -> Json:
    return copy.deepcopy(stage.seen.endpoints[KEY])


def before_of(stage: Stage) -> EndpointStatus:
    return EndpointStatus.model_validate(obj_of(stage).get("status") or {})


def awake(seconds: int, as_of: str = "2026-11-26T10:00:00Z") -> EndpointStatus:
    """A status with figures of which only `spent` tells two *seconds* apart."""
    return EndpointStatus.model_validate(
        {"replicas": 1, "cost": {"spent": str(seconds), "asOf": as_of}}
    )


def writes(stage: Stage) -> int:
    return stage.kube.writes().count(STATUS_WRITE)


def _written(stage: Stage, times: int) -> bool:
    return writes(stage) == times


async def say(stage: Stage, status: EndpointStatus) -> int | None:
    said = await stage.statuses.write(obj_of(stage), before_of(stage), status)
    return said.due_ms


async def test_a_status_is_written_while_the_pass_goes_on(applied: Stage) -> None:
    assert await say(applied, ASLEEP) is None
    assert writes(applied) == 0
    await applied.statuses.idle()
    assert applied.status()["weights"]["hash"] == "a" * 32
    assert applied.seen.endpoints[KEY]["status"] == applied.status()
    assert applied.touched == []


async def test_what_is_said_while_a_write_is_under_way_is_said_anew_afterwards(
    applied: Stage,
) -> None:
    gate = applied.kube.held[STATUS_WRITE] = asyncio.Event()
    await say(applied, ASLEEP)
    await until(lambda: writes(applied) == 1)
    assert await say(applied, awake(1)) is None
    assert await say(applied, awake(2)) is None
    gate.set()
    await applied.statuses.idle()
    assert (writes(applied), applied.touched) == (1, [KEY])
    await say(applied, awake(3))
    await applied.statuses.idle()
    assert applied.status()["replicas"] == 1
    assert applied.touched == [KEY]


async def test_figures_that_only_move_wait_for_their_turn(applied: Stage) -> None:
    await say(applied, awake(1, as_of=clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")))
    await applied.statuses.idle()
    due = await say(applied, awake(2))
    await applied.statuses.idle()
    assert writes(applied) == 1
    assert due is not None
    assert due <= clock.now_ms() + statuswriter.STATUS_MS


async def test_figures_that_were_written_are_not_looked_at_again(applied: Stage) -> None:
    long_ago = "2026-11-25T10:00:00Z"
    await say(applied, awake(1, as_of=long_ago))
    await applied.statuses.idle()
    applied.touched.clear()
    moved = awake(2, as_of=long_ago)
    said = await applied.statuses.write(obj_of(applied), before_of(applied), moved)
    assert said.stored  # all that matters was said before
    await applied.statuses.idle()
    assert (writes(applied), applied.touched) == (2, [])


async def test_a_server_that_takes_its_time_is_written_to_less_often(applied: Stage) -> None:
    gate = applied.kube.held[STATUS_WRITE] = asyncio.Event()
    for number in range(12):
        gate.clear()
        await say(
            applied, EndpointStatus.model_validate({"replicas": 0, "weights": {"files": number}})
        )
        await until(partial(_written, applied, number + 1))
        await asyncio.sleep(0.35)
        gate.set()
        await applied.statuses.idle()
    due = await say(applied, awake(1))
    assert due is not None
    assert due - clock.now_ms() > statuswriter.STATUS_MS + 100
    await applied.statuses.idle()


async def test_a_write_that_lost_is_said_anew_once_what_it_lost_against_is_heard(
    applied: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    applied.seen.endpoints[KEY]["metadata"]["resourceVersion"] = "1"
    await say(applied, ASLEEP)
    await applied.statuses.idle()
    assert "status" not in applied.kube.objects[ENDPOINT]
    assert applied.touched == [KEY]
    assert not [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")]


async def test_a_server_that_refuses_is_asked_again_after_a_growing_pause(
    applied: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pauses, "FIRST_SECONDS", 0.01)
    applied.kube.refuse[STATUS_WRITE] = (422, "the status is not valid")
    for _ in range(3):
        await say(applied, ASLEEP)
        await applied.statuses.idle()
    assert applied.touched == [KEY] * 3
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert ["again in 0.01 s" in told[0], "again in 0.02 s" in told[1]] == [True, True]
    assert "again in 0.04 s" in told[2]
    assert "the status is not valid" in told[0]
    del applied.kube.refuse[STATUS_WRITE]
    await say(applied, ASLEEP)
    await applied.statuses.idle()
    assert applied.status()["replicas"] == 0


async def test_an_endpoint_that_is_gone_is_not_touched(applied: Stage) -> None:
    gate = applied.kube.held[STATUS_WRITE] = asyncio.Event()
    await say(applied, ASLEEP)
    await until(lambda: writes(applied) == 1)
    await say(applied, awake(1))
    applied.kube.delete(ENDPOINT)
    applied.seen.forget(KEY)
    gate.set()
    await applied.statuses.idle()
    assert applied.touched == []


async def test_what_must_be_said_first_waits_for_what_is_under_way(applied: Stage) -> None:
    gate = applied.kube.held[STATUS_WRITE] = asyncio.Event()
    await say(applied, ASLEEP)
    await until(lambda: writes(applied) == 1)
    stale, before = obj_of(applied), before_of(applied)
    first = asyncio.create_task(applied.statuses.write_now(stale, before, awake(1)))
    await asyncio.sleep(0.01)
    assert writes(applied) == 1
    gate.set()
    with pytest.raises(Conflict):  # so its pass looks again at what is there now
        await first
    await applied.statuses.write_now(obj_of(applied), before_of(applied), awake(1))
    assert applied.status()["replicas"] == 1


async def test_closing_gives_up_what_is_under_way(applied: Stage) -> None:
    applied.kube.held[STATUS_WRITE] = asyncio.Event()
    await say(applied, ASLEEP)
    await until(lambda: writes(applied) == 1)
    await applied.statuses.close()
    await applied.statuses.idle()
    assert applied.touched == []
    applied.kube.held[STATUS_WRITE].set()


async def test_who_has_nothing_to_put_to_sleep_waits_for_its_write(applied: Stage) -> None:
    gate = applied.kube.held[STATUS_WRITE] = asyncio.Event()
    writing = applied.statuses.write(obj_of(applied), before_of(applied), ASLEEP, wait=True)
    waiting = asyncio.create_task(writing)
    await until(lambda: writes(applied) == 1)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    gate.set()
    await waiting
    assert applied.status()["replicas"] == 0


async def test_who_waits_is_not_held_up_by_the_pause_after_a_failure(applied: Stage) -> None:
    applied.kube.refuse[STATUS_WRITE] = (422, "the status is not valid")
    writing = applied.statuses.write(obj_of(applied), before_of(applied), ASLEEP, wait=True)
    await asyncio.wait_for(writing, pauses.FIRST_SECONDS / 2)
    await applied.statuses.close()


async def test_passes_wait_when_many_statuses_wait(applied: Stage) -> None:
    gate = applied.kube.silent = asyncio.Event()
    for number in range(statuswriter.AT_ONCE + statuswriter.WAITING):
        other = obj_of(applied)
        other["metadata"]["name"] = f"other-{number}"
        await asyncio.wait_for(applied.statuses.write(other, EndpointStatus(), ASLEEP), 1)
    waiting = asyncio.create_task(say(applied, ASLEEP))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    gate.set()
    await waiting
    await applied.statuses.idle()
    assert applied.status()["replicas"] == 0


async def test_a_pass_that_writes_figures_asks_for_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.make_ready()
    stage.run_pod()
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    for _ in range(2):
        await stage.step()
    monkeypatch.setattr(statuswriter, "STATUS_MS", 0)  # figures are due at once
    stage.touched.clear()
    stage.kube.asked.clear()
    await stage.step()
    assert stage.kube.writes() == [f"PATCH {ENDPOINT}/status"]
    assert stage.touched == []
