"""The status as memory: the meter, the last good listing and the last failure, out of the status and back into it.

A restarted controller knows only what is here, so both directions lose nothing (a property that tests hold).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from torpor.api.conditions import Condition, ConditionType, Reason
from torpor.api.status import (
    ClosedPod,
    FailureStatus,
    GpuMs,
    LedgerRow,
    TokenSource,
    TokensStatus,
    WeightsStatus,
)
from torpor.api.status import CostStatus as CostWords
from torpor.api.status import LivePod as LiveWords
from torpor.domain.failing import Failure
from torpor.domain.ledger import LivePod, Meter, Phases, Price, Row
from torpor.domain.money import micro
from torpor.domain.observation import Demand, Fault
from torpor.domain.prewarmjobs import Weights

MICRO = Decimal(1_000_000)
UNHEARD = 8
"""Gateways no longer heard of whose last token counters are kept, the latest started first."""


def moment(epoch_ms: int) -> datetime:
    """Return epoch ms as an aware UTC instant."""
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).replace(microsecond=epoch_ms % 1000 * 1000)


def epoch_ms(instant: datetime | None) -> int | None:
    """Return an aware instant as epoch ms."""
    return None if instant is None else round(instant.timestamp() * 1000)


def meter_of(cost: CostWords) -> Meter:
    """Return the meter that a status holds."""
    prices = {row.price_id: _price(row) for row in cost.rows}
    return Meter(
        rows=tuple(
            Row(prices[row.price_id], _phases(row), row.always_on_gpu_ms) for row in cost.rows
        ),
        live=tuple(_live(pod, prices) for pod in cost.live),
        closed=tuple((pod.uid, pod.at_ms) for pod in cost.closed),
        always_on_ms=cost.always_on_settled_ms,
        estimated_ms=cost.estimated_ms,
    )


def ledger_words(meter: Meter) -> dict[str, object]:
    """Return the fields of `status.cost` that are the meter; figures for people are added by `domain.status`."""
    held = {row.price.id for row in meter.rows}
    opened = {pod.price.id: pod.price for pod in meter.live if pod.price.id not in held}
    rows = (*meter.rows, *(Row(price) for price in opened.values()))
    return {
        "rows": tuple(_row_words(row) for row in rows),
        "live": tuple(_live_words(pod) for pod in meter.live),
        "closed": tuple(ClosedPod(uid=uid, at_ms=at) for uid, at in meter.closed),
        "always_on_settled_ms": meter.always_on_ms,
        "estimated_ms": meter.estimated_ms,
    }


def failure_of(words: FailureStatus | None) -> Failure | None:
    """Return the failure that a status holds."""
    if words is None:
        return None
    at = epoch_ms(words.at) or 0
    retry_at = epoch_ms(words.retry_at) or at
    return Failure(
        words.reason, words.message, words.count, at, retry_at, words.generation, words.pod or ""
    )


def failure_words(failure: Failure | None) -> FailureStatus | None:
    """Return a failure as the status says it."""
    if failure is None:
        return None
    return FailureStatus(
        reason=failure.reason,
        message=failure.message,
        count=failure.count,
        at=moment(failure.at_ms),
        retry_at=moment(failure.retry_at_ms),
        generation=failure.generation,
        pod=failure.pod or None,
    )


def weights_of(words: WeightsStatus) -> Weights:
    """Return the last good listing that a status holds."""
    return Weights(
        spec=words.spec or "",
        hash=words.hash or "",
        bytes=words.bytes or 0,
        files=words.files or 0,
        verified=words.verified or "",
        attempt=words.attempt,
        parts=words.parts,
        sources=words.sources,
        lora_rank=words.lora_rank or 0,
        listed_ms=epoch_ms(words.listed_at) or 0,
        doubt=words.doubt or "",
        claim_ready=bool(words.in_claim),
    )


def weights_words(weights: Weights) -> WeightsStatus:
    """Return a listing as the status says it; nodes are added by who knows them."""
    return WeightsStatus(
        hash=weights.hash or None,
        parts=weights.parts,
        sources=weights.sources,
        lora_rank=weights.lora_rank or None,
        listed_at=moment(weights.listed_ms) if weights.listed_ms else None,
        doubt=weights.doubt or None,
        in_claim=weights.claim_ready or None,
        spec=weights.spec,
        attempt=weights.attempt,
        bytes=weights.bytes or None,
        files=weights.files or None,
        verified=weights.verified or None,
    )


def weights_fault_of(conditions: Iterable[Condition]) -> Fault | None:
    """Return what is wrong with the weights as the status says it, if that is why the endpoint is not ready."""
    held = {found.type: found for found in conditions}
    ready, weights = held.get(ConditionType.READY), held.get(ConditionType.WEIGHTS_READY)
    if ready is None or weights is None or (ready.status, weights.status) != ("False", "False"):
        return None
    reason = Reason.of(weights.reason)
    if ready.reason != weights.reason or reason is Reason.WEIGHTS_FETCHING:
        return None
    return Fault(weights.reason, weights.message, reason.retryable)


def tokens_counted(before: TokensStatus, demand: Demand) -> TokensStatus:
    """Add what the gateways have counted since the status was written.

    Each gateway's counters begin at 0 when it starts, so a gateway with another start is another source. Under one
    start they never fall: a smaller count is an older word and adds nothing. A gateway that is not heard of keeps what
    it had added, and its last counters are remembered: it may only be out of sight.
    """
    sources = {source.gateway: source for source in before.sources}
    prompt, completion = before.prompt, before.completion
    for report in demand.reports:
        last = sources.get(report.gateway)
        if last is None or last.started_at_ms != report.started_ms:
            last = TokenSource(gateway=report.gateway, started_at_ms=report.started_ms)
        now = last.model_copy(
            update={
                "prompt": max(last.prompt, report.tokens.prompt),
                "completion": max(last.completion, report.tokens.completion),
            }
        )
        prompt += now.prompt - last.prompt
        completion += now.completion - last.completion
        sources[report.gateway] = now
    known = {report.gateway for report in demand.reports} | set(demand.unreachable)
    unheard = sorted(sources.keys() - known, key=lambda name: -sources[name].started_at_ms)
    kept = tuple(sources[name] for name in sorted(known & sources.keys() | {*unheard[:UNHEARD]}))
    return TokensStatus(prompt=prompt, completion=completion, sources=kept)


def _price(row: LedgerRow) -> Price:
    return Price(
        row.price_id, row.gpu_class, row.capacity_type, row.currency, micro(row.per_gpu_hour)
    )


def _phases(row: LedgerRow) -> Phases:
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
    )


def gpu_ms(phases: Phases) -> GpuMs:
    """Return phases as the status says them."""
    return GpuMs(
        starting=phases.starting, busy=phases.busy, idle=phases.idle, terminating=phases.terminating
    )


def _live(words: LiveWords, prices: dict[str, Price]) -> LivePod:
    price = prices.get(words.price_id) or Price(words.price_id, words.price_id.partition("@")[0])
    return LivePod(
        uid=words.uid,
        name=words.name,
        price=price,
        gpus=words.gpus,
        start_ms=words.start_ms,
        first_ready_ms=words.first_ready_ms,
        deleted_ms=words.deleted_ms,
        finished_ms=words.finished_ms,
        busy_ms=words.busy_ms,
        busy_through_ms=words.busy_through_ms,
    )


def _live_words(pod: LivePod) -> LiveWords:
    return LiveWords(
        uid=pod.uid,
        name=pod.name,
        price_id=pod.price.id,
        gpus=pod.gpus,
        start_ms=pod.start_ms,
        first_ready_ms=pod.first_ready_ms,
        deleted_ms=pod.deleted_ms,
        finished_ms=pod.finished_ms,
        busy_ms=pod.busy_ms,
        busy_through_ms=pod.busy_through_ms,
    )
