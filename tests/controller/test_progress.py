"""Pods that bring weights are asked how far they are; nobody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from torpor.controller.progress import ProgressPoller, progress_of
from torpor.controller.seen import Key, Seen
from torpor.domain.prewarmjobs import Progress

Json = dict[str, Any]
RUNNING: Json = {"running": {}}
ENDED: Json = {"terminated": {"exitCode": 0}}


def pod(uid: str, component: str, state: Json, kind: str = "containerStatuses") -> Json:
    labels = {"torpor.dev/endpoint": "tiny", "torpor.dev/component": component}
    return {
        "metadata": {"uid": uid, "name": uid, "namespace": "ml", "labels": labels},
        "status": {"podIP": "127.0.0.1", kind: [{"name": "weights", "state": state}]},
    }


class Room:
    """A pod's address that tells progress, and a poller that asks it."""

    def __init__(self) -> None:
        self.said: Any = {"bytes": 5, "total": 10, "bytesPerSecond": 2, "secondsLeft": 2.5}
        self.asked = 0
        self.touched: list[Key] = []
        self.seen = Seen("torpor-system")
        self.seen.endpoints[("ml", "tiny")] = {"metadata": {"uid": "uid-ie"}}

    async def open(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = int(self._runner.addresses[0][1])
        self.poller = ProgressPoller(self.seen, self.touched.append, port)

    async def close(self) -> None:
        await self.poller.close()
        await self._runner.cleanup()

    def put(self, made: Json, *, gone: bool = False) -> None:
        self.seen.take_pod(made, gone, 0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/progress"
        self.asked += 1
        return web.json_response(self.said)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    await made.open()
    yield made
    await made.close()


async def test_a_jobs_pod_and_an_engine_that_fetches_are_asked(room: Room) -> None:
    room.put(pod("job", "prewarm", RUNNING))
    room.put(pod("engine", "engine", RUNNING, "initContainerStatuses"))
    await room.poller.ask()
    half = Progress(5, 10, 2, 2.5)
    assert room.poller.heard == {"job": half, "engine": half}
    assert room.touched == [("ml", "tiny")] * 2


async def test_what_has_ended_is_not_asked_and_forgotten(room: Room) -> None:
    room.put(pod("job", "prewarm", RUNNING))
    await room.poller.ask()
    room.put(pod("job", "prewarm", ENDED))
    await room.poller.ask()
    assert (room.asked, room.poller.heard) == (1, {})


async def test_figures_that_stand_still_wake_nobody(room: Room) -> None:
    room.put(pod("job", "prewarm", RUNNING))
    await room.poller.ask()
    await room.poller.ask()
    assert room.touched == [("ml", "tiny")]


async def test_a_pod_that_is_silent_for_a_moment_keeps_its_last_word(room: Room) -> None:
    room.put(pod("job", "prewarm", RUNNING))
    await room.poller.ask()
    room.said = "not yet"
    await room.poller.ask()
    assert room.poller.heard == {"job": Progress(5, 10, 2, 2.5)}


@pytest.mark.parametrize(
    "said", [None, [], {}, {"total": 0}, {"total": "many"}, {"waiting": "for another pod"}]
)
def test_what_is_no_progress_is_none(said: Any) -> None:
    assert progress_of(said) is None


def test_a_download_without_a_rate_has_no_time_left() -> None:
    assert progress_of({"total": 10}) == Progress(0, 10, 0, None)
