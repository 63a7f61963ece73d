"""Whom a request is counted for: the name of its key and of its adapter, for as long as the spec has them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.apiserver import ENDPOINTS
from tests.gateway.world import World
from torpor import clock
from torpor.domain.waitroom import Written
from torpor.gateway.catalogue import Entry, read_entry
from torpor.gateway.fading import Fading
from torpor.gateway.hall import Hall
from torpor.gateway.tally import KEPT_MS
from torpor.gateway.tools import Tools
from torpor.metrics import Client, PrometheusGatewayMetrics, Whose

Json = dict[str, Any]
LLAMA = {"namespace": "shop", "model_name": "llama", "endpoint": "llama"}
KEYS = {
    "keys": [
        {"name": name, "sha256": hashlib.sha256(f"sk-{name}".encode()).hexdigest()}
        for name in ("web", "batch")
    ]
}
LEGAL = {"name": "legal", "source": "s3://models/legal/"}
MODEL = {"source": "s3://models/x/", "adapters": [LEGAL]}


def read(page: bytes) -> dict[str, dict[tuple[str, str], float]]:
    """Give each sample of llama by name, and by key and adapter."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            if sample.labels.items() >= LLAMA.items():
                rest = sample.labels.get("kind") or sample.labels.get("code") or ""
                name = sample.name.removeprefix("torpor_gateway_") + rest.replace("200", "")
                who = (sample.labels.get("key", ""), sample.labels.get("adapter", ""))
                found.setdefault(name, {})[who] = sample.value
    return found


async def page(world: World) -> dict[str, dict[tuple[str, str], float]]:
    _, body = await world.internal("/metrics")
    assert b"sk-" not in body
    assert KEYS["keys"][0]["sha256"].encode() not in body
    return read(body)


async def test_requests_and_tokens_count_for_the_key_and_the_adapter(world: World) -> None:
    engine = await world.awake("llama", "legal", access=KEYS, model=MODEL)
    engine.details = {"prompt_tokens_details": {"cached_tokens": 4}}
    await world.ask(key="sk-web")
    await world.ask("shop/llama", key="sk-web")
    await world.ask("legal", key="sk-batch")
    assert (await world.ask(key="sk-web", model="nobody"))[0] == 404
    shown = await page(world)
    assert shown["requests_total"] == {("web", ""): 2, ("batch", "legal"): 1}
    assert shown["tokens_totalprompt"] == {("web", ""): 10, ("batch", "legal"): 5}
    assert shown["tokens_totalcompletion"] == {("web", ""): 4, ("batch", "legal"): 2}
    assert shown["cached_prompt_tokens_total"] == {("web", ""): 8, ("batch", "legal"): 4}
    assert (await world.demand())["tokens"] == {"prompt": 15, "completion": 6, "cached": 12}


async def test_without_keys_the_name_is_empty_whatever_a_client_sends(world: World) -> None:
    await world.awake()
    await world.ask(key="sk-web")
    await world.ask()
    shown = await page(world)
    assert shown["requests_total"] == {("", ""): 2}
    assert "cached_prompt_tokens_total" not in shown  # the engine does not say it


async def test_time_on_pods_leaves_out_the_time_parked(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asking = world.asking()
    await world.waiting(1)
    await asyncio.sleep(0.3)
    engine = await world.engine()
    world.deployment(replicas=1)
    world.pod(engine, ready=True)
    assert (await asking)[0] == 200
    shown = await page(world)
    on_pods = shown["in_flight_seconds_total"][("", "")]
    parked = shown["wait_seconds_sum"][("", "")]
    whole = shown["request_seconds_sum"][("", "")]
    assert parked > 0.3
    assert 0 < on_pods <= whole - parked + 1e-6


async def test_the_gauges_of_a_deleted_endpoint_go_at_once_and_its_counters_stay(
    world: World,
) -> None:
    await world.awake()
    await world.ask()
    assert "in_flight" in await page(world)
    world.api.delete(ENDPOINTS, "shop/llama")
    await world.lists()
    shown = await page(world)
    assert "in_flight" not in shown
    assert shown["requests_total"] == {("", ""): 1}


async def test_what_goes_on_now_is_told_under_the_models_new_name_only(world: World) -> None:
    await world.awake()
    assert "in_flight" in await page(world)
    world.endpoint(model={"source": "s3://models/x/", "name": "qwen"})
    await world.lists("qwen")
    assert "in_flight" not in await page(world)
    _, body = await world.internal("/metrics")
    renamed = 'endpoint="llama",model_name="qwen",namespace="shop"'
    assert f"torpor_gateway_in_flight{{{renamed}}} 0.0" in body.decode()


def entry(keys: tuple[str, ...] = (), name: str = "llama", adapters: tuple[str, ...] = ()) -> Entry:
    spec = {
        "model": {
            "name": name,
            "source": "s3://models/x/",
            "adapters": [{"name": a, "source": f"s3://models/{a}/"} for a in adapters],
        },
        "access": {"keys": [{"name": k, "sha256": "0" * 64} for k in keys]},
        "queue": {"totalTimeout": "5m", "firstByteTimeout": "1m"},
    }
    return read_entry({"metadata": {"namespace": "shop", "name": "llama"}, "spec": spec})


LONGEST_MS = KEPT_MS + 5 * 60_000


def counted(*clients: Client) -> PrometheusGatewayMetrics:
    metrics, whose = PrometheusGatewayMetrics(), Whose(**LLAMA)
    for client in clients:
        metrics.request_ended(whose, client, 200, 1.0, 1.0)
        metrics.tokens_used(whose, client, 5, 2, 1)
    metrics.load(whose, 0, 0, 0)
    return metrics


def test_a_deleted_endpoint_is_dropped_when_nobody_can_count_in_it_any_more() -> None:
    metrics = counted(Client())
    fading = Fading(metrics)
    fading.changed(None, entry(), 0)
    fading.changed(entry(), None, 1)
    fading.drop(LONGEST_MS)
    assert read(metrics.render())["requests_total"] == {("", ""): 1}
    fading.drop(LONGEST_MS + 1)
    assert read(metrics.render()) == {}


class Nobody:
    """Wakes and probes nothing."""

    async def wake(self, namespace: str, name: str, replicas: int) -> Written:
        raise AssertionError

    async def probe(self, model: str, where: object) -> bool:
        raise AssertionError

    async def serves(self, address: str, model: str) -> bool:
        raise AssertionError


def test_whoever_reads_demand_or_metrics_drops_what_is_due() -> None:
    metrics = counted(Client())
    hall = Hall(Tools(Nobody(), Nobody(), metrics))
    now_ms = clock.now_ms()
    hall.fading.changed(entry(), None, now_ms)
    hall.forget_the_gone()
    assert "requests_total" in read(metrics.render())
    hall.fading.changed(entry(), None, now_ms - LONGEST_MS)
    hall.forget_the_gone()
    assert read(metrics.render()) == {}


def test_one_that_is_made_again_in_time_goes_on_counting() -> None:
    metrics = counted(Client())
    fading = Fading(metrics)
    fading.changed(entry(), None, 0)
    fading.changed(None, entry(), 1)
    fading.drop(10 * LONGEST_MS)
    metrics.request_ended(Whose(**LLAMA), Client(), 200, 1.0, 1.0)
    assert read(metrics.render())["requests_total"] == {("", ""): 2}


def test_a_key_and_an_adapter_that_are_taken_out_are_dropped_alone() -> None:
    metrics = counted(Client("web"), Client("batch"), Client("web", "legal"), Client("web", "art"))
    before, after = (
        entry(("web", "batch"), adapters=("legal", "art")),
        entry(("web",), adapters=("art",)),
    )
    fading = Fading(metrics)
    fading.changed(before, after, 0)
    fading.drop(LONGEST_MS)
    assert read(metrics.render())["requests_total"] == {("web", ""): 1, ("web", "art"): 1}
    assert read(metrics.render())["in_flight"] == {("", ""): 0}


def test_what_was_dropped_counts_from_0_when_it_comes_back() -> None:
    metrics = counted(Client("web"))
    fading = Fading(metrics)
    fading.changed(entry(("web",)), entry(), 0)
    fading.drop(LONGEST_MS)
    metrics.request_ended(Whose(**LLAMA), Client("web"), 200, 1.0, 1.0)
    assert read(metrics.render())["requests_total"] == {("web", ""): 1}


def test_a_model_that_gets_another_name_leaves_its_series_under_the_old_one_for_a_while() -> None:
    metrics = counted(Client())
    fading = Fading(metrics)
    fading.changed(entry(), entry(name="qwen"), 0)
    shown = read(metrics.render())
    assert "in_flight" not in shown
    assert shown["requests_total"] == {("", ""): 1}
    fading.drop(LONGEST_MS)
    assert read(metrics.render()) == {}
