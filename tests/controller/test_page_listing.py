"""The answer is made once for all who look, and of each endpoint only when it has changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.page.endpoints import HOUR, by_key, made_up
from dev.page.stories import STORIES
from torpor.controller.health import State
from torpor.controller.page.listing import FRESH_MS, Listing
from torpor.controller.seen import Seen

NOW = 489_000 * HOUR + HOUR // 2


class Told:
    def __init__(self) -> None:
        self.state, self.seen = State(leads=True), Seen("torpor-system")
        self.state.listed.set()
        self.listing = Listing(self.state, "torpor-system", lambda: "another")
        self.listing.show(self.seen)
        self.seen.endpoints.update(by_key(STORIES, NOW))

    def at(self, ms: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.listing.answer(ms).body)
        return found


@pytest.fixture
async def told() -> Told:
    return Told()


async def test_many_who_look_within_a_second_get_one_answer(told: Told) -> None:
    first = told.listing.answer(NOW)
    told.seen.endpoints.clear()
    assert told.listing.answer(NOW + FRESH_MS - 1) is first
    assert told.at(NOW + FRESH_MS)["endpoints"] == []


async def test_an_answer_that_is_the_same_keeps_its_tag(told: Told) -> None:
    first = told.listing.answer(NOW)
    assert told.listing.answer(NOW + 5 * FRESH_MS) is first


async def test_a_new_object_is_read_anew_and_the_others_are_not(told: Told) -> None:
    told.listing.answer(NOW)
    changed = STORIES[0]
    key = (changed.namespace, changed.name)
    told.seen.endpoints[key] = made_up(changed, NOW + 5000)
    other = next(story for story in STORIES if story.name == "qwen-32b")
    # Nobody changes an object in place; here it shows that the line was not made again.
    told.seen.endpoints[(other.namespace, other.name)]["status"]["display"]["model"] = "unseen"
    rows = {row["name"]: row for row in told.at(NOW + 5000)["endpoints"]}
    assert rows[changed.name]["asOfMs"] == NOW + 5000
    assert rows[other.name]["model"] == other.model


async def test_the_day_moves_on_with_the_hour(told: Told) -> None:
    before, after = told.at(NOW), told.at(NOW + HOUR)
    assert after["firstHourMs"] == before["firstHourMs"] + HOUR
    assert after["endpoints"] == before["endpoints"]


async def test_an_endpoint_that_is_gone_leaves(told: Told) -> None:
    told.listing.answer(NOW)
    key = (STORIES[0].namespace, STORIES[0].name)
    told.seen.forget(key)
    names = {row["name"] for row in told.at(NOW + FRESH_MS)["endpoints"]}
    assert STORIES[0].name not in names


async def test_a_change_of_role_is_told_at_once(told: Told) -> None:
    assert told.at(NOW)["role"] == "leader"
    told.state.leads = False
    now = told.at(NOW + 1)
    assert (now["role"], now["leader"], now["endpoints"]) == ("standby", "another", [])
