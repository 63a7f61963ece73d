"""The statement of one month: objects in, a row per endpoint out, with a sentence for whatever cannot be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from torpor.api.faults import first_fault
from torpor.api.meta import ObjectMeta
from torpor.api.quantities import format_timestamp
from torpor.api.status import CostStatus, EndpointStatus, TokensStatus
from torpor.domain import money
from torpor.domain.bookkeeping import gpu_ms, meter_of, windows_of
from torpor.domain.costing import cost_of, moved_cost
from torpor.domain.egress import lacking, unpriced
from torpor.domain.ledger import Meter, Row
from torpor.domain.metering import totals
from torpor.domain.monthly import Metered, Month, Reach, Use, used_in
from torpor.domain.observation import Demand
from torpor.domain.phases import Phases
from torpor.domain.remembering import epoch_ms, moment
from torpor.domain.windows import Reading

Json = dict[str, Any]

STALE_MS = 900_000
"""A status that tells of a running pod is written every few minutes at least; after a quarter of an hour it is old."""


@dataclass(frozen=True, slots=True)
class Line:
    """One endpoint in one month."""

    namespace: str
    endpoint: str
    model: str
    uid: str
    labels: dict[str, str]
    currency: str
    use: Use
    wakes: int
    """Since the endpoint's creation: the status does not tell them by month."""
    saved: str | None
    """Since the endpoint's creation, as the status says it; None if unknown."""
    since_ms: int
    as_of_ms: int

    @property
    def key(self) -> str:
        """Give `namespace/name`."""
        return f"{self.namespace}/{self.endpoint}"


@dataclass(frozen=True, slots=True)
class Statement:
    """What all endpoints used in a month, as far as it can be told."""

    month: Month
    now_ms: int
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader has to know about single lines."""
    faults: tuple[str, ...] = ()
    """Endpoints that could not be read: the statement is not complete."""


@dataclass(slots=True)
class _Draft:
    lines: list[Line] = field(default_factory=list[Line])
    notes: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])


def state(objects: Iterable[Json], month: Month, now_ms: int) -> Statement:
    """Return the statement of *month* from InferenceEndpoints as the API server gives them, read at *now_ms*."""
    draft = _Draft()
    for obj in objects:
        try:
            _enter(draft, obj, month, now_ms)
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            draft.faults.append(f"{_name(obj)} is left out: {_why(error)}")
    lines = tuple(sorted(draft.lines, key=lambda line: (line.namespace, line.endpoint)))
    return Statement(month, now_ms, lines, tuple(sorted(draft.notes)), tuple(draft.faults))


def _enter(draft: _Draft, obj: Json, month: Month, now_ms: int) -> None:
    metadata = ObjectMeta.model_validate(obj["metadata"])
    status = EndpointStatus.model_validate(obj.get("status") or {})
    key = f"{metadata.namespace or 'default'}/{metadata.name}"
    metered = metered_of(status.cost, status.tokens)
    if metered is None:
        draft.notes.append(f"{key} has no figures yet: the controller has not written its status.")
        return
    use = used_in(month, metered, now_ms)
    if use is None:
        return
    currencies = currencies_of(status.cost)
    line = Line(
        namespace=metadata.namespace or "default",
        endpoint=metadata.name,
        model=str(((obj.get("spec") or {}).get("model") or {}).get("name") or metadata.name),
        uid=metadata.uid,
        labels=metadata.labels,
        currency=currencies[0] if len(currencies) == 1 else status.cost.currency or "USD",
        use=use,
        wakes=status.wakes.count,
        saved=status.cost.saved,
        since_ms=metered.since_ms,
        as_of_ms=metered.as_of_ms,
    )
    draft.lines.append(line)
    draft.notes.extend(_notes(line, month, now_ms, currencies, status.cost))


def metered_of(cost: CostStatus, tokens: TokensStatus) -> Metered | None:
    """Return the meter of a status, with its totals exact to the micro-unit × ms; None if none was ever written.

    The ledger's money is exact without the gateways: what they know and the status does not yet, is whether a pod was
    busy or idle, and both cost the same. The phases are taken as they stand.
    """
    as_of_ms, since_ms = epoch_ms(cost.as_of), epoch_ms(cost.since)
    if as_of_ms is None or since_ms is None:
        return None
    meter = meter_of(cost)
    rows = _rows_at(meter, cost, as_of_ms)
    moved = meter.egress.routes
    spent = cost_of(rows, meter.settled, moved)
    said = cost.gpu_ms
    failed = sum((row.phases for row in rows), start=meter.settled.phases).failed_starting
    return Metered(
        windows=windows_of(cost),
        total=Reading(
            Phases(said.starting, said.busy, said.idle, said.terminating, failed),
            None if spent is None else spent.spent,
            tokens.prompt,
            tokens.completion,
            moved_cost(moved),
            sum(route.bytes for route in moved),
        ),
        since_ms=since_ms,
        as_of_ms=as_of_ms,
        running=any(pod.finished_ms is None for pod in meter.live)
        or any(node.removed_ms is None for node in meter.nodes),
    )


def _rows_at(meter: Meter, cost: CostStatus, as_of_ms: int) -> tuple[Row, ...]:
    """Return the rows as of the status. `asOf` is cut to a millisecond that its figures are rounded to: try both."""
    for at_ms in (as_of_ms, as_of_ms + 1):
        rows = totals(meter, Demand(), at_ms)
        phases = sum((row.phases for row in rows), start=meter.settled.phases)
        if gpu_ms(phases).total == cost.gpu_ms.total:
            return rows
    return totals(meter, Demand(), as_of_ms)


def currencies_of(cost: CostStatus) -> tuple[str, ...]:
    """Return the currencies of the prices at which anything was used."""
    meter = meter_of(cost)
    used = {row.price.currency for row in meter.rows if _amount(row)}
    used |= {segment.price.currency for node in meter.nodes for segment in node.segments}
    used |= {segment.price.currency for pod in meter.live for segment in pod.segments}
    used |= {route.currency for route in meter.egress.routes if route.bytes}
    return tuple(sorted(used | ({meter.settled.currency} if meter.settled.rows else set())))


def _amount(row: Row) -> int:
    return row.phases.accrued + row.rounding + row.node


def _notes(
    line: Line, month: Month, now_ms: int, currencies: tuple[str, ...], cost: CostStatus
) -> list[str]:
    use, found = line.use, list[str]()
    if use.reach is Reach.NONE and line.as_of_ms <= month.start_ms:
        found.append(
            f"{line.key}: nothing is known of {month}: its status is of {instant(line.as_of_ms)}, and a pod ran then."
        )
    elif use.reach is Reach.NONE:
        found.append(
            f"{line.key}: nothing is known of {month}: its status has readings of the day before "
            f"{instant(line.as_of_ms)} and of the beginning of that month only."
        )
    elif use.reach is Reach.PART:
        found.append(
            f"{line.key}: only what it used after {instant(use.since_ms)} is counted: "
            "readings before that are gone."
        )
    if use.reach is Reach.SO_FAR and now_ms - use.until_ms > STALE_MS:
        found.append(
            f"{line.key}: counted up to {instant(use.until_ms)}, when its status was last written; a pod ran then. "
            "Is the controller running?"
        )
    if use.total.egress_bytes:
        found.append(_moved(line))
    if use.total.spent is None and use.reach is not Reach.NONE:
        found.append(f"{line.key}: what it spent is unknown: {_unpriced(currencies, cost)}.")
    return found


def _moved(line: Line) -> str:
    total = line.use.total
    size = f"{money.gib(total.egress_bytes)} GiB of weights were moved between regions"
    if total.egress is None:
        return f"{line.key}: {size}."
    return f"{line.key}: {money.amount(total.egress)} {line.currency} of it is egress: {size}."


def _unpriced(currencies: tuple[str, ...], cost: CostStatus) -> str:
    if len(currencies) > 1:
        return f"its prices are in {' and '.join(currencies)}, and none is converted"
    regions = unpriced(meter_of(cost).egress.routes)
    if regions:
        return (
            f"weights were moved between regions, and {lacking(regions[0], cost.currency or 'USD')}"
        )
    nameless = sorted({row.gpu_class for row in cost.rows if row.per_gpu_hour is None})
    return f"GPUClass {', '.join(nameless) or '?'} has, or had, no price while a pod ran on it"


def instant(at_ms: int) -> str:
    """Return an instant as people and programs read it, in whole seconds."""
    return format_timestamp(moment(at_ms // 1000 * 1000))


def _name(obj: object) -> str:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name"):
        return "an object without a name"
    return f"{metadata.get('namespace') or 'default'}/{metadata['name']}"


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_fault(error)
    return f"{type(error).__name__}: {error}"
