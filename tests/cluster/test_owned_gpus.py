"""Owned GPUs: nobody sleeps on them for nothing, and whoever needs one gets that of the endpoint missed least."""

import pytest

from tests.cluster.apiserver import until
from tests.cluster.gpuclasses import L40S_NODES, having_classes
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

OWNED = "t-owned"
PRICE = {"perGPUHour": "0"}
ALL = 8
"""GPUs of the node."""


def _start(space: Space, name: str, gpus: int) -> None:
    """Apply an endpoint that takes so many of the owned GPUs and keeps them as it sees fit."""
    endpoint = space.compose(name, spec={"placement": {"classes": [OWNED], "gpus": gpus}})
    endpoint["spec"]["scaling"] = {"keepAlive": {"policy": "adaptive", "min": "3s"}}
    space.apply(endpoint)
    space.wait_weights(name)
    space.wait_condition(name, "Ready")


def _gpus_held(space: Space) -> int:
    """Return how many of the node's GPUs any pod of the cluster still holds."""
    asked = 0
    for pod in space.api.items("/api/v1/pods"):
        if pod["spec"].get("nodeName") and pod["status"].get("phase") not in (
            "Succeeded",
            "Failed",
        ):
            limits = [c.get("resources", {}).get("limits", {}) for c in pod["spec"]["containers"]]
            asked += sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)
    return asked


def test_idle_gpus_stay_until_somebody_needs_them(space: Space) -> None:
    until("a node without anybody's engines", lambda: _gpus_held(space) == 0, 120)
    with having_classes(space.api, L40S_NODES, {OWNED: PRICE}, capacity="owned"):
        for name, gpus in (("small", 3), ("large", 5), ("third", 4)):
            _start(space, name, gpus)
        assert space.chat("small").status == 200
        assert space.chat("large").status == 200

        kept = space.wait_condition("large", "Awake", reason="KeepingWarm").status.keep_alive
        assert (kept.seconds, kept.deadline) == (None, None)
        assert (
            kept.why
            == f"{OWNED} costs nothing more while it idles: kept until another endpoint needs it"
        )
        assert _gpus_held(space) == ALL

        answer = space.chat(
            "third"
        )  # four GPUs: only `large` has so many, and its wake is for five
        assert answer.status == 200
        assert (space.replicas("small"), space.replicas("large"), space.replicas("third")) == (
            1,
            0,
            1,
        )
        messages = [c.message for c in space.read("large").status.conditions if c.type == "Awake"]
        print(f"third answered after {answer.ended_at - answer.sent_at:.1f} s; large: {messages}")
