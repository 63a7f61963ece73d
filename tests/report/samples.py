"""A cluster with everything that a statement may meet, on 26 November 2026 at noon."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.report.world import (
    EURO,
    HOUR,
    L40S,
    MINUTE,
    UNPRICED,
    at,
    endpoint,
    every,
    pod,
    written,
)
from torpor.domain.monthly import month_named
from torpor.report.statement import Statement, state

MADE = at("2026-11-24T09:00")
NOW = at("2026-11-26T12:00")
NOVEMBER = month_named("2026-11")


@cache
def _cluster() -> tuple[dict[str, Any], ...]:
    awake = [
        pod("a", MADE + HOUR, 40_000, 47 * MINUTE),
        pod("b", at("2026-11-26T07:50"), 38_000, 25 * MINUTE, gpus=2),
        pod("c", at("2026-11-26T11:55"), 41_000, 40 * MINUTE),
    ]
    small = [pod("d", at("2026-11-25T13:00"), 20_000, 3 * MINUTE, kind="l4")]
    dear = [pod("e", at("2026-11-26T09:00"), 90_000, 2 * HOUR, gpus=8, kind="b200")]
    passes = every(10, MADE, NOW)
    return (
        endpoint(
            "llama-8b", *written(awake, MADE, passes, L40S), wakes=3,
            metadata={"labels": {"team": "search"}},
        ),
        endpoint(
            "a-name-that-is-much-longer-than-any-column-of-a-table",
            *written(small, MADE, passes, EURO), wakes=1,
            metadata={"namespace": "customers"}, model={"name": "mistral-small"},
        ),
        endpoint("qwen-235b", *written(dear, MADE, passes, UNPRICED), wakes=1),
        endpoint("never-asked", *written([], MADE, passes, L40S)),
    )  # fmt: skip


def cluster() -> list[dict[str, Any]]:
    """Return the objects."""
    return list(_cluster())


def statement() -> Statement:
    """Return November's statement of them."""
    return state(cluster(), NOVEMBER, NOW)
