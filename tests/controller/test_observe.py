from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.controller.stage import gpu_class, node
from torpor.api.endpoint import InferenceEndpoint
from torpor.controller import observe
from torpor.domain.observation import Workload
from torpor.domain.placement import GPUClassView
from torpor.domain.remembering import epoch_ms
from torpor.manifests import names

Json = dict[str, Any]


def endpoint(**spec: Any) -> InferenceEndpoint:
    return InferenceEndpoint.model_validate(
        {"metadata": {"name": "tiny"}, "spec": {"model": {"source": "s3://models/tiny/"}} | spec}
    )


def test_what_placement_reads_of_a_spec() -> None:
    assert observe.placement_spec(endpoint()).gpus is None
    placement = {
        "classes": ["l40s"],
        "ordered": True,
        "gpus": 2,
        "residency": {"jurisdictions": ["EU"], "regions": ["eu-central-1"]},
        "capacityTypes": ["spot"],
        "maxPricePerHour": "4.00",
    }
    spec = observe.placement_spec(endpoint(placement=placement))
    assert (spec.classes, spec.ordered, spec.gpus) == (("l40s",), True, 2)
    assert (spec.jurisdictions, spec.regions) == (("EU",), ("eu-central-1",))
    assert (spec.capacity_types, spec.max_price_micro) == (("spot",), 4_000_000)


def test_a_gpu_class_is_read_with_its_price() -> None:
    view = observe.class_view(gpu_class(), 0)
    assert (view.name, view.resource, view.vram) == ("l40s", "nvidia.com/gpu", 48 * 1024**3)
    assert (view.micro_per_hour, view.currency) == (1_800_000, "EUR")
    bare = gpu_class()
    del bare["spec"]["price"]
    assert observe.class_view(bare, 0).micro_per_hour is None


def test_of_a_class_of_parts_the_price_is_that_of_the_whole() -> None:
    obj = gpu_class()
    obj["spec"]["fraction"] = "1/3"
    view = observe.class_view(obj, 0)
    assert (view.micro_per_hour, view.micro_per_unit) == (1_800_000, 600_000)
    assert observe.class_view(gpu_class(), 0).micro_per_unit == 1_800_000


def dated(**price: object) -> GPUClassView:
    obj = gpu_class()
    obj["spec"]["price"] |= price
    return observe.class_view(obj, epoch_ms(datetime(2027, 1, 15, tzinfo=UTC)) or 0)


def test_of_dated_prices_the_one_that_holds_now_counts_and_all_are_known() -> None:
    rows = [
        {"effectiveFrom": "2027-02-01", "perGPUHour": "3", "asOf": "2027-01-10"},
        {"effectiveFrom": "2027-01-01T06:00:00Z", "perGPUHour": "2", "asOf": "2026-12-20"},
    ]
    view = dated(changes=rows, asOf="2026-07-20")
    assert (view.micro_per_hour, view.price_as_of) == (2_000_000, "2026-12-20")
    assert [price for _, price in view.prices] == [1_800_000, 2_000_000, 3_000_000]
    assert view.prices[1][0] == epoch_ms(datetime(2027, 1, 1, 6, tzinfo=UTC))


def test_before_a_price_holds_there_is_none() -> None:
    view = dated(effectiveFrom="2027-02-01", asOf="2026-07-20")
    assert view.micro_per_hour is None


def test_how_a_provider_rounds_is_read() -> None:
    view = dated(granularitySeconds=60, minimumSeconds=300)
    assert (view.granularity_s, view.minimum_s) == (60, 300)


def test_a_day_that_no_calendar_has_makes_the_class_unreadable_and_says_so() -> None:
    obj = gpu_class()
    obj["spec"]["price"]["changes"] = [{"effectiveFrom": "2027-02-30", "perGPUHour": "1"}]
    views, unread = observe.class_views([obj, gpu_class()], 0)
    assert [view.name for view in views] == ["l40s"]
    assert "effectiveFrom" in unread[0].why
    assert "2027-02-30" in unread[0].why


@pytest.mark.parametrize(
    ("change", "schedulable"),
    [
        ({}, True),
        ({"spec": {"unschedulable": True}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
        ({"status": {}}, False),
        ({"status": None}, False),
    ],
    ids=["ready", "cordoned", "silent", "new", "without a status"],
)
def test_a_node_counts_only_while_it_is_ready_and_open(change: Json, schedulable: bool) -> None:
    view = observe.node_view(node() | change, 0)
    assert view.schedulable is schedulable
    assert ("gpu", "l40s") in view.labels


SINCE_MS = round(datetime(2026, 11, 26, 11, 52, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (59, True), (60, False)])
@pytest.mark.parametrize(
    ("status", "cordoned"), [("Unknown", False), ("Unknown", True), ("False", False)]
)
def test_a_node_that_is_not_heard_of_counts_for_a_minute(
    seconds: int, counts: bool, status: str, cordoned: bool
) -> None:
    since = {"type": "Ready", "status": status, "lastTransitionTime": "2026-11-26T11:52:00Z"}
    seen = node() | {"spec": {"unschedulable": cordoned}, "status": {"conditions": [since]}}
    view = observe.node_view(seen, SINCE_MS + seconds * 1000)
    assert view.schedulable is (counts and status == "Unknown" and not cordoned)


def test_of_a_nodes_quantities_whole_numbers_are_kept() -> None:
    assert observe.node_view(node(), 0).allocatable == (("nvidia.com/gpu", 8),)
    sliced = {"status": {"allocatable": {"nvidia.com/gpu": "1k", "cpu": "100m", "memory": "64Gi"}}}
    assert observe.node_view(node() | sliced, 0).allocatable == (("nvidia.com/gpu", 1000),)


def test_a_deployment_is_read_with_the_version_it_was_seen_at() -> None:
    labels = {names.TEMPLATE_HASH: "abc"}
    deployment = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": labels}}},
    }
    assert observe.workload_of(deployment) == Workload(True, 2, "7", "abc")
    deployment["spec"] = {"template": {"metadata": {}}}
    assert observe.workload_of(deployment) == Workload(True, 0, "7", "")
    assert observe.workload_of(None) == Workload()


def test_a_deployment_says_which_names_its_engine_answers_to() -> None:
    notes = {names.SERVED_NAMES: "llama big"}
    deployment = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"template": {"metadata": {"annotations": notes}}},
    }
    assert observe.workload_of(deployment).served_names == "llama big"


@pytest.mark.parametrize(
    ("condition", "refused"),
    [
        ({"status": "True", "message": "exceeded quota: gpus"}, "exceeded quota: gpus"),
        ({"status": "True", "reason": "FailedCreate"}, "FailedCreate"),
        ({"status": "False", "message": "over"}, ""),
        ({"type": "Progressing", "status": "True", "message": "new"}, ""),
    ],
    ids=["message", "reason alone", "over", "another"],
)
def test_a_deployment_says_why_no_pod_of_it_may_be_made(condition: Json, refused: str) -> None:
    conditions = [{"type": "ReplicaFailure"} | condition]
    deployment = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"template": {}},
        "status": {"conditions": conditions},
    }
    assert observe.workload_of(deployment).pods_refused == refused
