from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.api.conditions import Reason
from torpor.domain.failing import (
    CAPACITY_TIMEOUT_MS,
    LONGEST_PAUSE_MS,
    Failure,
    assess,
    capacity_limit_ms,
    fault_of,
    pause_ms,
)
from torpor.domain.observation import Fault, PodSeen

NOW = 1_800_000_000_000
CRASH = Fault(Reason.ENGINE_CRASHED, "the engine ended with code 1: no such option")
POD = PodSeen("a", "a", 1, "l40s", created_ms=NOW - 10_000, scheduled_ms=NOW - 9_000)
CRASHED = replace(POD, fault=CRASH)
READY = replace(POD, uid="r", ready=True, first_ready_ms=NOW - 1_000)
HOMELESS = replace(
    POD, scheduled_ms=None, unschedulable="Insufficient nvidia.com/gpu", created_ms=NOW
)
FIRST = Failure(CRASH.reason, CRASH.message, 1, NOW, NOW + 15_000, generation=7, pod="a")


def test_a_pod_with_a_fault_is_a_failed_wake_with_a_pause_of_15_seconds() -> None:
    assert assess(None, (CRASHED,), 7, NOW) == FIRST


@pytest.mark.parametrize("later", [0, 1_000, 15_000, 10**7])
def test_one_failed_pod_is_counted_once_however_often_it_is_seen(later: int) -> None:
    assert assess(FIRST, (CRASHED,), 7, NOW + later) == FIRST


def test_the_replicas_of_one_wake_that_all_fail_are_one_failure_in_any_order_they_leave() -> None:
    others = tuple(replace(CRASHED, uid=uid) for uid in "bcdefghij")
    first = assess(None, (CRASHED, *others), 7, NOW)
    assert assess(first, (*reversed(others), CRASHED), 7, NOW + 100) == first
    leaving = replace(CRASHED, deleted_ms=NOW + 200)
    assert assess(first, (leaving, *others), 7, NOW + 300) == first


def test_the_next_failed_wake_after_the_pause_doubles_it() -> None:
    again = assess(FIRST, (replace(CRASHED, uid="b"),), 7, NOW + 15_000)
    assert again == replace(FIRST, count=2, at_ms=NOW + 15_000, retry_at_ms=NOW + 45_000, pod="b")


def test_pauses_double_from_15_seconds_to_10_minutes() -> None:
    assert [pause_ms(n) // 1000 for n in range(1, 9)] == [15, 30, 60, 120, 240, 480, 600, 600]
    assert pause_ms(10**6) == LONGEST_PAUSE_MS


@pytest.mark.parametrize(
    ("pods", "generation"),
    [
        pytest.param((READY,), 7, id="a replica became Ready"),
        pytest.param((CRASHED, READY), 7, id="one is Ready, another has a fault"),
        pytest.param((), 8, id="the spec changed"),
        pytest.param(
            (replace(CRASHED, deleted_ms=NOW),), 8, id="the spec changed, the old pod leaves"
        ),
    ],
)
def test_a_failure_is_forgotten_when(pods: tuple[PodSeen, ...], generation: int) -> None:
    assert assess(FIRST, pods, generation, NOW + 1) is None


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((), id="nothing runs"),
        pytest.param((POD,), id="the next try is starting"),
        pytest.param((replace(READY, deleted_ms=NOW),), id="a Ready one is leaving"),
        pytest.param((replace(READY, gone_ms=NOW),), id="a Ready one is gone"),
        pytest.param((replace(CRASHED, uid="b", gone_ms=NOW),), id="another failed pod is gone"),
    ],
)
def test_a_failure_stands_while(pods: tuple[PodSeen, ...]) -> None:
    assert assess(FIRST, pods, 7, NOW + 60_000) == FIRST


def test_a_failure_under_a_changed_spec_begins_to_count_from_one() -> None:
    third = replace(FIRST, count=3, retry_at_ms=NOW + 60_000)
    failed = assess(third, (replace(CRASHED, uid="b"),), 8, NOW + 10)
    assert failed is not None
    assert (failed.count, failed.retry_at_ms, failed.generation) == (1, NOW + 15_010, 8)


@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        pytest.param(replace(CRASHED, deleted_ms=NOW), False, id="a pod that is leaving is over"),
        pytest.param(replace(CRASHED, restarts=0), True, id="a first start that fails"),
        pytest.param(
            replace(CRASHED, first_ready_ms=NOW - 5_000, restarts=2), False,
            id="one that has worked is restarted by the kubelet",
        ),
        pytest.param(
            replace(CRASHED, first_ready_ms=NOW - 5_000, restarts=3), True,
            id="the third crash of one that has worked",
        ),
    ],
)  # fmt: skip
def test_which_pods_are_proof(pod: PodSeen, counts: bool) -> None:
    assert (assess(None, (pod,), 7, NOW) is not None) == counts


def test_a_pod_without_a_node_fails_after_three_minutes_and_says_what_the_scheduler_says() -> None:
    assert assess(None, (HOMELESS,), 7, NOW + CAPACITY_TIMEOUT_MS - 1) is None
    failure = assess(None, (HOMELESS,), 7, NOW + CAPACITY_TIMEOUT_MS)
    assert failure is not None
    assert failure.reason == Reason.UNSCHEDULABLE
    assert failure.message == (
        "no node took it for 180 s (limit 180 s): Insufficient nvidia.com/gpu"
    )


@pytest.mark.parametrize(
    ("pods", "now", "limit"),
    [
        pytest.param((), NOW, None, id="no pods"),
        pytest.param((POD, READY), NOW, None, id="all have a node"),
        pytest.param((HOMELESS,), NOW, NOW + 180_000, id="three minutes after it was made"),
        pytest.param(
            (HOMELESS, replace(HOMELESS, uid="o", created_ms=NOW - 7)), NOW, NOW + 179_993,
            id="the oldest first",
        ),
        pytest.param(
            (HOMELESS, replace(HOMELESS, uid="o", created_ms=NOW - 7)), NOW + 179_993,
            NOW + 180_000, id="one that has been reached is no instant to wait for",
        ),
        pytest.param((HOMELESS,), NOW + 180_000, None, id="never an instant that has passed"),
        pytest.param((replace(HOMELESS, deleted_ms=NOW),), NOW, None, id="leaving"),
        pytest.param((replace(HOMELESS, gone_ms=NOW),), NOW, None, id="gone"),
    ],
)  # fmt: skip
def test_when_the_next_pod_without_a_node_counts_as_failed(
    pods: tuple[PodSeen, ...], now: int, limit: int | None
) -> None:
    assert capacity_limit_ms(pods, now) == limit


def test_another_replica_that_is_ready_outweighs_one_without_a_node() -> None:
    assert assess(None, (HOMELESS, READY), 7, NOW + 10**6) is None


def test_a_failure_is_a_fault_while_its_pause_lasts_and_not_an_instant_longer() -> None:
    assert fault_of(None, NOW) is None
    assert fault_of(FIRST, NOW + 14_999) == CRASH
    assert fault_of(FIRST, NOW + 15_000) is None
