"""Both pages of metrics, full: an endpoint of which all is known, and a gateway where all happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from torpor.controller.measures import ControllerMetrics
from torpor.controller.seen import Seen
from torpor.domain.observation import Demand
from torpor.metrics import Client, PrometheusGatewayMetrics, UpstreamFailure, Whose

Json = dict[str, Any]
WHOSE = Whose("ml", "llama", "tiny")
SHOP = Client("shop", "legal")
NO_SERIES = frozenset({"le"})
"""Labels that only split one histogram into its buckets."""
STATUS: Json = {
    "replicas": 1,
    "readyReplicas": 1,
    "display": {"model": "llama"},
    "conditions": [
        {
            "type": "Awake",
            "status": "True",
            "reason": "Serving",
            "message": "1 request in flight",
            "lastTransitionTime": "2026-11-23T21:00:00Z",
        }
    ],
    "weights": {
        "nodes": [{"name": "n1", "state": "Fetching", "bytes": 7, "bytesPerSecond": 3}],
    },
    "wakes": {
        "count": 3,
        "p50Seconds": "41.5",
        "p95Seconds": "60",
        "recentMs": [41_500],
        "last": {"at": "2026-11-23T20:50:00Z", "queue": "0.021", "engine": "39.5", "total": "41.5"},
    },
    "failure": {"reason": "EngineCrashed", "count": 2, "at": "2026-11-23T20:00:00Z"},
    "tokens": {"prompt": 1_000, "completion": 500, "cached": 300},
    "cost": {
        "asOf": "2026-11-23T21:10:00Z",
        "currency": "EUR",
        "perHour": "1.8",
        "spent": "0.9",
        "saved": "-0.1",
        "perMillionTokens": "600",
        "lastDay": {"since": "2026-11-22T21:10:00Z", "perMillionTokens": "500"},
        "month": {"since": "2026-11-01T00:00:00Z", "perMillionTokens": "600", "spent": "0.8"},
        "budget": {
            "monthly": "500",
            "spent": "0.8",
            "forecast": "1.1",
            "since": "2026-11-01T00:00:00Z",
            "resets": "2026-12-01T00:00:00Z",
        },
        "egress": {"cost": "0.02", "bytes": 1_073_741_824},
        "byPhase": {
            "starting": "0.2",
            "busy": "0.3",
            "idle": "0.3",
            "terminating": "0.05",
            "rounding": "0.05",
            "failedStarts": "0.1",
            "unusedStarts": "0.08",
        },
        "gpuMs": {"starting": 400_000, "busy": 600_000, "idle": 600_000, "terminating": 100_000},
        "estimatedMs": 1_500,
        "rows": [
            {
                "priceId": "l40s/on-demand@1800000EUR",
                "gpuClass": "l40s",
                "capacityType": "on-demand",
                "perGPUHour": "1.8",
                "currency": "EUR",
                "gpuMs": {"starting": 300_000, "busy": 500_000, "idle": 600_000},
                "failedStartGpuMs": 200_000,
                "unusedStartGpuMs": 150_000,
                "roundingGpuMs": 100_000,
            },
            {"priceId": "h100/spot@unknown", "gpuClass": "h100", "capacityType": "spot"},
        ],
        "settled": {
            "rows": 1,
            "currency": "EUR",
            "gpuMs": {"terminating": 100_000},
            "cost": {"terminating": "180000000000"},
        },
        "live": [
            {
                "uid": "u",
                "prices": [{"priceId": "l40s/on-demand@1800000EUR", "fromMs": 1_795_468_000_000}],
                "startMs": 1_795_468_000_000,
            }
        ],
    },
}


@dataclass(frozen=True)
class Shown:
    """One metric as a page has it."""

    name: str
    """As it is asked for in PromQL; of a histogram the name without `_bucket`, `_sum` and `_count`."""
    kind: str
    help: str
    labels: frozenset[str]
    """Labels of its series."""


def controller() -> ControllerMetrics:
    """The controller's metrics with one endpoint of which all is known."""
    made, seen = ControllerMetrics(CollectorRegistry()), Seen("torpor-system")
    seen.endpoints[("ml", "tiny")] = {"status": STATUS}
    made.watch(seen, lambda _key: Demand())
    return made


def gateway() -> PrometheusGatewayMetrics:
    """The gateway's metrics after one of everything."""
    made = PrometheusGatewayMetrics()
    made.request_ended(WHOSE, SHOP, 200, 4.0, 3.0)
    made.turned_away(404)
    made.first_byte(WHOSE, 0.5)
    made.waited(WHOSE, 1.0)
    made.wake_written(WHOSE, "written", 0.02)
    made.retried(WHOSE)
    made.upstream_failed(WHOSE, UpstreamFailure.BROKE)
    made.tokens_used(WHOSE, SHOP, 7, 3, 2)
    made.load(WHOSE, 1, 2, 3)
    made.bodies(5)
    return made


def shown() -> dict[str, Shown]:
    """Every metric of both programs by name."""
    pages = controller().render(), gateway().render()
    return {found.name: found for page in pages for found in read(page.decode())}


def read(page: str) -> Iterator[Shown]:
    """Give each metric of a page with the labels that its series have."""
    for family in text_string_to_metric_families(page):
        assert family.samples, f"{family.name} has no sample on the filled page"
        labels = {frozenset(s.labels) - NO_SERIES for s in family.samples}
        assert len(labels) == 1, f"{family.name} has series with different labels: {labels}"
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield Shown(name, family.type, family.documentation, labels.pop())
