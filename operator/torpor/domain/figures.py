"""The figures and columns of the status: what the meter means in money, and the short texts of `kubectl get`."""

from __future__ import annotations

from datetime import datetime

from torpor.api.status import CostStatus, Display, PlacementStatus, Rejected, TokensStatus
from torpor.domain import ledger, money
from torpor.domain.ledger import Meter, Phases, Price
from torpor.domain.metering import totals
from torpor.domain.observation import Demand, PodSeen
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.remembering import epoch_ms, gpu_ms, ledger_words


def price_of(gpu_class: GPUClassView) -> Price:
    """Return the price row of a GPU class: another price or capacity type is another row."""
    rate = "unknown" if gpu_class.micro_per_hour is None else str(gpu_class.micro_per_hour)
    return Price(
        id=f"{gpu_class.name}/{gpu_class.capacity_type}@{rate}{gpu_class.currency}",
        gpu_class=gpu_class.name,
        capacity_type=gpu_class.capacity_type,
        currency=gpu_class.currency,
        micro_per_hour=gpu_class.micro_per_hour,
    )


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
    spent, always = ledger.spent_micro_ms(rows), ledger.always_on_micro_ms(rows)
    rate = ledger.rate_micro_per_hour(meter)
    phases = sum((row.phases for row in rows), start=Phases())
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
            "gpu_ms": gpu_ms(phases),
            "as_of": now,
            "since": since,
        }
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
