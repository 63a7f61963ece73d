from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from torpor.controller.measures import ControllerMetrics
from torpor.controller.seen import Seen

Json = dict[str, Any]
STATUS: Json = {
    "readyReplicas": 2,
    "display": {"model": "llama"},
    "cost": {
        "gpuMs": {"starting": 1_500, "busy": 60_000, "idle": 2_000, "terminating": 250},
        "perHour": "3.60",
        "spent": "12.5",
        "currency": "EUR",
    },
}
TINY = {"namespace": "ml", "model_name": "llama", "endpoint": "tiny"}


@pytest.fixture
def metrics() -> tuple[ControllerMetrics, Seen]:
    made, seen = ControllerMetrics(CollectorRegistry()), Seen("torpor-system")
    made.watch(seen)
    return made, seen


def samples(metrics: ControllerMetrics, name: str) -> list[tuple[dict[str, str], float]]:
    page = generate_latest(metrics.registry).decode()
    families = text_string_to_metric_families(page)
    return [(s.labels, s.value) for f in families for s in f.samples if s.name == name]


def test_an_endpoint_shows_what_it_costs_and_what_runs(
    metrics: tuple[ControllerMetrics, Seen],
) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    assert samples(made, "torpor_endpoint_replicas_ready") == [(TINY, 2)]
    priced = TINY | {"currency": "EUR"}
    assert samples(made, "torpor_endpoint_cost_per_hour") == [(priced, 3.6)]
    assert samples(made, "torpor_endpoint_cost_total") == [(priced, 12.5)]
    seconds = samples(made, "torpor_endpoint_gpu_seconds_total")
    assert {labels["phase"]: value for labels, value in seconds} == {
        "starting": 1.5,
        "busy": 60,
        "idle": 2,
        "terminating": 0.25,
    }
    assert all(labels == TINY | {"phase": labels["phase"]} for labels, _ in seconds)


def test_no_two_samples_have_the_same_labels(metrics: tuple[ControllerMetrics, Seen]) -> None:
    made, seen = metrics
    for key in (("ml", "a"), ("ml", "b"), ("other", "a")):  # all serve the same model
        seen.endpoints[key] = {"status": STATUS}
    found = [
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(generate_latest(made.registry).decode())
        for sample in family.samples
        if sample.name.startswith("torpor_endpoint")
    ]
    assert len(found) == 3 * (4 + 3 + 4 + 2)
    assert len(set(found)) == len(found)


def test_what_has_no_price_shows_no_cost(metrics: tuple[ControllerMetrics, Seen]) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "new")] = {}
    labels = {"namespace": "ml", "model_name": "new", "endpoint": "new"}
    assert samples(made, "torpor_endpoint_replicas_ready") == [(labels, 0)]
    assert samples(made, "torpor_endpoint_cost_per_hour") == []
    assert samples(made, "torpor_endpoint_cost_total") == []


def test_an_endpoint_that_is_gone_is_shown_no_more(
    metrics: tuple[ControllerMetrics, Seen],
) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    seen.forget(("ml", "tiny"))
    assert samples(made, "torpor_endpoint_replicas_ready") == []


async def test_passes_are_counted_also_those_that_fail(
    metrics: tuple[ControllerMetrics, Seen],
) -> None:
    made, _ = metrics

    async def run(end: int | Exception) -> int:
        if isinstance(end, Exception):
            raise end
        return end

    assert await made.timed(run(7)) == 7
    with pytest.raises(RuntimeError):
        await made.timed(run(RuntimeError("boom")))
    assert samples(made, "torpor_controller_pass_seconds_count") == [({}, 2)]
