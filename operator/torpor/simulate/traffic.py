"""What is replayed: the requests of a fleet of endpoints, in seconds from the beginning of the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint's requests, by arrival."""

    name: str
    arrivals: Sequence[float]
    """Seconds since the beginning of the trace, ascending."""
    services: Sequence[float]
    """Seconds from the start of each request on a warm replica to its last byte."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A fleet's requests over a time."""

    name: str
    length_s: float
    endpoints: tuple[Endpoint, ...]
    start_hour: float = 0.0
    """Hour of the day (UTC) at which it begins."""

    @property
    def requests(self) -> int:
        """Of all endpoints."""
        return sum(len(endpoint.arrivals) for endpoint in self.endpoints)

    @property
    def always_on_s(self) -> float:
        """GPU-seconds of one replica of each endpoint that never sleeps."""
        return self.length_s * len(self.endpoints)


def endpoint_of(name: str, requests: Sequence[tuple[float, float]]) -> Endpoint:
    """Return an endpoint with (arrival, service) pairs in any order."""
    ordered = sorted(requests)
    return Endpoint(name, [at for at, _ in ordered], [lasts for _, lasts in ordered])
