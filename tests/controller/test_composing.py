from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import EndpointStatus
from torpor.controller.composing import invalid_status
from torpor.domain.bookkeeping import meter_of

NOW = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
COST = {
    "rows": [{"priceId": "l40s@1", "gpuClass": "l40s", "gpuMs": {"idle": 5, "busy": 7}}],
    "live": [{"uid": "a", "prices": [{"priceId": "l40s@1", "fromMs": 9}], "gpus": 2, "startMs": 9}],
    "spent": "1.5",
}


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
