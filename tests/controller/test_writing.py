from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster_room.kubeapi import merged
from torpor.controller.writing import matters, patch_between

Json = dict[str, Any]
LEAF = st.integers(0, 3) | st.booleans() | st.sampled_from(["", "a"]) | st.lists(st.integers(0, 2))
INNER = st.dictionaries(st.sampled_from("abc"), LEAF, max_size=3)
OUTER = st.dictionaries(st.sampled_from("abc"), LEAF | INNER, max_size=3)
OBJECT = st.dictionaries(st.sampled_from("abc"), LEAF | OUTER, max_size=3)


@given(before=OBJECT, after=OBJECT)
def test_the_patch_turns_before_into_after(before: Json, after: Json) -> None:
    assert merged(before, patch_between(before, after)) == after


@settings(max_examples=30)
@given(before=OBJECT)
def test_no_difference_is_no_patch(before: Json) -> None:
    assert patch_between(before, copy.deepcopy(before)) == {}


def test_what_is_gone_is_said_as_null() -> None:
    before = {"failure": {"reason": "X"}, "cost": {"perHour": "1", "live": [1]}}
    assert patch_between(before, {"cost": {"live": [2]}}) == {
        "failure": None,
        "cost": {"perHour": None, "live": [2]},
    }


POD = {"uid": "a", "startMs": 1, "busyMs": 5, "busyThroughMs": 9}
STATUS: Json = {
    "replicas": 1,
    "conditions": [{"type": "Ready", "status": "True", "reason": "CanAnswer", "message": "m"}],
    "cost": {
        "live": [POD],
        "rows": [{"priceId": "p", "gpuMs": {"idle": 1}, "alwaysOnGpuMs": 1}],
        "closed": [],
        "perHour": "1.8",
        "spent": "1",
        "saved": "2",
        "asOf": "2026-11-23T21:00:00Z",
    },
    "keepAlive": {"seconds": 120, "lastActivity": "2026-11-23T21:00:00Z"},
    "tokens": {"prompt": 1, "completion": 1},
}


def changed(*path: Any, to: Any) -> Json:
    status = copy.deepcopy(STATUS)
    part: Any = status
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return status


@pytest.mark.parametrize(
    "after",
    [
        changed("cost", "spent", to="1.5"),
        changed("cost", "saved", to="2.5"),
        changed("cost", "asOf", to="2026-11-23T21:00:02Z"),
        changed("cost", "live", 0, "busyMs", to=7),
        changed("cost", "live", 0, "busyThroughMs", to=11),
        changed("cost", "rows", 0, "alwaysOnGpuMs", to=7),
        changed("keepAlive", "lastActivity", to="2026-11-23T21:00:02Z"),
        changed("tokens", "prompt", to=2),
    ],
    ids=["spent", "saved", "as of", "busy", "busy through", "always on", "activity", "tokens"],
)
def test_what_time_alone_moves_does_not_matter(after: Json) -> None:
    assert not matters(STATUS, after)


@pytest.mark.parametrize(
    "after",
    [
        changed("replicas", to=2),
        changed("conditions", 0, "reason", to="Idle"),
        changed("conditions", 0, "status", to="False"),
        changed("failure", to={"reason": "X"}),
        changed("cost", "live", 0, "firstReadyMs", to=2),
        changed("cost", "live", 0, "deletedMs", to=3),
        changed("cost", "live", 0, "finishedMs", to=4),
        changed("cost", "live", to=[POD, POD | {"uid": "b"}]),
        changed("cost", "live", to=[]),
        changed("cost", "closed", to=[{"uid": "a", "atMs": 9}]),
        changed("cost", "rows", to=[*STATUS["cost"]["rows"], {"priceId": "q"}]),
        changed("cost", "perHour", to="0"),
    ],
    ids=["replicas", "reason", "condition", "failure", "ready", "deleted", "finished", "came", "left",
         "booked", "price", "rate"],
)  # fmt: skip
def test_every_edge_matters(after: Json) -> None:
    assert matters(STATUS, after)
    assert matters(after, STATUS)
    assert not matters(after, copy.deepcopy(after))


def test_a_first_status_matters() -> None:
    assert matters({}, STATUS)


def condition(kind: str, status: str, reason: str, message: str = "m", since: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


SERVING = condition("Awake", "True", "Serving", "answers requests")


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        pytest.param(SERVING, SERVING | {"message": "3 requests"}, False, id="words of a True"),
        pytest.param(SERVING, SERVING | {"reason": "KeepingWarm"}, False, id="a lull"),
        pytest.param(SERVING, SERVING | {"lastTransitionTime": "x"}, False, id="when"),
        pytest.param(SERVING, SERVING | {"reason": "Idle"}, True, id="another reason"),
        pytest.param(SERVING, SERVING | {"status": "False"}, True, id="another status"),
        pytest.param(SERVING, SERVING | {"observedGeneration": 2}, True, id="another generation"),
        pytest.param(
            condition("Ready", "False", "EngineCrashed", "a"),
            condition("Ready", "False", "EngineCrashed", "b"), True, id="words of a False",
        ),
        pytest.param(
            condition("Awake", "Unknown", "Pending", "no GPU in zone a"),
            condition("Awake", "Unknown", "Pending", "no GPU at all"), True, id="words of an Unknown",
        ),
    ],
)  # fmt: skip
def test_of_conditions_what_a_steady_client_moves_does_not_matter(
    before: Json, after: Json, written: bool
) -> None:
    was, now = (STATUS | {"conditions": [one]} for one in (before, after))
    assert matters(was, now) is written
    assert matters(now, was) is written


def test_a_condition_more_or_less_matters() -> None:
    more = STATUS | {"conditions": [*STATUS["conditions"], SERVING]}
    assert matters(STATUS, more)
    assert matters(more, STATUS)
