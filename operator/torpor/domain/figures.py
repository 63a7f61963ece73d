"""The figures and columns of the status: what the meter means in money, and the short texts of `kubectl get`."""

from __future__ import annotations

from datetime import datetime

from torpor.api.status import CostStatus, Display, PlacementStatus, Rejected, TokensStatus
from torpor.domain import costing, money
from torpor.domain.bookkeeping import gpu_ms, ledger_words, window_words
from torpor.domain.catalogue import price_of
from torpor.domain.costfigures import phase_costs, read_rows, token_prices, window
from torpor.domain.egress import Expected
from torpor.domain.egresswords import egress_words
from torpor.domain.ledger import Meter
from torpor.domain.metering import totals
from torpor.domain.observation import Demand, PodSeen
from torpor.domain.placement import Placement
from torpor.domain.remembering import epoch_ms
from torpor.domain.windows import Windows, day_before


def cost_words(
    meter: Meter,
    windows: Windows,
    demand: Demand,
    tokens: TokensStatus,
    currency: str,
    since: datetime,
    now: datetime,
    ahead: Expected | None = None,
) -> CostStatus:
    """Return `status.cost`: the ledger, and the figures computed from it as of *now*; *ahead* is what will be moved."""
    now_ms = epoch_ms(now) or 0
    rows = totals(meter, demand, now_ms)
    moved = meter.egress.until(now_ms)
    cost = costing.cost_of(rows, meter.settled, moved)
    always = costing.always_on_micro_ms(rows, meter.settled)
    rate = costing.rate_micro_per_hour(meter)
    reading = read_rows(rows, meter.settled, cost, tokens, moved)
    spent = reading.spent
    return CostStatus.model_validate(
        ledger_words(meter)
        | window_words(windows)
        | {
            "currency": currency,
            "per_second": money.per_second(rate),
            "per_hour": money.per_hour(rate),
            "spent": money.amount(spent),
            "saved": None if spent is None or always is None else money.amount(always - spent),
            "per_million_tokens": money.per_million_tokens(spent, reading.tokens),
            "token_prices": token_prices(cost, tokens.prompt, tokens.completion),
            "last_day": window(reading, day_before(windows, now_ms)) if windows.hours else None,
            "month": window(reading, windows.month) if windows.month else None,
            "by_phase": phase_costs(costing.cost_of(rows, meter.settled)),
            "egress": egress_words(meter.egress, ahead),
            "gpu_ms": gpu_ms(reading.phases),
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
