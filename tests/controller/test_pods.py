from __future__ import annotations

from typing import Any

import pytest

from tests.controller import podstates as states
from tests.controller.podstates import at
from torpor.cluster.podtimes import PodTimes, read_times
from torpor.controller.pods import merged, pod_seen

Json = dict[str, Any]


def facts(pod: Json) -> dict[str, Any]:
    seen = pod_seen(pod)
    return {
        "scheduled": seen.scheduled_ms,
        "ready": seen.ready,
        "first_ready": seen.first_ready_ms,
        "deleted": seen.deleted_ms,
        "finished": seen.finished_ms,
        "fault": seen.fault is not None,
    }


SCHEDULED = {
    "scheduled": at("21:00:01"),
    "ready": False,
    "first_ready": None,
    "deleted": None,
    "finished": None,
    "fault": False,
}
READY = SCHEDULED | {"ready": True, "first_ready": at("21:00:30")}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(states.PENDING, SCHEDULED | {"scheduled": None}, id="pending"),
        pytest.param(states.UNSCHEDULABLE, SCHEDULED | {"scheduled": None}, id="unschedulable"),
        pytest.param(states.SCHEDULED, SCHEDULED, id="scheduled"),
        pytest.param(states.FETCHING, SCHEDULED, id="its weights are being fetched"),
        pytest.param(states.LOADING, SCHEDULED, id="running, not ready"),
        pytest.param(states.READY, READY, id="ready"),
        pytest.param(states.READY_AGAIN, READY | {"first_ready": at("21:20:00")}, id="flapped"),
        pytest.param(
            states.TERMINATING, READY | {"ready": False, "deleted": at("21:30:00")},
            id="terminating: its deletion less its grace",
        ),
        pytest.param(
            states.TERMINATED,
            SCHEDULED | {"deleted": at("21:30:09"), "finished": at("21:30:08")},
            id="terminated",
        ),
        pytest.param(
            states.EVICTED, SCHEDULED | {"finished": at("21:10:07"), "fault": True}, id="evicted"
        ),
    ],
)  # fmt: skip
def test_a_pod_says_when_it_was_what(pod: Json, expected: dict[str, Any]) -> None:
    assert facts(pod) == expected


def test_a_pod_says_what_it_is() -> None:
    seen = pod_seen(states.READY)
    assert (seen.uid, seen.name) == ("pod-1", "tiny-6d5f8c9b7-x2x4z")
    assert (seen.gpus, seen.gpu_class, seen.template_hash) == (2, "l40s", "0123456789")
    assert (seen.node, seen.ip, seen.created_ms) == ("node-1", "10.0.0.7", at("21:00:00"))
    assert (seen.weights_done_ms, seen.engine_started_ms) == (at("21:00:05"), at("21:00:06"))


def test_the_schedulers_own_words_are_kept() -> None:
    assert pod_seen(states.UNSCHEDULABLE).unschedulable == states.NO_GPU
    assert pod_seen(states.SCHEDULED).unschedulable is None


LIFE = [
    states.PENDING,
    states.SCHEDULED,
    states.FETCHING,
    states.LOADING,
    states.READY,
    states.READY_AGAIN,
    states.TERMINATING,
    states.TERMINATED,
]


@pytest.mark.parametrize("missed", range(len(LIFE)))
def test_over_its_life_the_first_of_each_instant_counts(missed: int) -> None:
    times: PodTimes | None = None
    for number, state in enumerate(LIFE):
        if number != missed or state in (states.READY, states.TERMINATING, states.TERMINATED):
            times = merged(times, read_times(state))
    assert times == PodTimes(at("21:00:01"), at("21:00:30"), at("21:30:00"), at("21:30:08"))
    seen = pod_seen(states.TERMINATED, times, gone_ms=at("21:30:10"))
    assert (seen.first_ready_ms, seen.deleted_ms) == (at("21:00:30"), at("21:30:00"))
    assert (seen.finished_ms, seen.gone_ms) == (at("21:30:08"), at("21:30:10"))


@pytest.mark.parametrize(
    "pod", [states.EVICTED, states.REFUSED_BY_NODE], ids=["evicted", "refused"]
)
def test_a_pod_that_has_ended_is_gone_although_its_object_stays(pod: Json) -> None:
    # Else its fault would be counted at each sleep, and it would look like a replica that never gets ready.
    seen = pod_seen(pod)
    assert seen.gone_ms == seen.finished_ms is not None
    assert pod_seen(pod, gone_ms=5).gone_ms == 5


def test_a_pod_that_still_runs_is_not_gone() -> None:
    assert {pod_seen(state).gone_ms for state in LIFE} == {None}


def test_a_pod_that_its_node_refused_holds_no_gpu_any_more() -> None:
    # No container ever was, so that no container says when it ended.
    assert pod_seen(states.REFUSED_BY_NODE).finished_ms == at("21:00:02")


@pytest.mark.parametrize("labels", [{}, {"torpor.dev/gpus": "many"}, {"torpor.dev/gpus": "-1"}])
def test_a_label_that_is_no_number_counts_no_gpu(labels: dict[str, str]) -> None:
    assert pod_seen(states.pod({"phase": "Pending"}, labels=labels)).gpus == 0
