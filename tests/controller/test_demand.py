from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.cluster_room.kubeapi import until
from torpor.controller.demand import DemandPoller, Heard, report_of
from torpor.controller.seen import Key, Seen
from torpor.domain.observation import GatewayReport, Tokens, WakeReport

Json = dict[str, Any]
KEY = ("ml", "tiny")
SAID: Json = {
    "gateway": "gw-1",
    "asOfMs": 5_000,
    "startedAtMs": 1_000,
    "endpoints": {
        "ml/tiny": {
            "waiting": 3,
            "inFlight": 2,
            "lastByteAtMs": 4_900,
            "requests": {"total": 9, "succeeded": 8, "failed": 1},
            "tokens": {"prompt": 70, "completion": 30, "cached": 20},
            "wakes": [
                {"atMs": 1, "patchedMs": 2, "podSeenMs": 3, "healthyMs": None, "firstByteMs": None}
            ],
            "pods": {"uid-1": {"inFlight": 2, "busy": [[10, 20], [30, None]]}},
            "podsSeen": {
                "uid-1": {
                    "name": "tiny-1",
                    "gpuClass": "l40s",
                    "gpus": 2,
                    "scheduledAtMs": 5,
                    "firstReadyAtMs": 9,
                    "deletedAtMs": None,
                    "finishedAtMs": None,
                    "goneAtMs": None,
                }
            },
        }
    },
}


def test_a_report_is_read_to_its_last_field() -> None:
    report = report_of("gw-1", SAID, "ml/tiny")
    assert (report.as_of_ms, report.started_ms, report.last_byte_ms) == (5_000, 1_000, 4_900)
    assert (report.waiting, report.in_flight, report.tokens) == (3, 2, Tokens(70, 30, 20))
    assert report.wakes == (WakeReport(1, 2, 3, None, None),)
    assert report.busy == {"uid-1": ((10, 20), (30, None))}
    assert report.on_pods == {"uid-1": 2}
    (pod,) = report.pods
    assert (pod.uid, pod.name, pod.gpus, pod.gpu_class) == ("uid-1", "tiny-1", 2, "l40s")
    assert (pod.scheduled_ms, pod.first_ready_ms, pod.deleted_ms) == (5, 9, None)


def test_an_endpoint_that_is_not_listed_has_no_demand_there() -> None:
    assert report_of("gw-1", SAID, "ml/other") == GatewayReport("gw-1", 5_000, 1_000)


class Gateways:
    """Gateways at 127.0.0.x behind one server that listens on all of their addresses."""

    def __init__(self) -> None:
        self.seen = Seen("torpor-system")
        self.touched: list[Key] = []
        self.said: dict[str, str | None] = {}
        """Address → the body it answers with; None = 500."""
        self.asked = 0
        self.held: dict[int, asyncio.Event] = {}
        """Number of a question → its answer, made up at once, is sent only after this."""

    async def open(self) -> None:
        self._runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), shutdown_timeout=0.01
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", 0).start()
        self.poller = DemandPoller(
            self.seen, self.touched.append, int(self._runner.addresses[0][1])
        )

    async def close(self) -> None:
        await self.poller.close()
        await self._runner.cleanup()

    def add(
        self, name: str, ip: str, as_of: int = 5_000, began: int = 1_000, **demand: Any
    ) -> None:
        said = {"asOfMs": as_of, "startedAtMs": began, "endpoints": {"ml/tiny": demand}}
        self.said[ip] = json.dumps(SAID | said)
        self.seen.take_pod(self._pod(name, ip), False, 0)

    def remove(self, name: str) -> None:
        self.seen.take_pod(self._pod(name, ""), True, 0)

    def _pod(self, name: str, ip: str) -> Json:
        labels = {"app.kubernetes.io/component": "gateway"}
        metadata = {"name": name, "namespace": "torpor-system", "uid": name, "labels": labels}
        return {"metadata": metadata, "status": {"podIP": ip, "phase": "Running"}}

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/internal/v1/demand"
        self.asked += 1
        body = self.said[request.host.partition(":")[0]]
        if self.asked in self.held:
            await self.held[self.asked].wait()
        return web.Response(status=500) if body is None else web.Response(text=body)


@pytest.fixture
async def gateways() -> AsyncIterator[Gateways]:
    made = Gateways()
    await made.open()
    yield made
    await made.close()


async def test_before_any_gateway_was_heard_nobody_knows(gateways: Gateways) -> None:
    assert not gateways.poller.demand(KEY).known
    gateways.add("gw-1", "127.0.0.1")
    assert gateways.poller.demand(KEY).unreachable == ("gw-1",)


async def test_all_gateways_together_make_the_demand(gateways: Gateways) -> None:
    gateways.add("gw-1", "127.0.0.1", waiting=3)
    gateways.add("gw-2", "127.0.0.2", inFlight=2, waiting=1)
    await gateways.poller.ask()
    demand = gateways.poller.demand(KEY)
    assert demand.known
    assert (demand.waiting, demand.in_flight) == (4, 2)


@pytest.mark.parametrize("answer", [None, "no JSON", "[]", "{}", '"word"', "null"])
async def test_a_gateway_that_gives_no_answer_is_unknown_and_its_last_word_kept(
    gateways: Gateways, answer: str | None
) -> None:
    gateways.add("gw-1", "127.0.0.1", inFlight=2)
    await gateways.poller.ask()
    gateways.said["127.0.0.1"] = answer
    await gateways.poller.ask()
    demand = gateways.poller.demand(KEY)
    assert not demand.known
    assert (demand.unreachable, demand.in_flight) == (("gw-1",), 2)
    gateways.add("gw-1", "127.0.0.1", inFlight=0)
    await gateways.poller.ask()
    assert gateways.poller.demand(KEY).known


async def test_a_gateway_whose_address_answers_nobody_is_unknown(gateways: Gateways) -> None:
    gateways.add("gw-1", "127.0.0.1")
    gateways.add("gw-2", "0.0.0.1")  # cannot be reached from anywhere
    await gateways.poller.ask()
    assert gateways.poller.demand(KEY).unreachable == ("gw-2",)


async def test_a_gateway_that_is_gone_is_dropped_with_its_word(gateways: Gateways) -> None:
    gateways.add("gw-1", "127.0.0.1", inFlight=2)
    gateways.add("gw-2", "127.0.0.2", inFlight=1)
    await gateways.poller.ask()
    gateways.remove("gw-1")
    await gateways.poller.ask()
    demand = gateways.poller.demand(KEY)
    assert (demand.known, demand.in_flight) == (True, 1)
    gateways.add("gw-1", "127.0.0.1")  # a namesake says nothing until it is asked
    assert gateways.poller.demand(KEY).unreachable == ("gw-1",)
    assert gateways.poller.demand(KEY).in_flight == 1


async def test_who_asks_within_five_milliseconds_shares_one_question(gateways: Gateways) -> None:
    gateways.add("gw-1", "127.0.0.1", inFlight=2)
    await asyncio.gather(*(gateways.poller.ask() for _ in range(100)))
    assert gateways.asked == 1
    assert gateways.poller.demand(KEY).in_flight == 2
    await gateways.poller.ask()
    assert gateways.asked == 2


async def test_who_asks_while_an_answer_is_under_way_gets_a_later_one(gateways: Gateways) -> None:
    gateways.add("gw-1", "127.0.0.1", inFlight=0)
    gateways.held[1] = asyncio.Event()
    first = asyncio.create_task(gateways.poller.ask())
    await until(lambda: gateways.asked == 1)
    gateways.add("gw-1", "127.0.0.1", as_of=6_000, inFlight=3)  # came after the first was answered
    await gateways.poller.ask()
    assert (gateways.asked, gateways.poller.demand(KEY).in_flight) == (2, 3)
    gateways.held[1].set()
    await first
    assert (
        gateways.poller.demand(KEY).in_flight == 3
    )  # the older answer came last and is not believed
    assert gateways.poller.demand(KEY).known


async def test_one_asker_that_gives_up_does_not_end_the_question_of_the_others(
    gateways: Gateways,
) -> None:
    gateways.add("gw-1", "127.0.0.1", inFlight=2)
    first, second = (asyncio.create_task(gateways.poller.ask()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert gateways.poller.demand(KEY).in_flight == 2


@pytest.mark.parametrize(
    ("as_of", "began", "in_flight"),
    [(4_000, 1_000, 2), (5_000, 1_000, 0), (6_000, 1_000, 0), (4_000, 1_500, 0)],
    ids=["older", "as old", "newer", "another process"],
)
async def test_of_one_gateway_process_the_latest_word_counts(
    gateways: Gateways, as_of: int, began: int, in_flight: int
) -> None:
    gateways.add("gw-1", "127.0.0.1", as_of=5_000, inFlight=2)
    await gateways.poller.ask()
    gateways.add("gw-1", "127.0.0.1", as_of, began, inFlight=0)
    await gateways.poller.ask()
    assert gateways.poller.demand(KEY).in_flight == in_flight


def test_what_a_gateway_says_of_a_namesake_is_not_about_this_endpoint() -> None:
    said = SAID["endpoints"]["ml/tiny"]
    for uid, in_flight in (("mine", 2), (None, 2), ("old", 0)):
        about = SAID | {"endpoints": {"ml/tiny": said | {"uid": uid}}}
        assert report_of("gw-1", about, "ml/tiny", "mine").in_flight == in_flight


def test_a_report_is_read_once_however_often_it_is_asked_for() -> None:
    heard = Heard("gw-1", SAID, answered=True)
    assert heard.of("ml/tiny", "mine") == report_of("gw-1", SAID, "ml/tiny", "mine")
    assert heard.of("ml/tiny", "mine") is heard.of("ml/tiny", "mine")
    other = SAID | {"endpoints": {"ml/tiny": SAID["endpoints"]["ml/tiny"] | {"uid": "old"}}}
    renewed = Heard("gw-1", other, answered=True)
    assert renewed.of("ml/tiny", "old").in_flight == 2
    assert renewed.of("ml/tiny", "new").in_flight == 0


def test_nothing_is_kept_of_endpoints_that_no_gateway_speaks_of() -> None:
    heard = Heard("gw-1", SAID, answered=True)
    assert heard.of("ml/sleeps", "mine") == GatewayReport("gw-1", 5_000, 1_000)
    assert heard.read == {}


async def test_an_endpoint_is_touched_when_its_demand_changes_and_only_then(
    gateways: Gateways,
) -> None:
    gateways.seen.endpoints[KEY] = {}
    gateways.seen.endpoints[("ml", "runs")] = {"status": {"replicas": 1}}
    gateways.seen.endpoints[("ml", "sleeps")] = {"status": {"replicas": 0}}
    gateways.add("gw-1", "127.0.0.1", inFlight=1)
    polling = asyncio.create_task(gateways.poller.run())
    async with asyncio.timeout(5):
        while len(gateways.touched) < 2:
            await asyncio.sleep(0.005)
        # Who runs hears that somebody answers now; who sleeps does not depend on it.
        assert set(gateways.touched) == {KEY, ("ml", "runs")}
        gateways.touched.clear()
        asked = gateways.asked
        gateways.add("gw-1", "127.0.0.1", inFlight=2)
        while gateways.asked == asked or not gateways.touched:
            await asyncio.sleep(0.005)
    polling.cancel()
    assert gateways.touched == [KEY]
