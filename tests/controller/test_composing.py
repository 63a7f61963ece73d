from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from torpor.api.conditions import Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import EndpointStatus
from torpor.controller.composing import compose_status, invalid_status
from torpor.controller.picture import Picture
from torpor.domain.bookkeeping import meter_of
from torpor.domain.observation import Demand, GatewayReport, PodSeen, Workload
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.prewarmjobs import Weights, WeightsPlan
from torpor.domain.remembering import moment
from torpor.domain.scalingview import Decision
from torpor.manifests.setting import Installation

NOW = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
COST = {
    "rows": [{"priceId": "l40s@1", "gpuClass": "l40s", "gpuMs": {"idle": 5, "busy": 7}}],
    "live": [{"uid": "a", "prices": [{"priceId": "l40s@1", "fromMs": 9}], "gpus": 2, "startMs": 9}],
    "spent": "1.5",
}


L40S = GPUClassView(
    "l40s", "nvidia.com/gpu", 2**35, 8, (), None, None, "on-demand", 1_861_000, "USD"
)


def composed(
    before: EndpointStatus, pods: tuple[PodSeen, ...], now_ms: int, **spec: Any
) -> EndpointStatus:
    """The status after one pass over these pods."""
    endpoint = InferenceEndpoint.model_validate(
        {
            "metadata": {
                "name": "tiny",
                "namespace": "ml",
                "creationTimestamp": "2026-11-20T00:00:00Z",
            },
            "spec": {"model": {"source": "s3://models/tiny/"}} | spec,
            "status": before.to_dict(),
        }
    )
    picture = Picture(
        placement=Placement(L40S, 1),
        plan=WeightsPlan(Weights()),
        pods=pods,
        failure=None,
        engine_fault=None,
        demand=Demand((GatewayReport("gateway-0", now_ms, 0),)),
        workload=Workload(exists=True),
        classes=(L40S,),
        nodes=(),
        now_ms=now_ms,
        last_activity_ms=None,
    )
    decision = Decision(Reason.IDLE, "idle", replicas=0)
    return compose_status(endpoint, picture, decision, Installation("i", "e"), moment(now_ms))


def test_the_last_day_has_a_wake_that_was_booked_before_its_hour_was_over() -> None:
    nine = round(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp()) * 1000
    minute = 60_000
    ended = PodSeen(
        "p", "tiny-0", 1, "l40s", scheduled_ms=nine, first_ready_ms=nine + 9_000,
        deleted_ms=nine + 4 * minute, finished_ms=nine + 5 * minute, gone_ms=nine + 5 * minute,
    )  # fmt: skip
    status = EndpointStatus()
    for minutes in (-4_000, -60, 6, 20, 50, 70, 600):
        pods = (ended,) if minutes > 0 else ()
        status = composed(status, pods, nine + minutes * minute)
    assert status.cost.live == ()
    assert status.cost.last_day is not None
    assert status.cost.last_day.spent == status.cost.spent == "0.155083"


def unreadable(spec: dict[str, Any]) -> EndpointStatus:
    obj = {
        "metadata": {"name": "tiny", "namespace": "ml", "generation": 4},
        "spec": spec,
        "status": {"cost": COST, "tokens": {"prompt": 3}, "observedGeneration": 3},
    }
    with pytest.raises(ValidationError) as caught:
        InferenceEndpoint.model_validate(obj)
    return invalid_status(obj, caught.value, NOW)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({}, "spec.model"),
        ({"model": {}}, "spec.model.source"),
        (
            {"model": {"source": "s3://models/tiny/"}, "scaling": {"maxReplicas": "x"}},
            "spec.scaling.maxRep",
        ),
    ],
    ids=["no model", "no source", "no number"],
)
def test_a_spec_that_cannot_be_read_names_the_field(spec: dict[str, Any], where: str) -> None:
    status = unreadable(spec)
    ready, stalled = status.condition("Ready"), status.condition("Stalled")
    assert ready is not None
    assert stalled is not None
    assert (ready.status, stalled.status) == ("False", "True")
    assert ready.reason == stalled.reason == "InvalidSpec"
    assert ready.message.startswith(where)
    assert (ready.observed_generation, status.observed_generation) == (4, 4)
    assert ready.last_transition_time == NOW


def test_the_meter_of_a_spec_that_cannot_be_read_is_kept() -> None:
    status = unreadable({})
    kept = EndpointStatus.model_validate({"cost": COST})
    assert meter_of(status.cost) == meter_of(kept.cost)
    assert (status.cost.spent, status.tokens.prompt) == ("1.5", 3)


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (
            {},
            "no keys: whoever reaches the gateway may ask, so lead there from inside the cluster only",
        ),
        ({"direct": True}, "no keys: whoever reaches its own Service may ask"),
        ({"keys": ["shop"]}, "1 key: shop"),
        ({"keys": ["shop", "lab"]}, "2 keys: shop, lab"),
    ],
)
def test_the_status_says_who_may_ask(access: dict[str, Any], words: str) -> None:
    keys = [{"name": name, "sha256": "0" * 64} for name in access.get("keys", ())]
    status = composed(EndpointStatus(), (), 1_000_000, access=access | {"keys": keys})
    assert str(status.access).startswith(words)
