"""A pod that ends while it still loads gives its GPU back at once; one that may have a request keeps its time."""

import dataclasses

import pytest

from torpor.domain.leaving import with_nothing_to_finish
from torpor.domain.observation import Demand, GatewayReport, PodSeen

LOADING = PodSeen("u", "p", 1, "l40s", scheduled_ms=1000, deleted_ms=5000, grace_seconds=90)
QUIET = Demand((GatewayReport("g", as_of_ms=6000, started_ms=0),))
ASKED = Demand((GatewayReport("g", as_of_ms=6000, started_ms=0, busy={"u": ((5500, None),)}),))


def test_a_pod_that_was_never_ready_and_has_no_request_need_not_wait() -> None:
    assert with_nothing_to_finish([LOADING], QUIET) == (LOADING,)


@pytest.mark.parametrize(
    "changed",
    [
        {"deleted_ms": None},
        {"first_ready_ms": 4000},
        {"gone_ms": 7000},
        {"finished_ms": 6500},
        {"grace_seconds": 1},
    ],
    ids=["stays", "has been ready", "is gone", "has ended", "is hurried already"],
)
def test_any_other_pod_keeps_its_time(changed: dict[str, int | None]) -> None:
    assert with_nothing_to_finish([dataclasses.replace(LOADING, **changed)], QUIET) == ()  # type: ignore[arg-type]


def test_a_request_that_came_before_the_kubelet_said_ready_is_finished() -> None:
    assert with_nothing_to_finish([LOADING], ASKED) == ()


def test_nothing_is_hurried_while_a_gateway_does_not_answer() -> None:
    assert with_nothing_to_finish([LOADING], dataclasses.replace(QUIET, unreachable=("h",))) == ()
