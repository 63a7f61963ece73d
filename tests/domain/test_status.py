from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from torpor.api.conditions import Condition, Reason
from torpor.domain.failing import Failure
from torpor.domain.observation import Fault, PodSeen
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.prewarmjobs import Weights, WeightsPlan
from torpor.domain.scalingview import Decision
from torpor.domain.status import Outcome, conditions

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
L40S = GPUClassView("l40s", "nvidia.com/gpu", 1, 8, (), "r", "DE", "on-demand", 1_861_000, "USD")
PLACED = Placement(L40S, gpus=2, nodes=("n1", "n2"))
LISTED = Weights("spec", "a" * 32, bytes=16_060_000_000, files=9, verified="crc64nvme")
KEPT = WeightsPlan(LISTED, nodes_ready=("n1", "n2"), nodes_wanted=("n1", "n2"))
POD = PodSeen("a", "engine-a", 2, "l40s", scheduled_ms=1)
READY = replace(POD, ready=True, first_ready_ms=2)
LEAVING = replace(POD, deleted_ms=3)
ASLEEP = Decision(Reason.IDLE, "asleep: costs nothing, the next request wakes it")
WARMING = Decision(Reason.WARMING_UP, "0 of 1 replicas are ready")
SERVING = Decision(Reason.SERVING, "answers requests")
CRASH = Fault(Reason.ENGINE_CRASHED, "the engine ended with code 1")
FAILURE = Failure(CRASH.reason, CRASH.message, 2, at_ms=0, retry_at_ms=30_000, generation=1)
NO_FIT = Fault(Reason.DOES_NOT_FIT, "needs 500.0 GiB, 8 GPUs of it give 172.8 GiB", retryable=False)
SLEEPS = Outcome(ASLEEP, PLACED, KEPT, (), deployed=True)


def said(outcome: Outcome) -> dict[str, tuple[str, str, str]]:
    return {c.type: (c.status, c.reason, c.message) for c in conditions(outcome, (), 4, NOW)}


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "says"),
    [
        pytest.param(SLEEPS, "True", "CanAnswer", "asleep", id="asleep is ready"),
        pytest.param(
            replace(SLEEPS, decision=SERVING, pods=(READY,)), "True", "CanAnswer",
            "1 replicas answer; answers requests", id="awake",
        ),
        pytest.param(
            replace(SLEEPS, pods=(READY,), fault=CRASH), "True", "CanAnswer", "1 replicas answer",
            id="a replica that answers outweighs a fault",
        ),
        pytest.param(
            replace(SLEEPS, pods=(READY,), suspended=True), "False", "Suspended",
            "suspended by spec.scaling.suspend", id="suspended outweighs a replica that still runs",
        ),
        pytest.param(
            replace(SLEEPS, suspended=True, fault=CRASH), "False", "Suspended", "suspended",
            id="suspended before a fault",
        ),
        pytest.param(
            replace(SLEEPS, fault=NO_FIT), "False", "DoesNotFit", NO_FIT.message, id="a fault"
        ),
        pytest.param(
            replace(SLEEPS, fault=CRASH, failure=FAILURE), "False", "EngineCrashed",
            "the engine ended with code 1 (failure 2 in a row; the next wake may be tried 30 s after it)",
            id="a failed wake says when it may be tried again",
        ),
        pytest.param(
            replace(SLEEPS, failure=FAILURE), "True", "CanAnswer",
            f"{ASLEEP.message}; the last wake failed (EngineCrashed): the engine ended with code 1",
            id="after the pause the last failure is still told",
        ),
        pytest.param(
            replace(SLEEPS, plan=WeightsPlan(Weights("spec"))), "Unknown", "CheckingWeights",
            "credentials and listing", id="weights being checked",
        ),
        pytest.param(
            replace(SLEEPS, deployed=False), "Unknown", "CheckingWeights", "credentials and listing",
            id="nothing to wake yet",
        ),
        pytest.param(
            replace(SLEEPS, pods=(replace(READY, gone_ms=9),), fault=CRASH), "False",
            "EngineCrashed", CRASH.message, id="a pod that is gone does not answer",
        ),
    ],
)  # fmt: skip
def test_ready_says_whether_a_request_will_be_answered(
    outcome: Outcome, status: str, reason: str, says: str
) -> None:
    found = said(outcome)["Ready"]
    assert found[:2] == (status, reason)
    assert found[2].startswith(says)


@pytest.mark.parametrize(
    ("decision", "pods", "status", "reason"),
    [
        pytest.param(ASLEEP, (), "False", "Idle", id="asleep"),
        pytest.param(WARMING, (), "Unknown", "WarmingUp", id="asked for, no pod yet"),
        pytest.param(WARMING, (POD,), "Unknown", "WarmingUp", id="a pod starts"),
        pytest.param(
            Decision(Reason.PENDING, "waits for a GPU"), (POD,), "Unknown", "Pending", id="pending"
        ),
        pytest.param(SERVING, (READY,), "True", "Serving", id="serving"),
        pytest.param(SERVING, (READY, POD), "True", "Serving", id="one of two"),
        pytest.param(ASLEEP, (LEAVING,), "False", "Draining", id="the last one leaves"),
        pytest.param(ASLEEP, (replace(LEAVING, gone_ms=9),), "False", "Idle", id="it is gone"),
        pytest.param(
            Decision(Reason.FAILED, "the key is wrong"), (), "False", "Failed", id="failed"
        ),
    ],
)
def test_awake_says_what_runs_and_its_reason_is_the_state(
    decision: Decision, pods: tuple[PodSeen, ...], status: str, reason: str
) -> None:
    assert said(replace(SLEEPS, decision=decision, pods=pods))["Awake"][:2] == (status, reason)


def test_a_pod_without_a_price_is_said_although_its_class_has_one() -> None:
    placed = said(replace(SLEEPS, unpriced=("l40s/spot@unknown",)))["Placed"]
    assert placed[:2] == ("True", "PriceUnknown")
    assert "l40s/spot@unknown" in placed[2]


def test_a_drained_pod_is_named() -> None:
    assert said(replace(SLEEPS, pods=(LEAVING,)))["Awake"][2].startswith("engine-a ends; the GPU")


@pytest.mark.parametrize(
    ("placement", "found"),
    [
        pytest.param(PLACED, ("True", "PlacedOnClass", "2 × l40s, 2 nodes match"), id="placed"),
        pytest.param(
            Placement(replace(L40S, price_as_of="2026-05-03"), 1),
            ("True", "PlacedOnClass", "1 × l40s, 0 nodes match"),
            id="at a price that was read 90 days ago",
        ),
        pytest.param(
            Placement(replace(L40S, price_as_of="2026-05-02"), 1),
            (
                "True",
                "PlacedOnClass",
                "1 × l40s, 0 nodes match; its price was read on 2026-05-02, 91 days ago: is it still true?",
            ),
            id="at a price that was read 91 days ago",
        ),
        pytest.param(
            Placement(None, fault=NO_FIT), ("False", "DoesNotFit", NO_FIT.message), id="no place"
        ),
        pytest.param(
            Placement(replace(L40S, micro_per_hour=None), 1),
            ("True", "PriceUnknown", "GPUClass l40s has no price: cost figures stay empty"),
            id="placed without a price",
        ),
        pytest.param(
            Placement(None),
            ("Unknown", "CheckingWeights", "the size of the weights is not known yet"),
            id="size unknown",
        ),
    ],
)
def test_placed_says_where(placement: Placement, found: tuple[str, str, str]) -> None:
    assert said(replace(SLEEPS, placement=placement))["Placed"] == found


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        pytest.param(
            KEPT,
            (
                "True",
                "WeightsOnNodes",
                "16.06 GB in 9 files, on 2 of 2 nodes, verified by crc64nvme",
            ),
            id="on all nodes",
        ),
        pytest.param(
            WeightsPlan(LISTED),
            ("True", "WeightsListed", "16.06 GB in 9 files; fetched when the endpoint wakes"),
            id="no node asked to keep them",
        ),
        pytest.param(
            replace(KEPT, nodes_ready=("n1",)),
            (
                "False",
                "WeightsFetching",
                "16.06 GB in 9 files, on 1 of 2 nodes; the others are downloading",
            ),
            id="downloading",
        ),
        pytest.param(
            WeightsPlan(LISTED, fault=Fault("WeightsCorrupt", "model.safetensors is cut off")),
            ("False", "WeightsCorrupt", "model.safetensors is cut off"),
            id="a fault",
        ),
    ],
)
def test_weights_ready_says_where_they_are(plan: WeightsPlan, found: tuple[str, str, str]) -> None:
    assert said(replace(SLEEPS, plan=plan))["WeightsReady"] == found


@pytest.mark.parametrize(
    ("outcome", "abnormal"),
    [
        pytest.param(SLEEPS, None, id="at rest there is neither"),
        pytest.param(replace(SLEEPS, fault=NO_FIT), "Stalled", id="only a change helps"),
        pytest.param(replace(SLEEPS, fault=CRASH), None, id="a fault that time may heal"),
        pytest.param(replace(SLEEPS, held_back=True), "Reconciling", id="a change waits"),
        pytest.param(replace(SLEEPS, deployed=False), "Reconciling", id="not deployed yet"),
        pytest.param(
            replace(SLEEPS, plan=WeightsPlan(Weights("spec"))), "Reconciling", id="being checked"
        ),
    ],
)
def test_reconciling_and_stalled_are_there_only_while_true(
    outcome: Outcome, abnormal: str | None
) -> None:
    found = said(outcome)
    present = [kind for kind in ("Reconciling", "Stalled") if kind in found]
    assert present == ([abnormal] if abnormal else [])
    assert all(found[kind][0] == "True" for kind in present)


def test_a_transition_time_moves_only_when_the_status_changes() -> None:
    before = conditions(SLEEPS, (), 1, NOW)
    busy = replace(SLEEPS, decision=SERVING, pods=(READY,))
    times = {c.type: c.last_transition_time for c in conditions(busy, before, 2, LATER)}
    assert times["Awake"] == LATER
    assert times["Ready"] == times["Placed"] == NOW


def test_every_condition_carries_the_generation_it_was_decided_on() -> None:
    assert {c.observed_generation for c in conditions(SLEEPS, (), 4, NOW)} == {4}


def test_a_message_too_long_for_the_api_is_cut() -> None:
    found: tuple[Condition, ...] = conditions(
        replace(SLEEPS, fault=Fault(Reason.ENGINE_CRASHED, "x" * 5000)), (), 1, NOW
    )
    assert max(len(c.message) for c in found) == 1024
