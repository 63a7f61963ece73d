"""Every Prometheus instrument. They are handed to who counts; the no-op twins make `if metrics` unnecessary.

Label values are bounded: endpoints are those of the cluster, everything else is a small fixed set.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets of everything that lasts: from a cached answer to a cold start of a large model."""


Instrument = TypeVar("Instrument", Counter, Histogram)


class GatewayMetrics(Protocol):
    """What the gateway counts."""

    def request_ended(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request; 499 is a client that left."""

    def turned_away(self, status: int) -> None:
        """Count a request that was refused before it had an endpoint: unknown model, wrong key, bad body."""

    def first_byte(self, endpoint: str, seconds: float) -> None:
        """Count the time from handing a request to a pod to the first byte of its answer."""

    def waited(self, endpoint: str, seconds: float) -> None:
        """Count the time that a parked request waited before it was granted a pod or refused."""

    def wake_written(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count a wake write, its outcome, and the time since the first request began to wait."""

    def retried(self, endpoint: str) -> None:
        """Count a request that was parked again because its pod could not be reached."""

    def tokens_used(self, endpoint: str, prompt: int, completion: int) -> None:
        """Count tokens as engines report them."""

    def load(self, endpoint: str, waiting: int, in_flight: int, held_bytes: int) -> None:
        """Set what is going on now; called for each endpoint before the metrics are read."""

    def forget(self, endpoint: str) -> None:
        """Drop the gauges of an endpoint that no longer exists."""

    def render(self) -> bytes:
        """Return all instruments in the text format."""
        ...


class NoGatewayMetrics:
    """Counts nothing; the twin for tests."""

    def request_ended(self, endpoint: str, status: int, seconds: float) -> None:
        """Ignore it."""

    def turned_away(self, status: int) -> None:
        """Ignore it."""

    def first_byte(self, endpoint: str, seconds: float) -> None:
        """Ignore it."""

    def waited(self, endpoint: str, seconds: float) -> None:
        """Ignore it."""

    def wake_written(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Ignore it."""

    def retried(self, endpoint: str) -> None:
        """Ignore it."""

    def tokens_used(self, endpoint: str, prompt: int, completion: int) -> None:
        """Ignore it."""

    def load(self, endpoint: str, waiting: int, in_flight: int, held_bytes: int) -> None:
        """Ignore it."""

    def forget(self, endpoint: str) -> None:
        """Ignore it."""

    def render(self) -> bytes:
        """Return nothing."""
        return b""


class PrometheusGatewayMetrics:
    """The gateway's instruments on a registry of their own."""

    def __init__(self) -> None:
        """Make the instruments; names start with `torpor_gateway_`."""
        self.registry = CollectorRegistry()
        self._children: dict[Any, Any] = {}
        one, on = ("endpoint",), self.registry
        self._requests = Counter(
            "torpor_gateway_requests", "Requests by answer.", ("endpoint", "code"), registry=on
        )
        self._seconds = Histogram(
            "torpor_gateway_request_seconds", "Whole requests.", one, buckets=SECONDS, registry=on
        )
        self._first_byte = Histogram(
            "torpor_gateway_first_byte_seconds",
            "From a pod being chosen to its first byte.",
            one,
            buckets=SECONDS,
            registry=on,
        )
        self._waited = Histogram(
            "torpor_gateway_wait_seconds", "Time parked.", one, buckets=SECONDS, registry=on
        )
        self._wakes = Counter(
            "torpor_gateway_wakes", "Wake writes by outcome.", ("endpoint", "outcome"), registry=on
        )
        self._wake_seconds = Histogram(
            "torpor_gateway_wake_write_seconds",
            "From the first waiting request to replicas being written.",
            buckets=(0.005, 0.01, 0.02, 0.045, 0.1, 0.25, 1, 2.5, 5),
            registry=on,
        )
        self._retries = Counter(
            "torpor_gateway_retries", "Requests parked again, unsent.", one, registry=on
        )
        self._tokens = Counter(
            "torpor_gateway_tokens", "Tokens by kind.", ("endpoint", "kind"), registry=on
        )
        self._waiting = Gauge("torpor_gateway_waiting", "Requests parked.", one, registry=on)
        self._in_flight = Gauge("torpor_gateway_in_flight", "Requests on a pod.", one, registry=on)
        self._held = Gauge("torpor_gateway_held_bytes", "Bytes of parked bodies.", one, registry=on)

    def request_ended(self, endpoint: str, status: int, seconds: float) -> None:
        """Count it."""
        self._child(self._requests, endpoint, str(status)).inc()
        self._child(self._seconds, endpoint).observe(seconds)

    def turned_away(self, status: int) -> None:
        """Count it, under no endpoint."""
        self._requests.labels("", str(status)).inc()

    def first_byte(self, endpoint: str, seconds: float) -> None:
        """Count it."""
        self._child(self._first_byte, endpoint).observe(seconds)

    def waited(self, endpoint: str, seconds: float) -> None:
        """Count it."""
        self._waited.labels(endpoint).observe(seconds)

    def wake_written(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count it."""
        self._wakes.labels(endpoint, outcome).inc()
        self._wake_seconds.observe(seconds)

    def retried(self, endpoint: str) -> None:
        """Count it."""
        self._retries.labels(endpoint).inc()

    def tokens_used(self, endpoint: str, prompt: int, completion: int) -> None:
        """Count them."""
        self._child(self._tokens, endpoint, "prompt").inc(prompt)
        self._child(self._tokens, endpoint, "completion").inc(completion)

    def load(self, endpoint: str, waiting: int, in_flight: int, held_bytes: int) -> None:
        """Set the gauges."""
        self._waiting.labels(endpoint).set(waiting)
        self._in_flight.labels(endpoint).set(in_flight)
        self._held.labels(endpoint).set(held_bytes)

    def forget(self, endpoint: str) -> None:
        """Drop the gauges."""
        for gauge in (self._waiting, self._in_flight, self._held):
            gauge.remove_by_labels({"endpoint": endpoint})

    def render(self) -> bytes:
        """Return all instruments in the text format."""
        return generate_latest(self.registry)

    def _child(self, instrument: Instrument, *labels: str) -> Instrument:
        """Return an instrument's child without the checks that `labels` makes each time."""
        key = (instrument, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = instrument.labels(*labels)
        return cast(Instrument, child)
