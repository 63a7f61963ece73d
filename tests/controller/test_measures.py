from __future__ import annotations

import asyncio
import copy
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.filled import STATUS as FULL
from torpor.controller.measures import AT_ONCE, ControllerMetrics
from torpor.controller.seen import Seen
from torpor.domain.observation import Demand, GatewayReport

Json = dict[str, Any]
Watched = tuple[ControllerMetrics, Seen]
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
L40S = {
    "gpu_class": "l40s",
    "capacity_type": "on-demand",
    "price_id": "l40s/on-demand@1800000EUR",
}
MONEY = {
    "cost_per_hour", "cost_total", "saved", "cost_per_million_tokens", "phase_cost_total", "failed_starts_cost_total",
    "unused_starts_cost_total",
    "price_per_gpu_hour", "egress_cost_total", "month_cost", "month_budget", "month_forecast",
}  # fmt: skip
PASSES = {"torpor_controller_pass_seconds"}


NOBODY = Demand()


class Asked:
    """Whoever is asked for demand: once for each status that is read."""

    def __init__(self, demand: Demand = NOBODY) -> None:
        self.keys: list[tuple[str, str]] = []
        self._demand = demand

    def demand(self, key: tuple[str, str]) -> Demand:
        self.keys.append(key)
        return self._demand


@pytest.fixture
def metrics() -> Watched:
    made, seen = ControllerMetrics(CollectorRegistry()), Seen("torpor-system")
    made.watch(seen, lambda _key: Demand())
    return made, seen


@pytest.fixture
def full(metrics: Watched) -> ControllerMetrics:
    made, seen = metrics
    seen.endpoints[("ml", "tiny")] = {"status": FULL}
    return made


def samples(metrics: ControllerMetrics, name: str) -> list[tuple[dict[str, str], float]]:
    families = text_string_to_metric_families(metrics.render().decode())
    return [(s.labels, s.value) for f in families for s in f.samples if s.name == name]


def by(metrics: ControllerMetrics, name: str, label: str, **given: str) -> dict[str, float]:
    """Give the samples that have these labels by one more label."""
    found = samples(metrics, f"torpor_endpoint_{name}")
    return {labels[label]: v for labels, v in found if given.items() <= labels.items()}


def test_an_endpoint_shows_what_it_costs_and_what_runs(metrics: Watched) -> None:
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


def test_the_phases_add_up_to_the_cost_and_failed_starts_are_a_part_of_starting(
    full: ControllerMetrics,
) -> None:
    phases = by(full, "phase_cost_total", "phase", currency="EUR")
    assert phases == {
        "starting": 0.2, "busy": 0.3, "idle": 0.3, "terminating": 0.05, "rounding": 0.05,
    }  # fmt: skip
    spent = by(full, "cost_total", "currency")["EUR"]
    assert sum(map(Decimal, map(str, phases.values()))) == Decimal(str(spent))
    assert by(full, "failed_starts_cost_total", "currency") == {"EUR": 0.1}
    assert samples(full, "torpor_endpoint_failed_starts_gpu_seconds_total") == [(TINY, 200)]
    assert by(full, "unused_starts_cost_total", "currency") == {"EUR": 0.08}
    assert samples(full, "torpor_endpoint_unused_starts_gpu_seconds_total") == [(TINY, 150)]


def test_gpu_seconds_are_told_by_price_with_the_pod_that_still_runs(
    full: ControllerMetrics,
) -> None:
    seconds = by(full, "priced_gpu_seconds_total", "phase", **L40S)
    live = 1_795_468_200 - 1_795_468_000  # from its start to `asOf`
    assert seconds == {
        "starting": 300 + live, "busy": 500, "idle": 600, "terminating": 0, "rounding": 100,
    }  # fmt: skip
    settled = by(full, "priced_gpu_seconds_total", "phase", price_id="settled", gpu_class="")
    assert settled["terminating"] == 100
    assert by(full, "price_per_gpu_hour", "currency", **L40S) == {"EUR": 1.8}


def test_what_the_gateways_still_hold_counts_as_busy_at_its_price(metrics: Watched) -> None:
    made, seen = metrics
    status = copy.deepcopy(FULL)
    pod = status["cost"]["live"][0]
    pod |= {"firstReadyMs": pod["startMs"] + 50_000, "busyThroughMs": pod["startMs"]}
    busy = ((pod["startMs"] + 100_000, pod["startMs"] + 140_000),)
    asked = Asked(Demand((GatewayReport("gw", 0, 0, busy={"u": busy}),)))
    made.watch(seen, asked.demand)
    seen.endpoints[("ml", "tiny")] = {"status": status}
    seconds = by(made, "priced_gpu_seconds_total", "phase", **L40S)
    assert (seconds["starting"], seconds["busy"], seconds["idle"]) == (350, 540, 710)
    assert asked.keys == [("ml", "tiny")]


def test_an_unknown_price_has_no_sample_anywhere(metrics: Watched, full: ControllerMetrics) -> None:
    shown = {found["price_id"] for found, _ in samples(full, "torpor_endpoint_price_per_gpu_hour")}
    assert shown == {L40S["price_id"]}
    assert by(full, "priced_gpu_seconds_total", "phase", price_id="h100/spot@unknown")
    _, seen = metrics
    seen.endpoints[("ml", "tiny")] = {"status": {"cost": {"gpuMs": {"busy": 60_000}}}}
    page = full.render().decode()
    families = {f.name: f.samples for f in text_string_to_metric_families(page)}
    for name in MONEY:
        assert not families[f"torpor_endpoint_{name.removesuffix('_total')}"], name
    assert by(full, "gpu_seconds_total", "phase")["busy"] == 60


def test_tokens_starts_and_windows_are_shown(full: ControllerMetrics) -> None:
    assert by(full, "tokens_total", "kind") == {"prompt": 1_000, "completion": 500}
    assert samples(full, "torpor_endpoint_cold_starts_total") == [(TINY, 3)]
    assert samples(full, "torpor_endpoint_failures_in_a_row") == [(TINY, 2)]
    assert by(full, "cold_start_seconds", "percentile") == {"50": 41.5, "95": 60}
    assert samples(full, "torpor_endpoint_estimated_gpu_seconds_total") == [(TINY, 1.5)]
    assert by(full, "cost_per_million_tokens", "window", currency="EUR") == {
        "lifetime": 600, "day": 500, "month": 600,
    }  # fmt: skip
    assert by(full, "saved", "currency") == {"EUR": -0.1}
    assert by(full, "state", "state") == {"Serving": 1}
    month = [by(full, f"month_{part}", "currency") for part in ("cost", "budget", "forecast")]
    assert month == [{"EUR": 0.8}, {"EUR": 500}, {"EUR": 1.1}]


def test_no_two_samples_have_the_same_labels(metrics: Watched) -> None:
    made, seen = metrics
    for key in (("ml", "a"), ("ml", "b"), ("other", "a")):  # all serve the same model
        seen.endpoints[key] = {"status": FULL}
    found = [
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(made.render().decode())
        for sample in family.samples
        if sample.name.startswith("torpor_endpoint")
    ]
    assert len(found) % 3 == 0
    assert len(set(found)) == len(found)


def test_what_has_no_price_shows_no_cost(metrics: Watched) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "new")] = {}
    labels = {"namespace": "ml", "model_name": "new", "endpoint": "new"}
    assert samples(made, "torpor_endpoint_replicas_ready") == [(labels, 0)]
    assert samples(made, "torpor_endpoint_cost_per_hour") == []
    assert samples(made, "torpor_endpoint_cost_total") == []


def test_an_endpoint_that_is_gone_is_shown_no_more(metrics: Watched) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    assert samples(made, "torpor_endpoint_replicas_ready")
    seen.forget(("ml", "tiny"))
    assert samples(made, "torpor_endpoint_replicas_ready") == []


def test_only_a_status_that_is_new_is_read_again(metrics: Watched) -> None:
    made, seen = metrics
    read = Asked()
    made.watch(seen, read.demand)
    for name in "ab":
        seen.endpoints[("ml", name)] = {"status": FULL}
    first = made.render()
    assert made.render() == first
    assert read.keys == [("ml", "a"), ("ml", "b")]
    seen.endpoints[("ml", "b")] = {"status": FULL | {"readyReplicas": 5}}
    made.render()
    assert read.keys[2:] == [("ml", "b")]
    ready = {labels["endpoint"]: v for labels, v in samples(made, "torpor_endpoint_replicas_ready")}
    assert ready == {"a": 1, "b": 5}


async def test_others_have_their_turn_while_many_statuses_are_read(metrics: Watched) -> None:
    made, seen = metrics
    for number in range(3 * AT_ONCE):
        seen.endpoints[("ml", f"e{number}")] = {"status": STATUS}
    writing = asyncio.create_task(made.page())
    for _ in range(2):
        await asyncio.sleep(0)
        assert not writing.done()
    seen.forget(("ml", f"e{3 * AT_ONCE - 1}"))  # it left while the others were read
    page = (await writing).decode()
    assert page == made.render().decode()
    assert page.count("torpor_endpoint_replicas_ready{") == 3 * AT_ONCE - 1


def test_nobody_is_asked_about_an_endpoint_that_sleeps(metrics: Watched) -> None:
    made, seen = metrics
    asked = Asked()
    made.watch(seen, asked.demand)
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    assert samples(made, "torpor_endpoint_gpu_seconds_total")
    assert asked.keys == []


def test_a_status_that_cannot_be_read_hides_no_other(metrics: Watched) -> None:
    made, seen = metrics
    seen.endpoints[("ml", "broken")] = {"status": {"replicas": "many"}}
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    assert samples(made, "torpor_endpoint_replicas_ready") == [(TINY, 2)]


def test_a_label_keeps_whatever_a_model_is_called(metrics: Watched) -> None:
    made, seen = metrics
    name = 'qwen "2.5"\\instruct\n'
    seen.endpoints[("ml", "tiny")] = {"status": STATUS | {"display": {"model": name}}}
    ((labels, _),) = samples(made, "torpor_endpoint_replicas_ready")
    assert labels["model_name"] == name


def test_a_standby_shows_its_own_passes_only() -> None:
    page = ControllerMetrics(CollectorRegistry()).render().decode()
    names = {f.name for f in text_string_to_metric_families(page)}
    assert names == PASSES


async def test_passes_are_counted_also_those_that_fail(metrics: Watched) -> None:
    made, _ = metrics

    async def run(end: int | Exception) -> int:
        if isinstance(end, Exception):
            raise end
        return end

    assert await made.timed(run(7)) == 7
    with pytest.raises(RuntimeError):
        await made.timed(run(RuntimeError("boom")))
    assert samples(made, "torpor_controller_pass_seconds_count") == [({}, 2)]
