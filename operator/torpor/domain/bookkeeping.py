"""The meter out of the status and back into it: the status is the only place where the ledger is kept."""

from __future__ import annotations

from decimal import Decimal

from torpor.api.status import (
    ClosedPod,
    GpuMs,
    LedgerRow,
    LivePrice,
    SettledCost,
    SettledRows,
)
from torpor.api.status import CostStatus as CostWords
from torpor.api.status import LivePod as LiveWords
from torpor.api.status import Mark as MarkWords
from torpor.domain import money
from torpor.domain.egresswords import egress_of, egress_words
from torpor.domain.ledger import WHOLE, Cost, LivePod, Meter, Price, Row, Segment, Settled
from torpor.domain.money import MICRO, micro
from torpor.domain.nodewords import stay_of, stay_words
from torpor.domain.phases import Phases
from torpor.domain.windows import Mark, Reading, Windows


def meter_of(cost: CostWords) -> Meter:
    """Return the meter that a status holds."""
    prices = {row.price_id: _price(row) for row in cost.rows}
    return Meter(
        rows=tuple(
            Row(
                prices[row.price_id],
                _phases(row),
                row.always_on_gpu_ms,
                row.rounding_gpu_ms,
                row.unused_start_gpu_ms or 0,
                row.node_gpu_ms or 0,
            )
            for row in cost.rows
        ),
        live=tuple(_live(pod, prices) for pod in cost.live),
        closed=tuple((pod.uid, pod.at_ms) for pod in cost.closed),
        always_on_ms=cost.always_on_settled_ms,
        estimated_ms=cost.estimated_ms,
        settled=_settled(cost.settled),
        egress=egress_of(cost.egress),
        nodes=tuple(stay_of(node, prices) for node in cost.nodes),
    )


def ledger_words(meter: Meter) -> dict[str, object]:
    """Return the fields of `status.cost` that are the meter; figures for people are added by `domain.status`."""
    held = {row.price.id for row in meter.rows}
    used = [at.price for pod in meter.live for at in pod.segments]
    used += [at.price for stay in meter.nodes for at in stay.segments]
    opened = {price.id: price for price in used if price.id not in held}
    rows = (*meter.rows, *(Row(price) for price in opened.values()))
    return {
        "rows": tuple(_row_words(row) for row in rows),
        "live": tuple(_live_words(pod) for pod in meter.live),
        "nodes": tuple(stay_words(stay) for stay in meter.nodes),
        "closed": tuple(ClosedPod(uid=uid, at_ms=at) for uid, at in meter.closed),
        "always_on_settled_ms": meter.always_on_ms,
        "estimated_ms": meter.estimated_ms,
        "settled": _settled_words(meter.settled),
        "egress": egress_words(meter.egress),
    }


def _price(row: LedgerRow) -> Price:
    return Price(
        row.price_id,
        row.gpu_class,
        row.capacity_type,
        row.currency,
        micro(row.per_gpu_hour),
        row.granularity_seconds or 0,
        row.minimum_seconds or 0,
        row.fraction or WHOLE,
        bool(row.whole_node),
    )


def _phases(row: LedgerRow | SettledRows | MarkWords) -> Phases:
    spent = row.gpu_ms
    return Phases(
        spent.starting, spent.busy, spent.idle, spent.terminating, row.failed_start_gpu_ms
    )


def _row_words(row: Row) -> LedgerRow:
    price = row.price
    return LedgerRow(
        price_id=price.id,
        gpu_class=price.gpu_class,
        capacity_type=price.capacity_type,
        per_gpu_hour=None
        if price.micro_per_hour is None
        else Decimal(price.micro_per_hour) / MICRO,
        currency=price.currency,
        gpu_ms=gpu_ms(row.phases),
        failed_start_gpu_ms=row.phases.failed_starting,
        always_on_gpu_ms=row.always_on,
        rounding_gpu_ms=row.rounding,
        unused_start_gpu_ms=row.unused or None,
        node_gpu_ms=row.node or None,
        whole_node=price.whole_node or None,
        granularity_seconds=price.granularity_s or None,
        minimum_seconds=price.minimum_s or None,
        fraction=None if price.fraction == WHOLE else price.fraction,
    )


def _mark(words: MarkWords) -> Mark:
    moved = words.egress_bytes or 0
    reading = Reading(
        _phases(words),
        _amount(words.spent),
        words.prompt,
        words.completion,
        _amount(words.egress) if moved else 0,
        moved,
    )
    return Mark(words.at_ms, reading)


def _amount(text: str | None) -> money.Exact | None:
    return None if text is None else money.read(text)


def _amount_words(amount: money.Exact | None) -> str | None:
    return None if amount is None else money.written(amount)


def _mark_words(mark: Mark) -> MarkWords:
    reading = mark.reading
    return MarkWords(
        at_ms=mark.at_ms,
        gpu_ms=gpu_ms(reading.phases),
        failed_start_gpu_ms=reading.phases.failed_starting,
        spent=_amount_words(reading.spent),
        prompt=reading.prompt,
        completion=reading.completion,
        egress=_amount_words(reading.egress) if reading.egress_bytes else None,
        egress_bytes=reading.egress_bytes or None,
    )


def _settled(words: SettledRows | None) -> Settled:
    if words is None:
        return Settled()
    cost = words.cost
    return Settled(
        rows=words.rows,
        phases=_phases(words),
        always_on=words.always_on_gpu_ms,
        rounding=words.rounding_gpu_ms,
        unused=words.unused_start_gpu_ms or 0,
        node=words.node_gpu_ms or 0,
        currency=words.currency,
        cost=Cost(
            money.read(cost.starting),
            money.read(cost.busy),
            money.read(cost.idle),
            money.read(cost.terminating),
            money.read(cost.failed_start),
            money.read(cost.rounding),
            unused=money.read(cost.unused_start or "0"),
            node=money.read(cost.node or "0"),
        ),
        always_on_cost=money.read(cost.always_on),
    )


def _settled_words(settled: Settled) -> SettledRows | None:
    if not settled.rows:
        return None
    parts = settled.cost
    return SettledRows(
        rows=settled.rows,
        currency=settled.currency,
        gpu_ms=gpu_ms(settled.phases),
        failed_start_gpu_ms=settled.phases.failed_starting,
        always_on_gpu_ms=settled.always_on,
        rounding_gpu_ms=settled.rounding,
        unused_start_gpu_ms=settled.unused or None,
        node_gpu_ms=settled.node or None,
        cost=SettledCost(
            starting=money.written(parts.starting),
            busy=money.written(parts.busy),
            idle=money.written(parts.idle),
            terminating=money.written(parts.terminating),
            failed_start=money.written(parts.failed_starting),
            rounding=money.written(parts.rounding),
            unused_start=money.written(parts.unused) if parts.unused else None,
            node=money.written(parts.node) if parts.node else None,
            always_on=money.written(settled.always_on_cost),
        ),
    )


def windows_of(cost: CostWords) -> Windows:
    """Return the marks that a status holds."""
    month = cost.month_start
    return Windows(
        tuple(_mark(words) for words in cost.hours), None if month is None else _mark(month)
    )


def window_words(windows: Windows) -> dict[str, object]:
    """Return the fields of `status.cost` that are the marks."""
    month = windows.month
    return {
        "hours": tuple(_mark_words(mark) for mark in windows.hours),
        "month_start": None if month is None else _mark_words(month),
    }


def gpu_ms(phases: Phases) -> GpuMs:
    """Return phases as the status says them."""
    return GpuMs(
        starting=phases.starting, busy=phases.busy, idle=phases.idle, terminating=phases.terminating
    )


def _live(words: LiveWords, prices: dict[str, Price]) -> LivePod:
    segments = tuple(
        Segment(
            prices.get(at.price_id) or Price(at.price_id, at.price_id.partition("@")[0]),
            at.from_ms,
            at.busy_ms,
        )
        for at in words.prices
    )
    return LivePod(
        uid=words.uid,
        name=words.name,
        gpus=words.gpus,
        start_ms=words.start_ms,
        segments=segments,
        first_ready_ms=words.first_ready_ms,
        deleted_ms=words.deleted_ms,
        finished_ms=words.finished_ms,
        busy_through_ms=words.busy_through_ms,
    )


def _live_words(pod: LivePod) -> LiveWords:
    return LiveWords(
        uid=pod.uid,
        name=pod.name,
        prices=tuple(
            LivePrice(price_id=at.price.id, from_ms=at.from_ms, busy_ms=at.busy_ms)
            for at in pod.segments
        ),
        gpus=pod.gpus,
        start_ms=pod.start_ms,
        first_ready_ms=pod.first_ready_ms,
        deleted_ms=pod.deleted_ms,
        finished_ms=pod.finished_ms,
        busy_through_ms=pod.busy_through_ms,
    )
