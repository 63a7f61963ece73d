"""Every Prometheus instrument of the gateway, handed to who counts; docs/metrics.md explains each one to people.

Label values are bounded: endpoints are those of the cluster, keys and adapters those that their specs name, everything
else is a small fixed set. Nothing that a client can choose freely ever becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from torpor.sums import ByLabels, Times, Totals

SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets of everything that lasts: from a cached answer to a cold start of a large model."""


class Whose(NamedTuple):
    """The labels of an endpoint, the same in both programs."""

    namespace: str
    model_name: str
    """What clients send as `model`."""
    endpoint: str


class Client(NamedTuple):
    """Who asked, by the names in the spec: never the key itself, nor its hash."""

    key: str = ""
    """Name of the key in `spec.access.keys`; empty where the endpoint has none and everybody may ask."""
    adapter: str = ""
    """Name of the adapter that was asked; empty for the model itself."""


class UpstreamFailure(StrEnum):
    """How a pod can fail a request."""

    UNREACHED = "unreached"
    """It was not reached, or said that it did not begin; the request went back to its place."""
    BROKE = "broke"
    """It ended the connection before its answer was complete."""
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    TOTAL_TIMEOUT = "total_timeout"


class Gone(NamedTuple):
    """Series that nobody counts in any more: of an endpoint, or only of one of its keys or adapters."""

    whose: Whose
    key: str | None = None
    adapter: str | None = None


disable_created_metrics()  # when a series began interests nobody here, and would be one more of each
NOBODY = Whose("", "", "")
"""Stands for the endpoint of a request that was turned away before it had one."""


class GatewayMetrics(Protocol):
    """What the gateway counts."""

    def request_ended(
        self, whose: Whose, client: Client, status: int, seconds: float, on_pods: float
    ) -> None:
        """Count an answered request, its time, and that part of it spent on pods; 499 is a client that left."""

    def turned_away(self, status: int) -> None:
        """Count a request that was refused before it had an endpoint: unknown model, wrong key, bad body."""

    def first_byte(self, whose: Whose, seconds: float) -> None:
        """Count the time from handing a request to a pod to the first byte of its answer."""

    def waited(self, whose: Whose, seconds: float) -> None:
        """Count the time that a parked request waited before it was granted a pod or refused."""

    def wake_written(self, whose: Whose, outcome: str, seconds: float) -> None:
        """Count a wake write, its outcome, and the time since the first request began to wait."""

    def retried(self, whose: Whose) -> None:
        """Count a request that was parked again because its pod could not be reached."""

    def upstream_failed(self, whose: Whose, reason: UpstreamFailure) -> None:
        """Count a request that a pod failed."""

    def tokens_used(
        self, whose: Whose, client: Client, prompt: int, completion: int, cached: int | None
    ) -> None:
        """Count tokens as engines report them; *cached* is None where the engine does not say it."""

    def load(self, whose: Whose, waiting: int, in_flight: int, held_bytes: int) -> None:
        """Set what is going on now; called for each endpoint before the metrics are read."""

    def bodies(self, held_bytes: int) -> None:
        """Set how many bytes of bodies the whole gateway holds; called before the metrics are read."""

    def left(self, whose: Whose) -> None:
        """Drop what goes on now at an endpoint that no longer exists; its counters stay until they are forgotten."""

    def forget(self, gone: Gone) -> None:
        """Drop all series of an endpoint, of a key or of an adapter."""

    def render(self) -> bytes:
        """Return all instruments in the text format."""
        ...


Instrument = TypeVar("Instrument", Counter, Gauge)


class _Children(ByLabels[Instrument]):
    """An instrument's children by label values, found without the checks that `labels` makes each time."""

    def __init__(self, instrument: Instrument, *labels: str) -> None:
        super().__init__(labels)
        self._instrument: Instrument = instrument

    def at(self, *values: str) -> Instrument:
        child = self.series.get(values)
        if child is None:
            child = self.series[values] = self._instrument.labels(*values)
        return child

    def forget(self, values: Mapping[str, str]) -> None:
        """Drop the children that have these values; none where the instrument has no such labels."""
        super().forget(values)
        if values.keys() <= set(self.labels):
            self._instrument.remove_by_labels(dict(values))


class PrometheusGatewayMetrics:
    """The gateway's instruments on a registry of their own."""

    def __init__(self) -> None:
        """Make the instruments; names start with `torpor_gateway_`."""
        self.registry = CollectorRegistry()
        ours, theirs = Whose._fields, (*Whose._fields, *Client._fields)
        self._requests = self._total("requests", "Requests by answer.", *theirs, "code")
        self._on_pods = self._total(
            "in_flight_seconds", "Time that requests were on pods, added up.", *theirs
        )
        self._tokens = self._total("tokens", "Tokens as engines report them.", *theirs, "kind")
        self._cached = self._total(
            "cached_prompt_tokens",
            "Part of the prompt tokens that the engine had in its cache, where it says so.",
            *theirs,
        )
        self._retries = self._counter("retries", "Requests parked again, unsent.", *ours)
        self._failures = self._counter(
            "upstream_failures", "Requests that a pod failed, by how.", *ours, "reason"
        )
        self._wakes = self._counter("wakes", "Wake writes by outcome.", *ours, "outcome")
        self._seconds = self._times("request_seconds", "Whole requests.")
        self._first_byte = self._times(
            "first_byte_seconds", "From a pod being chosen to its first byte."
        )
        self._waited = self._times("wait_seconds", "Time parked.")
        self._wake_seconds = Histogram(
            "torpor_gateway_wake_write_seconds",
            "From the first waiting request to replicas being written.",
            buckets=(0.005, 0.01, 0.02, 0.045, 0.1, 0.25, 1, 2.5, 5),
            registry=self.registry,
        )
        self._waiting = self._gauge("waiting", "Requests parked.")
        self._in_flight = self._gauge("in_flight", "Requests on a pod.")
        self._held = self._gauge("held_bytes", "Bytes of parked bodies.")
        self._bodies = Gauge(
            "torpor_gateway_body_bytes",
            "Bytes of all bodies that the gateway holds.",
            registry=self.registry,
        )

    def request_ended(
        self, whose: Whose, client: Client, status: int, seconds: float, on_pods: float
    ) -> None:
        """Count it."""
        self._requests.add((whose, client, str(status)), 1)
        self._on_pods.add((whose, client), on_pods)
        self._seconds.observe(whose, seconds)

    def turned_away(self, status: int) -> None:
        """Count it, under no endpoint."""
        self._requests.add((NOBODY, Client(), str(status)), 1)

    def first_byte(self, whose: Whose, seconds: float) -> None:
        """Count it."""
        self._first_byte.observe(whose, seconds)

    def waited(self, whose: Whose, seconds: float) -> None:
        """Count it."""
        self._waited.observe(whose, seconds)

    def wake_written(self, whose: Whose, outcome: str, seconds: float) -> None:
        """Count it."""
        self._wakes.at(*whose, outcome).inc()
        self._wake_seconds.observe(seconds)

    def retried(self, whose: Whose) -> None:
        """Count it."""
        self._retries.at(*whose).inc()

    def upstream_failed(self, whose: Whose, reason: UpstreamFailure) -> None:
        """Count it."""
        self._failures.at(*whose, reason.value).inc()

    def tokens_used(
        self, whose: Whose, client: Client, prompt: int, completion: int, cached: int | None
    ) -> None:
        """Count them; without a word of the cache there is no series, which is not the same as 0."""
        self._tokens.add((whose, client, "prompt"), prompt)
        self._tokens.add((whose, client, "completion"), completion)
        if cached is not None:
            self._cached.add((whose, client), cached)

    def load(self, whose: Whose, waiting: int, in_flight: int, held_bytes: int) -> None:
        """Set the gauges."""
        self._waiting.at(*whose).set(waiting)
        self._in_flight.at(*whose).set(in_flight)
        self._held.at(*whose).set(held_bytes)

    def bodies(self, held_bytes: int) -> None:
        """Set the gauge."""
        self._bodies.set(held_bytes)

    def left(self, whose: Whose) -> None:
        """Drop the gauges."""
        for gauge in (self._waiting, self._in_flight, self._held):
            gauge.forget(whose._asdict())

    def forget(self, gone: Gone) -> None:
        """Drop the series."""
        values = gone.whose._asdict()
        values |= {} if gone.key is None else {"key": gone.key}
        values |= {} if gone.adapter is None else {"adapter": gone.adapter}
        counted: tuple[ByLabels[Any], ...] = (
            self._requests,
            self._on_pods,
            self._tokens,
            self._cached,
            self._retries,
            self._failures,
            self._wakes,
            self._seconds,
            self._first_byte,
            self._waited,
            self._waiting,
            self._in_flight,
            self._held,
        )
        for series in counted:
            series.forget(values)

    def render(self) -> bytes:
        """Return all instruments in the text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, words: str, *labels: str) -> _Children[Counter]:
        made = Counter(f"torpor_gateway_{name}", words, labels, registry=self.registry)
        return _Children(made, *labels)

    def _total(self, name: str, words: str, *labels: str) -> Totals:
        return Totals(f"torpor_gateway_{name}", words, labels, self.registry)

    def _times(self, name: str, words: str) -> Times:
        return Times(f"torpor_gateway_{name}", words, Whose._fields, SECONDS, self.registry)

    def _gauge(self, name: str, words: str) -> _Children[Gauge]:
        made = Gauge(f"torpor_gateway_{name}", words, Whose._fields, registry=self.registry)
        return _Children(made, *Whose._fields)
