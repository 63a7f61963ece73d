"""Here or by the token elsewhere: both sides of the same day, the verdict, and where it turns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.conditions import ConditionStatus
from torpor.domain import money
from torpor.domain.comparing import Comparison, Offer, compare
from torpor.domain.windows import HOUR_MS, Mark, Reading, Windows

NOW = int(datetime(2026, 11, 21, 6, 30, tzinfo=UTC).timestamp()) * 1000
OFFER = Offer("hosted", input_micro=150_000, output_micro=600_000)
GPU = 1_861_000
BEFORE = Reading(spent=money.units(100), prompt=10_000_000, completion=2_000_000)


def day(
    spent: int | None, prompt: int = 0, completion: int = 0, always_on: int | None = GPU
) -> Comparison:
    """A comparison of a day that cost so much and brought so many tokens."""
    reading = Reading(
        spent=None if spent is None else (BEFORE.spent or 0) + money.units(spent),
        prompt=BEFORE.prompt + prompt,
        completion=BEFORE.completion + completion,
    )
    windows = Windows((Mark(NOW - 24 * HOUR_MS, BEFORE),))
    return compare(OFFER, windows, reading, always_on, "USD", NOW)


def test_both_sides_are_of_the_same_tokens_of_the_same_day() -> None:
    found = day(3, prompt=20_000_000, completion=5_000_000)
    assert found.here == money.units(3)
    assert found.there == money.units(6)  # 20 × 0.15 + 5 × 0.60
    assert found.tokens == 25_000_000
    assert found.ever_there == money.units(6) + money.units(27) // 10  # and 10 × 0.15 + 2 × 0.60


def test_the_break_even_is_the_traffic_that_pays_for_a_gpu_that_never_sleeps() -> None:
    found = day(3, prompt=20_000_000, completion=5_000_000)
    # 24 h × 1.861 = 44.664 a day, at 6 for 25 M tokens
    assert found.break_even == 186_100_000
    assert found.verdict(None) == (
        "True",
        "CheaperHere",
        "25000000 tokens since 2026-11-20T06:30Z cost 3 USD here, 6 USD at hosted; "
        "from 186100000 tokens a day on it is cheaper here without any sleep",
    )


def test_without_a_price_there_is_no_break_even_and_no_verdict() -> None:
    assert day(3, prompt=9, always_on=None).break_even is None
    assert day(None, prompt=9).verdict("True") == (
        "Unknown",
        "PriceUnknown",
        "what the last day cost is not known, so hosted cannot be compared",
    )


def test_a_quiet_day_changes_no_verdict() -> None:
    assert day(0).verdict("True") is None
    assert day(0).verdict("False") is None
    fresh = day(0).verdict(None)
    assert fresh is not None
    assert fresh[:2] == ("Unknown", "NothingToCompare")


def test_a_gpu_that_idles_is_dearer_than_no_token() -> None:
    verdict = day(5).verdict("True")
    assert verdict is not None
    assert verdict[:2] == ("False", "OfferCheaper")


@pytest.mark.parametrize(
    ("here", "was", "is_now"),
    [
        (60, None, "True"),
        (61, None, "False"),
        (66, "True", "True"),
        (67, "True", "False"),
        (55, "False", "False"),
        (54, "False", "True"),
        (60, "Unknown", "True"),
    ],
)
def test_the_verdict_turns_only_for_a_tenth(
    here: int, was: ConditionStatus | None, is_now: str
) -> None:
    verdict = day(here, prompt=200_000_000, completion=50_000_000).verdict(was)  # 60 there
    assert verdict is not None
    assert verdict[0] == is_now


@given(
    here=st.integers(0, 10**15),
    prompt=st.integers(0, 10**12),
    completion=st.integers(0, 10**12),
)
def test_a_verdict_is_stable_and_the_break_even_pays_for_the_day(
    here: int, prompt: int, completion: int
) -> None:
    reading = Reading(spent=here, prompt=prompt, completion=completion)
    windows = Windows((Mark(NOW - 24 * HOUR_MS, Reading()),))
    found = compare(OFFER, windows, reading, GPU, "USD", NOW)
    first = found.verdict(None)
    if first is not None and first[0] != "Unknown":
        assert found.verdict(first[0]) == first
    if found.break_even is not None:
        a_day = GPU * 24 * HOUR_MS
        assert found.there * found.break_even >= a_day * found.tokens
        assert found.there * (found.break_even - 1) < a_day * found.tokens
