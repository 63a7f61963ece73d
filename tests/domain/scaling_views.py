"""Endpoints as scaling sees them, for the tests of its rules and of the idle clock."""

from __future__ import annotations

from dataclasses import replace

from torpor.api.conditions import Reason
from torpor.domain.observation import Demand, Fault, GatewayReport, PodSeen, Workload
from torpor.domain.scalingview import ScalingSpec, ScalingView

NOW = 1_800_000_000_000
AFTER = 120_000
SPEC = ScalingSpec(max_replicas=3, in_flight_per_replica=32, keep_alive_ms=AFTER)
WRONG_KEY = Fault(Reason.WEIGHTS_ACCESS_DENIED, "the key is wrong")
READY = PodSeen(
    "a", "a", 1, "l40s", scheduled_ms=NOW - 900_000, first_ready_ms=NOW - 800_000, ready=True
)
STARTING = PodSeen("b", "b", 1, "l40s", scheduled_ms=NOW - 5_000)
PENDING = PodSeen("c", "c", 1, "l40s", unschedulable="0/3 nodes: Insufficient nvidia.com/gpu")
LEAVING = replace(READY, uid="d", ready=False, deleted_ms=NOW - 1_000)


def gateways(
    *, waiting: int = 0, in_flight: int = 0, last: int | None = None, silent: tuple[str, ...] = ()
) -> Demand:
    one = GatewayReport("gw-1", NOW, NOW - 10**6, waiting, in_flight, last)
    other = GatewayReport("gw-2", NOW, NOW - 10**6)
    return Demand((one, other), silent)


def view(
    replicas: int,
    *pods: PodSeen,
    demand: Demand | None = None,
    fault: Fault | None = None,
    remembered: int | None = None,
    over_budget: str = "",
) -> ScalingView:
    workload = Workload(exists=True, replicas=replicas)
    return ScalingView(
        workload, pods, demand or gateways(), fault, remembered, over_budget=over_budget
    )


LONG_AGO = gateways(last=NOW - AFTER)
JUST_BEFORE = gateways(last=NOW - AFTER + 1)
