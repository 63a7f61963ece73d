"""The controller's instruments: passes, and per endpoint what it costs, what runs, and the GPU-seconds by phase."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.controller.seen import Seen

_PHASES = ("starting", "busy", "idle", "terminating")
_STATES = ("Queued", "Fetching", "Ready", "Failed")
_LABELS = ("namespace", "model_name", "endpoint")


class ControllerMetrics:
    """Everything that `/metrics` of the controller shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the instruments on *registry*."""
        self.registry = registry
        self._passes = Histogram(
            "torpor_controller_pass_seconds",
            "Time of one pass over one endpoint.",
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )

    async def timed(self, running: Awaitable[int | None]) -> int | None:
        """Await a pass and count how long it took."""
        began = clock.monotonic()
        try:
            return await running
        finally:
            self._passes.observe(clock.monotonic() - began)

    def watch(self, seen: Seen) -> None:
        """Show the endpoints of *seen*, read from their status at each scrape."""
        self.registry.register(_Endpoints(seen))


class _Endpoints(Collector):
    """Reads the status of every endpoint when it is scraped, so that nothing has to be kept in step."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        gpu = CounterMetricFamily(
            "torpor_endpoint_gpu_seconds", "GPU-seconds by phase.", labels=(*_LABELS, "phase")
        )
        rate = GaugeMetricFamily(
            "torpor_endpoint_cost_per_hour", "Cost per hour now.", labels=(*_LABELS, "currency")
        )
        spent = CounterMetricFamily(
            "torpor_endpoint_cost", "Cost since creation.", labels=(*_LABELS, "currency")
        )
        ready = GaugeMetricFamily(
            "torpor_endpoint_replicas_ready", "Ready replicas.", labels=_LABELS
        )
        nodes = GaugeMetricFamily(
            "torpor_endpoint_weights_nodes",
            "Nodes that should have the weights, by how they stand there.",
            labels=(*_LABELS, "state"),
        )
        arrived = GaugeMetricFamily(
            "torpor_endpoint_weights_bytes",
            "Bytes of the weights that lie on nodes, all nodes together.",
            labels=_LABELS,
        )
        arriving = GaugeMetricFamily(
            "torpor_endpoint_weights_bytes_per_second",
            "Rate of the downloads under way, all nodes together.",
            labels=_LABELS,
        )
        for (namespace, name), obj in self._seen.endpoints.items():
            status = EndpointStatus.model_validate(obj.get("status") or {})
            cost, labels = status.cost, (namespace, status.display.model or name, name)
            for phase in _PHASES:
                gpu.add_metric((*labels, phase), getattr(cost.gpu_ms, phase) / 1000)
            ready.add_metric(labels, status.ready_replicas)
            stand = status.weights.nodes
            for state in _STATES:
                count = sum(node.state == state for node in stand)
                nodes.add_metric((*labels, state), count)
            arrived.add_metric(labels, sum(node.bytes or 0 for node in stand))
            arriving.add_metric(labels, sum(node.bytes_per_second or 0 for node in stand))
            currency = cost.currency or ""
            if cost.per_hour is not None:
                rate.add_metric((*labels, currency), float(cost.per_hour))
            if cost.spent is not None:
                spent.add_metric((*labels, currency), float(cost.spent))
        return (gpu, rate, spent, ready, nodes, arrived, arriving)
