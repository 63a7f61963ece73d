"""A node that is paid for as a whole: all of it shows in the endpoint that it stands for, also while that sleeps."""

from decimal import Decimal

import pytest

from tests.cluster.apiserver import until
from tests.cluster.gpuclasses import L40S_NODES, having_classes
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

WHOLE = "t-whole"
PRICE = {"perGPUHour": "2.50", "scope": "node"}
GPUS = 8


def _nobody_else(space: Space) -> bool:
    pods = space.api.items("/api/v1/pods", "torpor.dev/component=engine")
    return not [pod for pod in pods if pod["metadata"]["namespace"] != space.name]


def test_a_node_that_stands_empty_costs_whoever_was_last_on_it(space: Space) -> None:
    until("a node without other endpoints' engines", lambda: _nobody_else(space), 120)
    with having_classes(space.api, L40S_NODES, {WHOLE: PRICE}):
        space.start("whole", spec={"placement": {"classes": [WHOLE]}})
        assert space.chat("whole").status == 200
        slept = space.wait_asleep("whole")
        cost = slept.status.cost
        assert Decimal(cost.per_hour or 0) == GPUS * Decimal(PRICE["perGPUHour"])
        (node,) = cost.nodes
        assert (node.gpus, node.removed_ms) == (GPUS, None)
        assert [bool(one.mine) for one in node.tenants if one.end_ms and one.mine] == [True]
        assert cost.by_phase is not None
        first = Decimal(cost.by_phase.node or 0)

        def later() -> Decimal | None:
            found = space.read("whole").status.cost.by_phase
            now = Decimal((found.node if found else None) or 0)
            return now if now > first else None

        until("the figure moves while it sleeps", later, 90)
        print(space.torpor.table(space.name))
