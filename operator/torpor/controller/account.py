"""The money of one pass: the meter brought up to date, and judged by what the spec says of budgets and offers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.endpoint.cost import BudgetAction
from torpor.api.status import CostStatus, TokensStatus
from torpor.controller import moving
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
from torpor.domain.money import Exact
from torpor.domain.nodestays import nodes_booked, nodes_noted
from torpor.domain.observation import Demand, combined
from torpor.domain.remembering import epoch_ms, tokens_counted
from torpor.domain.windows import Reading, Windows
from torpor.domain.windows import kept as windows_kept


@dataclass(frozen=True, slots=True)
class Account:
    """What a pass knows of the endpoint's money, as of an instant."""

    meter: Meter
    tokens: TokensStatus
    cost: CostStatus
    standing: Standing | None = None
    """How the budget stands; None without one."""
    comparison: Comparison | None = None
    """The same tokens at another's price; None without one to compare with."""


@dataclass(frozen=True, slots=True)
class _Books:
    """The meter brought up to date, and what it is read with."""

    meter: Meter
    windows: Windows
    demand: Demand
    tokens: TokensStatus
    currency: str
    since: datetime

    def read(self, now_ms: int) -> Reading:
        return read_meter(self.meter, self.demand, self.tokens, now_ms)


def draw_account(endpoint: InferenceEndpoint, picture: Picture, now: datetime) -> Account:
    """Return the account as of *now*."""
    books = _books(endpoint, picture, now)
    cost = cost_words(
        books.meter,
        books.windows,
        books.demand,
        books.tokens,
        books.currency,
        books.since,
        now,
        moving.ahead(endpoint, picture, books.currency),
    )
    now_ms = epoch_ms(now) or 0
    standing = _standing(endpoint, books, now_ms)
    comparison = _comparison(endpoint, picture, books, now_ms)
    judged = {
        "budget": budget_words(standing),
        "comparison": comparison_words(comparison),
    }
    cost = cost.model_copy(update=judged)
    return Account(books.meter, books.tokens, cost, standing, comparison)


def standing_of(endpoint: InferenceEndpoint, picture: Picture, now: datetime) -> Standing | None:
    """Return how the budget stands before anything is decided; None without one."""
    if endpoint.spec.cost is None or endpoint.spec.cost.budget is None:
        return None
    return _standing(endpoint, _books(endpoint, picture, now), epoch_ms(now) or 0)


def _standing(endpoint: InferenceEndpoint, books: _Books, now_ms: int) -> Standing | None:
    words = endpoint.spec.cost.budget if endpoint.spec.cost else None
    if words is None:
        return None
    budget = Budget(money.units(words.monthly), words.action is BudgetAction.REFUSE_WAKE)
    return assess(budget, books.windows, books.read(now_ms), books.currency, now_ms)


def _comparison(
    endpoint: InferenceEndpoint, picture: Picture, books: _Books, now_ms: int
) -> Comparison | None:
    words = endpoint.spec.cost.compare_with if endpoint.spec.cost else None
    if words is None:
        return None
    offer = Offer(
        words.name,
        money.known_micro(words.input_per_million),
        money.known_micro(words.output_per_million),
    )
    always_on = _always_on(endpoint, picture)
    return compare(offer, books.windows, books.read(now_ms), always_on, books.currency, now_ms)


def _always_on(endpoint: InferenceEndpoint, picture: Picture) -> Exact | None:
    """Micro-units per hour of the replicas that would run if none slept."""
    chosen = picture.placement.gpu_class
    price = chosen.micro_per_unit if chosen else None
    if price is None:
        return None
    return price * picture.placement.gpus * _floor(endpoint)


def _floor(endpoint: InferenceEndpoint) -> int:
    return max(1, endpoint.spec.scaling.min_replicas)


def _books(endpoint: InferenceEndpoint, picture: Picture, now: datetime) -> _Books:
    """Bring the meter and its windows up to date."""
    before, chosen, now_ms = endpoint.status, picture.placement.gpu_class, picture.now_ms
    tariffs = Catalogue(picture.classes, picture.nodes).tariff
    demand = picture.demand
    since_ms = picture.direct.since_ms if picture.direct else None
    tokens = tokens_counted(before.tokens, demand, since_ms)
    since = before.cost.since or endpoint.metadata.creation_timestamp or now
    pods = combined(picture.pods, demand)
    currency = chosen.currency if chosen else before.cost.currency or "USD"
    unbooked = noted(meter_of(before.cost), pods, tariffs, now_ms)
    unbooked = nodes_noted(unbooked, picture.tenancies, now_ms)
    seen, counted = moving.noted(unbooked.egress, endpoint, picture, currency)
    unbooked = replace(unbooked, egress=seen)
    windows = windows_kept(
        windows_of(before.cost),
        lambda at_ms: read_meter(unbooked, demand, tokens, at_ms),
        epoch_ms(since) or 0,
        epoch_ms(now) or now_ms,  # as `asOf` says it: an edge in between is read now or never
        epoch_ms(before.cost.as_of),
    )
    meter = nodes_booked(booked(unbooked, pods, demand, now_ms), now_ms)
    meter = replace(meter, egress=counted)
    if chosen is None:
        return _Books(meter, windows, demand, tokens, currency, since)
    if meter.always_on_ms is None:  # an endpoint that never sleeps would have run since it was made
        created = epoch_ms(endpoint.metadata.creation_timestamp)
        meter = replace(meter, always_on_ms=created)
    held = next((r.price for r in meter.rows if r.price.id == before.placement.price_id), None)
    gpus = picture.placement.gpus * _floor(endpoint)
    meter = stay_on(meter, tariff_of(chosen), gpus, now_ms, held)
    return _Books(meter, windows, demand, tokens, currency, since)
