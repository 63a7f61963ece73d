from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.scaling_views import (
    JUST_BEFORE,
    LEAVING,
    LONG_AGO,
    NOW,
    PENDING,
    READY,
    SPEC,
    STARTING,
    WRONG_KEY,
    gateways,
    view,
)
from torpor.api.conditions import Reason
from torpor.domain.observation import Demand, Fault, GatewayReport, Workload
from torpor.domain.scaling import decide
from torpor.domain.scalingview import ScalingSpec, ScalingView

CRASHING = replace(STARTING, uid="f", restarts=7, fault=Fault(Reason.ENGINE_CRASHED, "code 1"))
CHAIN = [
    # what speaks, spec, view, reason, replicas, the message's beginning
    pytest.param(
        SPEC, replace(view(0), workload=Workload()), Reason.CHECKING_WEIGHTS, None,
        "its weights are being checked", id="no workload yet",
    ),
    pytest.param(
        SPEC, replace(view(0, fault=WRONG_KEY), workload=Workload()), Reason.FAILED, None,
        "the key is wrong", id="no workload, and why there will be none",
    ),
    pytest.param(
        replace(SPEC, suspend=True), replace(view(0), workload=Workload()),
        Reason.CHECKING_WEIGHTS, None, "its weights", id="no workload before suspended",
    ),
    pytest.param(
        replace(SPEC, suspend=True, min_replicas=2), view(2, READY, READY), Reason.SUSPENDED, 0,
        "suspended by spec.scaling.suspend", id="suspended wins over minReplicas",
    ),
    pytest.param(
        replace(SPEC, suspend=True), view(1, READY, demand=gateways(waiting=9, in_flight=9)),
        Reason.SUSPENDED, 0, "suspended", id="suspended wins over requests",
    ),
    pytest.param(
        replace(SPEC, suspend=True), view(1, STARTING, fault=WRONG_KEY), Reason.SUSPENDED, 0,
        "suspended", id="suspended before a fault",
    ),
    pytest.param(
        replace(SPEC, suspend=True), view(0), Reason.SUSPENDED, None, "suspended",
        id="suspended and at zero already",
    ),
    pytest.param(
        SPEC, view(2, STARTING, PENDING, fault=WRONG_KEY), Reason.FAILED, 0, "the key is wrong",
        id="a fault gives the GPUs back",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(1, STARTING, fault=WRONG_KEY), Reason.FAILED, 0,
        "the key is wrong", id="a fault wins over minReplicas",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(0, fault=WRONG_KEY), Reason.FAILED, None,
        "the key is wrong", id="a fault at zero stays at zero, whatever minReplicas",
    ),
    pytest.param(
        SPEC, view(1, fault=WRONG_KEY), Reason.FAILED, None, "the key is wrong",
        id="a fault takes down only pods that are seen",
    ),
    pytest.param(
        SPEC, view(1, READY, fault=WRONG_KEY, demand=gateways(in_flight=1)), Reason.SERVING, None,
        "answers requests", id="a fault does not stop a replica that is ready",
    ),
    pytest.param(
        SPEC, view(1, LEAVING, STARTING, fault=WRONG_KEY), Reason.FAILED, 0, "the key is wrong",
        id="a fault is not outweighed by a replica that is leaving",
    ),
    pytest.param(
        SPEC, view(0, over_budget="500 of 500 USD spent"), Reason.OVER_BUDGET, None,
        "500 of 500 USD spent", id="a budget that is spent keeps zero at zero",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(0, over_budget="spent"), Reason.OVER_BUDGET, None,
        "spent", id="a budget that is spent wins over minReplicas",
    ),
    pytest.param(
        SPEC, view(0, over_budget="spent", fault=WRONG_KEY), Reason.FAILED, None, "the key is wrong",
        id="what would fail anyway is told before the budget",
    ),
    pytest.param(
        replace(SPEC, suspend=True), view(0, over_budget="spent"), Reason.SUSPENDED, None,
        "suspended", id="suspended before the budget",
    ),
    pytest.param(
        SPEC, view(1, READY, over_budget="spent", demand=gateways(in_flight=500)), Reason.SERVING,
        None, "answers requests", id="what runs answers to its end, and gets no help",
    ),
    pytest.param(
        SPEC, view(1, STARTING, over_budget="spent", demand=gateways(waiting=1)),
        Reason.WARMING_UP, None, "0 of 1", id="what was woken in time starts",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1),
        view(1, READY, over_budget="spent", demand=gateways(last=NOW - 5_000)), Reason.IDLE, 0,
        "no request for 5 s", id="nothing is kept warm of a budget that is spent",
    ),
    pytest.param(
        SPEC, view(1, READY, over_budget="spent", demand=gateways(last=NOW - 4_000)),
        Reason.SERVING, None, "answers requests", id="but a lull is no idleness",
    ),
    pytest.param(
        SPEC, view(5, READY, demand=gateways(in_flight=500)), Reason.SERVING, 3,
        "5 replicas are more than maxReplicas 3", id="above maxReplicas, whatever is asked",
    ),
    pytest.param(
        SPEC, view(4, STARTING), Reason.WARMING_UP, 3, "4 replicas are more", id="too many starting",
    ),
    pytest.param(
        replace(SPEC, min_replicas=2), view(0), Reason.WARMING_UP, 2, "minReplicas keeps 2 warm",
        id="zero is below the floor: minReplicas before asleep",
    ),
    pytest.param(
        replace(SPEC, min_replicas=2), view(1, READY), Reason.SERVING, 2,
        "minReplicas keeps 2 warm", id="below the floor with one that answers is still Serving",
    ),
    pytest.param(
        SPEC, view(0), Reason.IDLE, None, "asleep", id="asleep",
    ),
    pytest.param(
        SPEC, view(0, demand=gateways(waiting=70)), Reason.IDLE, None, "asleep",
        id="waking from zero is the gateway's",
    ),
    pytest.param(
        SPEC, view(0, demand=gateways(silent=("gw-3",))), Reason.IDLE, None, "asleep",
        id="asleep before unknown demand",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=gateways(waiting=33)), Reason.SERVING, 2,
        "33 requests at 32 per replica need 2 replicas", id="more needed",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=gateways(waiting=33, silent=("gw-3",))), Reason.SERVING, 2,
        "33 requests", id="a gateway that is silent does not stop the others from getting more",
    ),
    pytest.param(
        SPEC, view(1, STARTING, demand=gateways(waiting=65)), Reason.WARMING_UP, 3,
        "65 requests at 32 per replica need 3 replicas", id="more needed while the first starts",
    ),
    pytest.param(
        SPEC, view(2, READY, STARTING, demand=gateways(waiting=65)), Reason.SERVING, 3,
        "65 requests", id="more needed with one ready is Serving, as it is in the pass after",
    ),
    pytest.param(
        SPEC, view(1, STARTING, demand=gateways(waiting=1)), Reason.WARMING_UP, None,
        "0 of 1 replicas are ready", id="starting",
    ),
    pytest.param(
        SPEC, view(1, STARTING, demand=gateways(silent=("gw-3",))), Reason.WARMING_UP, None,
        "0 of 1", id="starting shows, silent gateway or not",
    ),
    pytest.param(
        SPEC, view(1), Reason.WARMING_UP, None, "0 of 1 replicas are ready", id="no pod made yet",
    ),
    pytest.param(
        SPEC, view(1, PENDING), Reason.PENDING, None,
        "waits for a GPU: 0/3 nodes: Insufficient nvidia.com/gpu", id="pending",
    ),
    pytest.param(
        SPEC, view(3, READY, replace(READY, uid="e"), PENDING, demand=LONG_AGO), Reason.IDLE, 0,
        "no request for 120 s", id="one that finds no GPU does not keep two idle ones awake",
    ),
    pytest.param(
        SPEC, view(3, READY, replace(READY, uid="e"), CRASHING, demand=JUST_BEFORE),
        Reason.KEEPING_WARM, None, "idle, kept warm for 120 s",
        id="one that crashes again and again does not stop the idle clock of the others",
    ),
    pytest.param(
        SPEC, view(1, READY, replace(STARTING, uid="new"), demand=LONG_AGO), Reason.IDLE, 0,
        "no request for 120 s", id="a rollout that nobody asks of goes to sleep as well",
    ),
    pytest.param(
        SPEC, view(2, READY, PENDING, demand=gateways(waiting=1, last=NOW - 10**6)), Reason.SERVING,
        None, "1 of 2 replicas are ready", id="one of two is pending, and somebody waits",
    ),
    pytest.param(
        SPEC, view(2, READY, STARTING, demand=gateways(in_flight=1, last=NOW - 10**6)),
        Reason.SERVING, None, "1 of 2", id="one of two is starting, and somebody is answered",
    ),
    pytest.param(
        SPEC, view(2, READY, demand=gateways(waiting=1, last=NOW - 10**6)), Reason.SERVING, None,
        "1 of 2", id="the second is on its way for one who waits, and has no pod yet",
    ),
    pytest.param(
        SPEC, view(2, READY, PENDING, demand=replace(LONG_AGO, unreachable=("gw-3",))),
        Reason.SERVING, None, "gateway gw-3 does not answer",
        id="one of two is pending, and nobody knows whether the other is idle",
    ),
    pytest.param(
        SPEC, view(2, STARTING, PENDING, demand=LONG_AGO), Reason.PENDING, None, "waits for a GPU",
        id="while none is ready, one that starts holds, whoever asks",
    ),
    pytest.param(
        replace(SPEC, min_replicas=2), view(2, READY, PENDING, demand=LONG_AGO),
        Reason.KEEPING_WARM, None, "minReplicas keeps 2 warm; 1 of 2 replicas are ready",
        id="the floor is kept, and says what is missing",
    ),
    pytest.param(
        SPEC, view(1, replace(READY, ready=False), demand=LONG_AGO), Reason.WARMING_UP, None,
        "0 of 1", id="a replica that is not ready any more is not idle",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=gateways(in_flight=1, last=NOW - 10**6)), Reason.SERVING, None,
        "answers requests", id="in flight for longer than the keep-alive",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=gateways(waiting=1, last=NOW - 10**6)), Reason.SERVING, None,
        "answers requests", id="somebody waits",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=gateways(in_flight=1, silent=("gw-3",))), Reason.SERVING, None,
        "answers requests", id="busy shows, silent gateway or not",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=replace(LONG_AGO, unreachable=("gw-3", "gw-4"))),
        Reason.SERVING, None, "gateway gw-3, gw-4 does not answer, so nobody knows that it is idle",
        id="unknown never sleeps",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=Demand(), remembered=NOW - 10**6), Reason.SERVING, None,
        "no gateway has answered yet, so nobody knows", id="before any gateway has answered",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(1, READY, demand=LONG_AGO), Reason.KEEPING_WARM, None,
        "minReplicas keeps 1 warm", id="the floor is kept for ever",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(1, READY, demand=gateways(last=NOW - 1)),
        Reason.SERVING, None, "answers requests", id="at the floor a lull does not flicker either",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=JUST_BEFORE), Reason.KEEPING_WARM, None,
        "idle, kept warm for 120 s after the last response", id="a millisecond before the deadline",
    ),
    pytest.param(
        SPEC, view(1, READY, demand=LONG_AGO), Reason.IDLE, 0, "no request for 120 s",
        id="at the deadline exactly",
    ),
    pytest.param(
        SPEC, view(3, READY, READY, READY, demand=LONG_AGO), Reason.IDLE, 0, "no request for 120 s",
        id="all of them at once",
    ),
    pytest.param(
        replace(SPEC, min_replicas=1), view(3, READY, READY, READY, demand=LONG_AGO), Reason.IDLE,
        1, "no request for 120 s", id="down to minReplicas",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "seen", "reason", "replicas", "says"), CHAIN)
def test_the_first_rule_that_applies_decides(
    spec: ScalingSpec, seen: ScalingView, reason: Reason, replicas: int | None, says: str
) -> None:
    decision = decide(spec, seen, NOW)
    assert (decision.reason, decision.replicas) == (reason, replicas)
    assert decision.message.startswith(says)


@pytest.mark.parametrize(
    ("asked", "per_replica", "most", "running", "to"),
    [
        pytest.param(32, 32, 10, 1, None, id="exactly full"),
        pytest.param(33, 32, 10, 1, 2, id="one too many"),
        pytest.param(64, 32, 10, 1, 2, id="exactly two"),
        pytest.param(1000, 32, 10, 1, 10, id="a herd goes to maxReplicas at once"),
        pytest.param(1000, 32, 10, 10, None, id="no more than maxReplicas"),
        pytest.param(3, 1, 10, 2, 3, id="one at a time"),
        pytest.param(40, 32, 10, 5, None, id="never down while busy"),
    ],
)
def test_the_need_is_what_is_asked_over_what_one_replica_takes(
    asked: int, per_replica: int, most: int, running: int, to: int | None
) -> None:
    spec = ScalingSpec(max_replicas=most, in_flight_per_replica=per_replica)
    pods = tuple(replace(READY, uid=str(n)) for n in range(running))
    for split in (0, asked // 3, asked):
        seen = view(running, *pods, demand=gateways(waiting=split, in_flight=asked - split))
        assert decide(spec, seen, NOW).replicas == to


def test_all_gateways_count_together() -> None:
    reports = tuple(GatewayReport(f"gw-{n}", NOW, 0, waiting=20) for n in range(4))
    assert decide(SPEC, view(1, READY, demand=Demand(reports)), NOW).replicas == 3
