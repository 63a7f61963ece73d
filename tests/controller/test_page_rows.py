"""What of an endpoint gets onto the page: a list of fields, and nothing that is not on it."""

from __future__ import annotations

import json
from typing import Any

from dev.page.endpoints import HOUR, Story, Wake, made_up
from dev.page.stories import STORIES
from torpor.api.conditions import Reason
from torpor.controller.page.rows import EndpointRow, row_of

Json = dict[str, Any]
NOW = 489_000 * HOUR + HOUR // 2
FIELDS = {
    "namespace", "name", "model", "state", "why", "ready", "readyReason", "replicas", "gpu", "currency",
    "perSecond", "perHour", "spent", "saved", "perMillionTokens", "asOfMs", "sinceMs", "lastActivityMs",
    "deadlineMs", "gpus", "hours",
}  # fmt: skip
SECRET = "sk-do-not-show-me"


def row(obj: Json) -> Json:
    return row_of("shop", "llama", obj, NOW).to_dict()


def story(name: str) -> Json:
    return made_up(next(story for story in STORIES if story.name == name), NOW)


def test_the_fields_are_these_and_no_others() -> None:
    assert {field.alias for field in EndpointRow.model_fields.values()} == FIELDS
    assert set(row(story("bge-m3"))) == FIELDS


def test_nothing_of_an_object_is_shown_that_is_not_on_the_list() -> None:
    obj = story("llama-8b")
    obj["metadata"] |= {"annotations": {"note": SECRET}, "labels": {"note": SECRET}}
    obj["spec"] = {
        "model": {"source": f"s3://{SECRET}/", "s3": {"secretRef": {"name": SECRET}}},
        "engine": {"args": [SECRET], "env": [{"name": "HF_TOKEN", "value": SECRET}]},
        "access": {"keys": [{"name": SECRET, "sha256": SECRET}]},
        "template": {"metadata": {"annotations": {"note": SECRET}}},
    }
    status = obj["status"]
    status |= {"url": SECRET, "selector": SECRET, "prompt": SECRET, "weights": {"doubt": SECRET}}
    status["conditions"][0]["message"] = SECRET
    status["failure"] = {"reason": "EngineCrashed", "message": SECRET, "at": "2026-11-01T00:00:00Z"}
    status["cost"] |= {"note": SECRET}
    assert SECRET not in json.dumps(row(obj))


def test_an_endpoint_that_serves_says_what_it_does_and_costs() -> None:
    told = row(story("llama-8b"))
    assert (told["state"], told["why"]) == ("Serving", "3 requests in flight on 2 replicas")
    assert (told["replicas"], told["gpu"], told["currency"]) == ("2/3", "l40s", "USD")
    assert float(told["perHour"]) == 2 * 1.861
    assert float(told["perSecond"]) * 3600 == 2 * 1.861 or told["perSecond"] == "0.0010338889"
    assert told["asOfMs"] == NOW
    assert told["gpus"] == 2
    assert {"starting", "busy", "idle", "terminating", "atMs"} == set(told["hours"][-1])


def test_money_adds_up_to_what_never_sleeping_costs() -> None:
    told = row(story("qwen-32b"))
    assert told["perHour"] == "0"
    assert round(float(told["spent"]) + float(told["saved"]), 4) == round(9 * 24 * 2 * 6.880, 4)


def test_an_unknown_price_is_absent_and_never_zero() -> None:
    told = row(story("prototype"))
    assert not {"perHour", "perSecond", "spent", "saved", "perMillionTokens"} & set(told)
    assert told["asOfMs"] == NOW
    assert told["hours"]  # time is known all the same


def test_what_saved_less_than_nothing_says_so() -> None:
    assert float(row(story("flaky-canary"))["saved"]) < 0


def test_an_endpoint_that_nobody_looked_at_yet_says_that() -> None:
    told = row({"metadata": {"name": "llama"}})
    assert (told["model"], told["state"]) == ("llama", "Unknown")
    assert told["why"] == "the controller has not looked at it yet"
    assert "asOfMs" not in told
    assert "hours" not in told or told["hours"] == []


def test_a_status_of_another_version_hides_nobody() -> None:
    told = row({"status": {"cost": {"live": "many"}}})
    assert (told["name"], told["state"]) == ("llama", "Unknown")
    assert "cannot be read" in told["why"]


def test_a_failed_endpoint_names_its_reason() -> None:
    told = row(story("mixtral-8x22b"))
    assert (told["ready"], told["readyReason"]) == ("False", "DoesNotFit")


def test_the_hours_hold_exactly_what_the_meter_counted() -> None:
    made = made_up(
        Story("a", "b", Reason.IDLE, "", days=3, wakes=(Wake(5, 100, 0.5), Wake(1, None))), NOW
    )
    hours = row(made)["hours"]
    for phase, counted in made["status"]["cost"]["gpuMs"].items():
        assert sum(hour[phase] for hour in hours) == counted, phase
