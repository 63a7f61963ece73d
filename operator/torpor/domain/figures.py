"""The figures and columns of the status: what the meter means in money, and the short texts of `kubectl get`."""

from __future__ import annotations

from datetime import datetime

from torpor.api.status import (
    CostStatus,
    Display,
    PhaseCosts,
    PlacementStatus,
    Rejected,
    TokensStatus,
)
from torpor.domain import ledger, money
from torpor.domain.bookkeeping import gpu_ms, ledger_words
from torpor.domain.catalogue import price_of
from torpor.domain.ledger import Cost, Meter
from torpor.domain.metering import totals
from torpor.domain.observation import Demand, PodSeen
from torpor.domain.placement import Placement
from torpor.domain.remembering import epoch_ms


def cost_words(
    meter: Meter,
    demand: Demand,
    tokens: TokensStatus,
    currency: str,
    since: datetime,
    now: datetime,
) -> CostStatus:
    """Return `status.cost`: the ledger, and the figures computed from it as of *now*."""
    rows = totals(meter, demand, epoch_ms(now) or 0)
    cost = ledger.cost_of(rows, meter.settled)
    spent = None if cost is None else cost.spent
    always = ledger.always_on_micro_ms(rows, meter.settled)
    rate = ledger.rate_micro_per_hour(meter)
    phases = sum((row.phases for row in rows), start=meter.settled.phases)
    return CostStatus.model_validate(
        ledger_words(meter)
        | {
            "currency": currency,
            "per_second": money.per_second(rate),
            "per_hour": money.per_hour(rate),
            "spent": money.amount(spent),
            "saved": None if spent is None or always is None else money.amount(always - spent),
            "per_million_tokens": money.per_million_tokens(
                spent, tokens.prompt + tokens.completion
            ),
            "by_phase": _phase_costs(cost),
            "gpu_ms": gpu_ms(phases),
            "as_of": now,
            "since": since,
        }
    )


def _phase_costs(cost: Cost | None) -> PhaseCosts | None:
    if cost is None:
        return None
    parts = cost.phases
    return PhaseCosts(
        starting=money.amount(parts.starting),
        busy=money.amount(parts.busy),
        idle=money.amount(parts.idle),
        terminating=money.amount(parts.terminating),
        rounding=money.amount(cost.rounding),
        failed_starts=money.amount(parts.failed_starting),
    )


def display_words(
    placement: Placement, pods: tuple[PodSeen, ...], max_replicas: int, model: str, cost: CostStatus
) -> Display:
    """Return the texts of the columns."""
    ready = sum(pod.ready and pod.gone_ms is None for pod in pods)
    chosen = placement.gpu_class
    gpu = None
    if chosen is not None:
        gpu = chosen.name if placement.gpus == 1 else f"{placement.gpus}×{chosen.name}"
    return Display(
        replicas=f"{ready}/{max_replicas}",
        gpu=gpu,
        model=model,
        cost_per_second=money.rounded(cost.per_second, 6),
    )


def placement_words(placement: Placement) -> PlacementStatus:
    """Return `status.placement`."""
    chosen = placement.gpu_class
    return PlacementStatus(
        gpu_class=chosen.name if chosen else None,
        gpus=placement.gpus or None,
        need_bytes=placement.need_bytes or None,
        price_id=price_of(chosen).id if chosen else None,
        rejected=tuple(Rejected(gpu_class=r.gpu_class, why=r.why) for r in placement.rejected),
    )
