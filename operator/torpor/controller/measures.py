"""The controller's page of metrics: its own passes, and every endpoint as its status has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from pydantic import ValidationError

from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.controller.drawn import Drawn
from torpor.controller.families import FAMILIES, Family, samples
from torpor.controller.seen import Key, Seen
from torpor.domain.bookkeeping import meter_of
from torpor.domain.metering import totals
from torpor.domain.observation import Demand
from torpor.domain.remembering import epoch_ms

Json = dict[str, Any]
DemandOf = Callable[[Key], Demand]
log = logging.getLogger(__name__)
disable_created_metrics()  # when a series began interests nobody here

AT_ONCE = 50
"""Statuses that are read in one go: a tenth of a millisecond to half of one each."""
_UNSHOWN = frozenset({"hours", "monthStart", "closed"})
"""Parts of a ledger that no metric shows, and that three quarters of the time of reading a status would go into."""


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
        self._endpoints: _Endpoints | None = None

    async def timed(self, running: Awaitable[int | None]) -> int | None:
        """Await a pass and count how long it took."""
        began = clock.monotonic()
        try:
            return await running
        finally:
            self._passes.observe(clock.monotonic() - began)

    def watch(self, seen: Seen, demand_of: DemandOf) -> None:
        """Show the endpoints of *seen*, read from their status at each scrape.

        *demand_of* tells which part of a running pod's time was busy since the ledger was last brought up to date.
        """
        self._endpoints = _Endpoints(seen, demand_of)

    async def page(self) -> bytes:
        """Return all metrics in the text format; while many statuses are read anew, others have their turn."""
        if self._endpoints is not None:
            await self._endpoints.read_ahead()
        return self.render()

    def render(self) -> bytes:
        """Return the same at once."""
        own = generate_latest(self.registry)
        return own if self._endpoints is None else own + self._endpoints.render()


class _Endpoints:
    """Writes the page of all endpoints from their status, each of which is read once; the rest is joining."""

    def __init__(self, seen: Seen, demand_of: DemandOf) -> None:
        self._seen = seen
        self._demand_of = demand_of
        self._lines = Drawn[dict[Family, str]]()

    async def read_ahead(self) -> None:
        for number, key in enumerate(list(self._seen.endpoints), 1):
            if (obj := self._seen.endpoints.get(key)) is not None:
                self._lines.of(key, obj, self._draw)
            if not number % AT_ONCE:
                await asyncio.sleep(0)

    def render(self) -> bytes:
        drawn = self._lines.all(self._seen.endpoints, self._draw).values()
        return "".join(
            f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
            + "".join(lines.get(family, "") for lines in drawn)
            for family in FAMILIES
        ).encode()

    def _draw(self, key: Key, obj: Json) -> dict[Family, str]:
        try:
            return lines_of(key, obj, self._demand_of)
        except ValidationError as error:
            log.error("%s/%s: its status cannot be read, so no metrics show it: %s", *key, error)
            return {}


def lines_of(key: Key, obj: Json, demand_of: DemandOf) -> dict[Family, str]:
    """Return what an endpoint adds to each family, in the text format.

    Raises:
        ValidationError: its status is not one that this version knows.
    """
    status = _read(obj.get("status") or {})
    meter, as_of = meter_of(status.cost), epoch_ms(status.cost.as_of)
    rows = meter.rows
    if meter.live and as_of is not None:
        rows = totals(meter, demand_of(key), as_of)
    whose = _labels(
        ("namespace", "model_name", "endpoint"), (key[0], status.display.model or key[1], key[1])
    )
    found: dict[Family, str] = {}
    for family, value, labels in samples(status, rows, meter.settled):
        more = _more_labels(family.labels, labels) if labels else ""
        line = f"{family.name}{{{whose}{more}}} {float(value)!r}\n"
        found[family] = found.get(family, "") + line
    return found


def _read(status: Json) -> EndpointStatus:
    cost = {
        part: value for part, value in (status.get("cost") or {}).items() if part not in _UNSHOWN
    }
    return EndpointStatus.model_validate(status | {"cost": cost})


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True))


@lru_cache(maxsize=4096)
def _more_labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Return the labels of a sample beside the endpoint's own: the same few for every endpoint."""
    return f",{_labels(names, values)}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
