"""Endpoints whose status the controller's own arithmetic wrote, pass by pass, and what their GPUs really did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Any

from tests.domain.metered_world import TruePod
from torpor.api.status import CostStatus, TokensStatus
from torpor.domain import egress
from torpor.domain.bookkeeping import meter_of, windows_of
from torpor.domain.costfigures import read_meter
from torpor.domain.egress import Download
from torpor.domain.figures import cost_words
from torpor.domain.ledger import Price
from torpor.domain.metering import Tariffs, booked, noted, stay_on
from torpor.domain.observation import Demand, GatewayReport
from torpor.domain.pricing import Tariff
from torpor.domain.remembering import epoch_ms, moment
from torpor.domain.windows import kept

Json = dict[str, Any]
MINUTE = 60_000
HOUR = 3_600_000
L40S = Price("l40s@1.861USD", "l40s", "on-demand", "USD", 1_861_000)
ROUNDED = Price("l40s@1.861USD/60s", "l40s", "on-demand", "USD", 1_861_000, granularity_s=60)
SEVENTH = Price("h100-1g@6.88USD", "h100", "spot", "USD", 6_880_000, fraction=Fraction(1, 7))
EURO = Price("l4@0.7EUR", "l4", "on-demand", "EUR", 700_000)
UNPRICED = Price("b200@unknown", "b200", "on-demand", "USD", None)


def at(text: str) -> int:
    """Return an instant such as 2026-11-26T10:00."""
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1000


def pod(uid: str, start: int, ready: int, lasts: int, gpus: int = 1, kind: str = "l40s") -> TruePod:
    """A pod that starts at *start*, takes *ready* ms to be ready, and ends *lasts* ms after its start."""
    end = start + lasts
    return TruePod(uid, kind, gpus, start, start + ready, end - 5_000, end, end + 500)


def used(pods: Sequence[TruePod], since: int, until: int) -> int:
    """Return the GPU-ms that pods really held between two instants."""
    return sum(
        max(0, min(pod.finished, until) - max(pod.scheduled, since)) * pod.gpus for pod in pods
    )


def written(
    pods: Sequence[TruePod],
    made: int,
    passes: Sequence[int],
    *prices: Price,
    downloads: Sequence[Download] = (),
    per_gib: int | None = 20_000,
) -> tuple[CostStatus, TokensStatus]:
    """Return cost and tokens of the status after passes at these instants, each from what the one before had stored."""
    first, tariffs = (prices or (L40S,))[0], _tariffs(prices or (L40S,))
    cost, tokens = CostStatus(), TokensStatus()
    for now in passes:
        seen = [found for pod in pods if (found := pod.seen(now, since=0)) is not None]
        demand = Demand((GatewayReport("gateway-0", now, made, busy=_busy(pods, now)),))
        tokens = tokens_at(pods, made, now)
        unbooked = noted(meter_of(cost), seen, tariffs, now)
        there = [one for one in downloads if one.at_ms <= now]
        moved = egress.noted(unbooked.egress, there, lambda _: per_gib, first.currency, now)
        unbooked = replace(unbooked, egress=moved)
        reading_at = partial(read_meter, unbooked, demand, tokens)
        windows = kept(windows_of(cost), reading_at, made, now, epoch_ms(cost.as_of))
        meter = stay_on(booked(unbooked, seen, demand, now), _tariff(first), 1, now)
        moved = egress.booked(moved, [one.uid for one in there], now)
        meter = replace(meter, egress=moved)
        words = cost_words(
            meter, windows, demand, tokens, first.currency, moment(made), moment(now)
        )
        cost = CostStatus.model_validate(words.to_dict())
    return cost, tokens


def tokens_at(pods: Sequence[TruePod], made: int, now: int) -> TokensStatus:
    """Return tokens in proportion to the time that GPUs were held."""
    held = used(pods, made, now)
    return TokensStatus(prompt=held // 10, completion=held // 40)


def _busy(pods: Sequence[TruePod], now: int) -> dict[str, tuple[tuple[int, int | None], ...]]:
    """Every pod has requests for the first half of its serving life."""
    found: dict[str, tuple[tuple[int, int | None], ...]] = {}
    for pod in pods:
        ready, deleted = pod.ready or pod.finished, pod.deleted or pod.finished
        middle = (ready + deleted) // 2
        if ready <= now and now - middle < 600_000:
            found[pod.uid] = ((ready, middle if middle <= now else None),)
    return found


def _tariffs(prices: Sequence[Price]) -> Tariffs:
    by_class = {price.gpu_class: _tariff(price) for price in prices}
    return lambda pod, _billed: by_class.get(pod.gpu_class)


def _tariff(price: Price) -> Tariff:
    return Tariff(
        Price(f"{price.gpu_class}@unknown", price.gpu_class, currency=price.currency),
        ((0, price),),
    )


def endpoint(
    name: str, cost: CostStatus, tokens: TokensStatus, wakes: int = 0, **changes: Any
) -> Json:
    """Return an InferenceEndpoint as the API server gives it."""
    metadata = {"name": name, "namespace": "team-a", "uid": f"uid-{name}", "labels": {}}
    return {
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": metadata | changes.get("metadata", {}),
        "spec": {"model": {"source": "s3://models/x/"} | changes.get("model", {})},
        "status": {
            "cost": cost.to_dict(),
            "tokens": tokens.to_dict(),
            "wakes": {"count": wakes},
        },
    }


def every(minutes: int, since: int, until: int) -> list[int]:
    """Return instants so many minutes apart, the last one included."""
    return [*range(since + minutes * MINUTE, until, minutes * MINUTE), until]
