from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain import money

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("price", "per_second", "per_hour"),
    [
        pytest.param("1.861", "0.0005169444", "1.861", id="L40S of the design's table"),
        pytest.param("0.8048", "0.0002235556", "0.8048", id="L4, rounded up"),
        pytest.param("6.880", "0.0019111111", "6.88", id="H100"),
        pytest.param("3.6", "0.001", "3.6", id="no trailing zeros"),
        pytest.param("36000", "10", "36000", id="a whole number keeps its own zeros"),
        pytest.param("0", "0", "0", id="free"),
        pytest.param("0.000001", "0.0000000003", "0.000001", id="the smallest price"),
    ],
)
def test_a_rate_per_second_has_ten_places_and_per_hour_six(
    price: str, per_second: str, per_hour: str
) -> None:
    micro = money.micro(Decimal(price))
    assert money.per_second(micro) == per_second
    assert money.per_hour(micro) == per_hour


@pytest.mark.parametrize(
    ("gpu_ms", "micro_per_hour", "said"),
    [
        pytest.param(HOUR, 1_861_000, "1.861", id="one hour of an L40S"),
        pytest.param(
            1000, 1_861_000, "0.000517", id="one second of it, as the design's table shows it"
        ),
        pytest.param(7 * 24 * HOUR, 6_880_000, "1155.84", id="a week of an H100"),
        pytest.param(1, 1, "0", id="too little to show"),
        pytest.param(0, 1_861_000, "0", id="nothing"),
        pytest.param(-HOUR, 2_500_000, "-2.5", id="saved may be negative"),
        pytest.param(-1, 1, "0", id="never minus zero"),
        pytest.param(HOUR // 2, 1, "0", id="half a micro-unit goes to the even 0"),
        pytest.param(3 * HOUR // 2, 1, "0.000002", id="one and a half goes to the even 2"),
        pytest.param(5 * HOUR // 2, 1, "0.000002", id="two and a half goes to the even 2"),
        pytest.param(5 * HOUR // 2 + 1, 1, "0.000003", id="a millisecond more goes up"),
    ],
)
def test_an_amount_has_six_places_rounded_half_even(
    gpu_ms: int, micro_per_hour: int, said: str
) -> None:
    assert money.amount(gpu_ms * micro_per_hour) == said


@pytest.mark.parametrize(
    ("micro_ms", "tokens", "said"),
    [
        pytest.param(HOUR * 900_000, 1_000_000, "0.9", id="one hour at 0.90 for a million tokens"),
        pytest.param(HOUR * 900_000, 1000, "900", id="an idle endpoint is dear"),
        pytest.param(HOUR * 1_861_000, 7_000_000, "0.2659", id="four places"),
        pytest.param(HOUR * 50, 1_000_000, "0", id="half of the last place goes to the even 0"),
        pytest.param(HOUR * 150, 1_000_000, "0.0002", id="one and a half goes to the even 2"),
        pytest.param(HOUR * 900_000, 0, None, id="no tokens, no figure"),
        pytest.param(None, 1_000_000, None, id="unknown price, no figure"),
    ],
)
def test_cost_per_million_tokens_has_four_places(
    micro_ms: int | None, tokens: int, said: str | None
) -> None:
    assert money.per_million_tokens(micro_ms, tokens) == said


def test_an_unknown_price_is_never_shown_as_zero() -> None:
    assert money.amount(None) is None
    assert money.per_hour(None) is None
    assert money.per_second(None) is None
    assert money.micro(None) is None


@pytest.mark.parametrize(
    ("price", "micro"),
    [
        pytest.param("1.861", 1_861_000, id="exact"),
        pytest.param("0.0000005", 0, id="half goes to the even 0"),
        pytest.param("0.0000015", 2, id="one and a half goes to the even 2"),
        pytest.param("113.9328", 113_932_800, id="a whole node"),
    ],
)
def test_a_price_becomes_whole_micro_units(price: str, micro: int) -> None:
    assert money.micro(Decimal(price)) == micro


def exactly(value: Fraction, places: int) -> Fraction:
    """Half-even by integers alone."""
    return Fraction(round(value * 10**places), 10**places)


@given(st.integers(-(10**21), 10**21))
def test_amounts_are_what_exact_fractions_round_to(micro_ms: int) -> None:
    said = money.amount(micro_ms)
    assert said is not None
    assert Fraction(said) == exactly(Fraction(micro_ms, 3_600_000 * 10**6), 6)


@given(st.integers(0, 10**12))
def test_rates_per_second_are_what_exact_fractions_round_to(micro_per_hour: int) -> None:
    said = money.per_second(micro_per_hour)
    assert said is not None
    assert Fraction(said) == exactly(Fraction(micro_per_hour, 3600 * 10**6), 10)


@given(st.integers(0, 10**21), st.integers(1, 10**12))
def test_costs_per_million_tokens_are_what_exact_fractions_round_to(
    micro_ms: int, tokens: int
) -> None:
    said = money.per_million_tokens(micro_ms, tokens)
    assert said is not None
    assert Fraction(said) == exactly(Fraction(micro_ms, 3_600_000 * tokens), 4)
