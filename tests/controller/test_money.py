"""What the spec says about money, through whole passes: conditions, Events, a wake that is refused, another month."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.controller.stage import ENDPOINT, Stage
from torpor import clock

Json = dict[str, Any]
REFUSING: Json = {"budget": {"monthly": "0.0001", "action": "refuseWake"}}
"""A ten-thousandth: at 1.80 an hour the ten seconds of a start are fifty times as much."""


def events(stage: Stage) -> list[tuple[str, str]]:
    asked = [a.body for a in stage.kube.asked if a.path.endswith("/events")]
    return [(event["type"], event["reason"]) for event in asked]


async def slept(stage: Stage, cost: Json, seconds_ago: float = 30) -> None:
    """Wake it, let it idle for so long, and let it sleep."""
    await stage.make_ready(cost=cost, scaling={"keepAlive": {"after": "1h"}})
    stage.run_pod(ready_seconds_ago=seconds_ago)
    await stage.step()


async def gone(stage: Stage) -> None:
    stage.kube.delete("/api/v1/namespaces/ml/pods/tiny-1")
    await stage.step()


async def test_without_a_budget_there_is_no_condition(stage: Stage) -> None:
    await stage.make_ready()
    assert stage.condition("WithinBudget") == ("", "")
    assert stage.condition("CheaperThanOffer") == ("", "")
    assert "budget" not in stage.status()["cost"]


async def test_a_fresh_month_is_within_its_budget_and_says_so_quietly(stage: Stage) -> None:
    await stage.make_ready(cost={"budget": {"monthly": "500"}})
    assert stage.condition("WithinBudget") == ("True", "WithinBudget")
    budget = stage.status()["cost"]["budget"]
    assert (budget["monthly"], budget["spent"], budget["percent"]) == ("500", "0", 0)
    assert budget["resets"].endswith("-01T00:00:00Z")
    assert ("Normal", "WithinBudget") not in events(stage)


async def test_a_spent_budget_warns_and_goes_on(stage: Stage) -> None:
    await slept(stage, {"budget": {"monthly": "0.0001"}})
    assert stage.condition("WithinBudget") == ("False", "OverBudget")
    assert events(stage).count(("Warning", "OverBudget")) == 1
    assert stage.condition("Ready") == ("True", "CanAnswer")
    assert stage.replicas() == 1  # an hour of keepAlive is left


async def test_a_spent_budget_that_refuses_puts_to_sleep_and_keeps_asleep(stage: Stage) -> None:
    await slept(stage, REFUSING)
    assert stage.replicas() == 0
    await gone(stage)
    await stage.step()
    assert stage.condition("Ready") == ("False", "OverBudget")
    assert stage.condition("Awake") == ("False", "OverBudget")
    stage.kube.asked.clear()
    await stage.step()
    assert stage.kube.writes() == []


async def test_what_runs_is_not_cut_off(stage: Stage) -> None:
    await stage.make_ready(cost=REFUSING)
    stage.run_pod(ready_seconds_ago=30)
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    await stage.step()
    assert stage.replicas() == 1
    assert stage.condition("Ready") == ("True", "CanAnswer")
    assert stage.condition("WithinBudget") == ("False", "OverBudget")


async def test_a_higher_budget_lets_it_answer_again(stage: Stage) -> None:
    await slept(stage, REFUSING)
    await gone(stage)
    endpoint = copy.deepcopy(stage.kube.objects[ENDPOINT])
    endpoint["spec"]["cost"]["budget"]["monthly"] = "500"
    stage.kube.put(ENDPOINT, endpoint)
    await stage.step()
    assert stage.condition("Ready") == ("True", "CanAnswer")
    assert stage.condition("WithinBudget") == ("True", "WithinBudget")
    assert ("Normal", "WithinBudget") in events(stage)


async def test_another_month_has_its_own_budget(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await slept(stage, REFUSING)
    await gone(stage)
    spent = stage.status()["cost"]["spent"]
    now, later = clock.now_ms, clock.now
    resets = _epoch_ms(stage.status()["cost"]["budget"]["resets"])

    def move(seconds_from_month: int) -> None:
        ahead = resets + seconds_from_month * 1000 - now()
        monkeypatch.setattr(clock, "now_ms", lambda: now() + ahead)
        monkeypatch.setattr(clock, "now", lambda: later() + timedelta(milliseconds=ahead))

    move(-600)
    await stage.demand.ask()
    assert await stage.step() == resets  # when it may answer again
    assert stage.condition("Ready") == ("False", "OverBudget")
    move(1)
    await stage.demand.ask()
    await stage.step()
    assert stage.condition("Ready") == ("True", "CanAnswer")
    cost = stage.status()["cost"]
    assert (cost["budget"]["spent"], cost["budget"]["percent"]) == ("0", 0)
    assert cost["spent"] == spent


async def test_a_class_without_a_price_refuses_nothing(stage: Stage) -> None:
    del stage.seen.classes["l40s"]["spec"]["price"]
    await slept(stage, REFUSING)
    assert stage.condition("WithinBudget") == ("Unknown", "PriceUnknown")
    assert stage.replicas() == 1
    assert "spent" not in stage.status()["cost"]["budget"]


async def test_an_offer_is_compared_and_the_turn_is_told(stage: Stage) -> None:
    offer = {"name": "hosted", "inputPerMillion": "0.15", "outputPerMillion": "0.60"}
    await stage.make_ready(cost={"compareWith": offer})
    assert stage.condition("CheaperThanOffer") == ("Unknown", "NothingToCompare")
    stage.run_pod(ready_seconds_ago=30)
    stage.report = {"inFlight": 1, "tokens": {"prompt": 10, "completion": 1}}
    await stage.demand.ask()
    await stage.step()
    assert stage.condition("CheaperThanOffer") == ("False", "OfferCheaper")
    stage.report = {"inFlight": 1, "tokens": {"prompt": 9_000_000, "completion": 9_000_000}}
    await stage.demand.ask()
    await stage.step()
    assert stage.condition("CheaperThanOffer") == ("True", "CheaperHere")
    found = stage.status()["cost"]["comparison"]
    assert (found["name"], found["tokens"], found["there"]) == ("hosted", 18_000_000, "6.75")
    assert float(found["here"]) < 1
    assert found["breakEvenTokensPerDay"] == 115_200_000  # 24 h × 1.80 ÷ 6.75 × 18 M
    turns = [reason for _, reason in events(stage) if reason in ("OfferCheaper", "CheaperHere")]
    assert turns == ["OfferCheaper", "CheaperHere"]


def _epoch_ms(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp() * 1000)
