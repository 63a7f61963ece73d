"""The money of one pass: the meter brought up to date, and judged by what the spec says of budgets and offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.cost import BudgetAction
from torpor.api.status import CostStatus, TokensStatus
from torpor.controller.picture import Picture
from torpor.domain import money
from torpor.domain.bookkeeping import meter_of, windows_of
from torpor.domain.budget import Budget, Standing, assess
from torpor.domain.catalogue import Catalogue, tariff_of
from torpor.domain.comparing import Comparison, Offer, compare
from torpor.domain.costfigures import budget_words, comparison_words, read_meter
from torpor.domain.figures import cost_words
from torpor.domain.ledger import Meter
from torpor.domain.metering import booked, noted, stay_on
from torpor.domain.observation import combined
from torpor.domain.remembering import epoch_ms, tokens_counted
from torpor.domain.windows import Windows
from torpor.domain.windows import kept as windows_kept


@dataclass(frozen=True, slots=True)
class Account:
    """What a pass knows of the endpoint's money, as of an instant."""

    meter: Meter
    windows: Windows
    tokens: TokensStatus
    cost: CostStatus
    standing: Standing | None = None
    """How the budget stands; None without one."""
    comparison: Comparison | None = None
    """The same tokens at another's price; None without one to compare with."""


def draw_account(endpoint: InferenceEndpoint, picture: Picture, now: datetime) -> Account:
    """Return the account as of *now*."""
    before, demand = endpoint.status, picture.demand
    tokens = tokens_counted(before.tokens, demand)
    since = before.cost.since or endpoint.metadata.creation_timestamp or now
    meter, windows = _metered(endpoint, picture, tokens, since, now)
    chosen = picture.placement.gpu_class
    currency = chosen.currency if chosen else before.cost.currency or "USD"
    cost = cost_words(meter, windows, demand, tokens, currency, since, now)
    now_ms = epoch_ms(now) or 0
    standing, comparison = _judged(endpoint, picture, meter, windows, tokens, currency, now_ms)
    judged = {
        "budget": budget_words(standing),
        "comparison": comparison_words(comparison),
    }
    return Account(meter, windows, tokens, cost.model_copy(update=judged), standing, comparison)


def standing_of(endpoint: InferenceEndpoint, picture: Picture, now: datetime) -> Standing | None:
    """Return how the budget stands before anything is decided; None without one."""
    if endpoint.spec.cost is None or endpoint.spec.cost.budget is None:
        return None
    return draw_account(endpoint, picture, now).standing


def _judged(
    endpoint: InferenceEndpoint,
    picture: Picture,
    meter: Meter,
    windows: Windows,
    tokens: TokensStatus,
    currency: str,
    now_ms: int,
) -> tuple[Standing | None, Comparison | None]:
    words = endpoint.spec.cost
    if words is None:
        return None, None
    reading = read_meter(meter, picture.demand, tokens, now_ms)
    standing = comparison = None
    if words.budget is not None:
        refuses = words.budget.action is BudgetAction.REFUSE_WAKE
        budget = Budget(money.units(words.budget.monthly), refuses)
        standing = assess(budget, windows, reading, currency, now_ms)
    if words.compare_with is not None:
        offer = Offer(
            words.compare_with.name,
            money.known_micro(words.compare_with.input_per_million),
            money.known_micro(words.compare_with.output_per_million),
        )
        always_on = _always_on(endpoint, picture)
        comparison = compare(offer, windows, reading, always_on, currency, now_ms)
    return standing, comparison


def _always_on(endpoint: InferenceEndpoint, picture: Picture) -> int | None:
    """Micro-units per hour of the replicas that would run if none slept."""
    chosen = picture.placement.gpu_class
    if chosen is None or chosen.micro_per_hour is None:
        return None
    return chosen.micro_per_hour * picture.placement.gpus * _floor(endpoint)


def _floor(endpoint: InferenceEndpoint) -> int:
    return max(1, endpoint.spec.scaling.min_replicas)


def _metered(
    endpoint: InferenceEndpoint,
    picture: Picture,
    tokens: TokensStatus,
    since: datetime,
    now: datetime,
) -> tuple[Meter, Windows]:
    """Bring the meter and its windows up to date."""
    before, chosen, now_ms = endpoint.status, picture.placement.gpu_class, picture.now_ms
    tariffs = Catalogue(picture.classes, picture.nodes).tariff
    demand = picture.demand
    pods = combined(picture.pods, demand)
    unbooked = noted(meter_of(before.cost), pods, tariffs, now_ms)
    windows = windows_kept(
        windows_of(before.cost),
        lambda at_ms: read_meter(unbooked, demand, tokens, at_ms),
        epoch_ms(since) or 0,
        epoch_ms(now) or now_ms,  # as `asOf` says it: an edge in between is read now or never
        epoch_ms(before.cost.as_of),
    )
    meter = booked(unbooked, pods, demand, now_ms)
    if chosen is None:
        return meter, windows
    if meter.always_on_ms is None:  # an endpoint that never sleeps would have run since it was made
        created = epoch_ms(endpoint.metadata.creation_timestamp)
        meter = replace(meter, always_on_ms=created)
    held = next((r.price for r in meter.rows if r.price.id == before.placement.price_id), None)
    gpus = picture.placement.gpus * _floor(endpoint)
    return stay_on(meter, tariff_of(chosen), gpus, now_ms, held), windows
