"""What is said of an endpoint that was deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cluster_room.kubeapi import KubeApi, until
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.farewells import Farewells, last_words
from torpor.domain.observation import PodSeen

Json = dict[str, Any]
EVENTS = "/api/v1/namespaces/ml/events"
HOUR = 3_600_000
NOW = 2_000_000 * 1000


def endpoint(**status: Any) -> Json:
    return {
        "metadata": {"name": "tiny", "namespace": "ml", "uid": "uid-ie", "resourceVersion": "7"},
        "status": status,
    }


def cost(price: str | None = "2.00", live: int | None = None, **row: Any) -> Json:
    """The cost of 5.6 GPU-hours, and of a pod that started so many ms ago."""
    entry: Json = {"priceId": "l40s@x", "currency": "EUR", "gpuMs": {"busy": 56 * HOUR // 10}}
    entry |= row | ({} if price is None else {"perGPUHour": price})
    running = [{"priceId": "l40s@x", "fromMs": NOW - (live or 0)}]
    pod = {"uid": "u", "gpus": 2, "startMs": NOW - (live or 0), "prices": running}
    return {"currency": "EUR", "rows": [entry], "live": [] if live is None else [pod]}


def test_it_is_what_it_has_cost_and_done() -> None:
    tokens = {"prompt": 1_000_000, "completion": 234_000}
    said = last_words(endpoint(cost=cost(), tokens=tokens), [], NOW)
    assert said == "Deleted after spending 11.2 EUR for 5.6 GPU-hours and 1.2 M tokens"


def test_a_pod_that_runs_is_counted_up_to_the_deletion() -> None:
    said = last_words(endpoint(cost=cost(live=HOUR)), [], NOW)
    assert said == "Deleted after spending 15.2 EUR for 7.6 GPU-hours and 0 tokens"


def test_a_pod_that_has_ended_is_counted_up_to_its_end() -> None:
    ended = PodSeen("u", "tiny-1", 2, "l40s", finished_ms=NOW - HOUR // 2)
    said = last_words(endpoint(cost=cost(live=HOUR)), [ended], NOW)
    assert said == "Deleted after spending 13.2 EUR for 6.6 GPU-hours and 0 tokens"


def test_an_unknown_price_is_not_called_nothing() -> None:
    said = last_words(endpoint(cost=cost(price=None)), [], NOW)
    assert said == "Deleted after 5.6 GPU-hours, not all of known price, and 0 tokens"


def test_an_endpoint_that_never_ran_has_spent_nothing() -> None:
    assert (
        last_words(endpoint(), [], NOW)
        == "Deleted after spending 0 USD for 0 GPU-hours and 0 tokens"
    )


async def test_an_event_tells_it_in_the_endpoints_namespace(kube: KubeApi, api: Api) -> None:
    farewells = Farewells(Objects(api), "controller-1")
    running = asyncio.create_task(farewells.run())
    farewells.note(endpoint(cost=cost()), [])
    await until(lambda: kube.asked)
    running.cancel()
    (asked,) = kube.asked
    assert (asked.method, asked.path) == ("POST", EVENTS)
    event = asked.body
    assert (event["type"], event["reason"]) == ("Normal", "Deleted")
    assert event["message"].startswith("Deleted after spending 11.2 EUR")
    about = event["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("InferenceEndpoint", "tiny", "uid-ie")


@pytest.mark.parametrize("status", [{"cost": {"rows": "lost"}}, {"replicas": "many"}])
async def test_a_ledger_that_cannot_be_read_stops_nothing(
    kube: KubeApi, api: Api, status: Json
) -> None:
    farewells = Farewells(Objects(api), "controller-1")
    running = asyncio.create_task(farewells.run())
    kube.refuse[f"POST {EVENTS}"] = (403, "the namespace is being terminated")
    farewells.note(endpoint(**status), [])
    farewells.note(endpoint(), [])
    await until(lambda: len(kube.asked) == 4)  # what is forbidden is asked a second time
    assert not running.done()
    running.cancel()
