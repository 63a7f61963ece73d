"""What was learned survives in the status: small, exact enough, and never a reason to stumble."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.keepalive_lives import GAPS, HOURS, PRICES, lived
from torpor.domain.gaps import Habits
from torpor.domain.keepalive import Learned, keep, learn, learn_cold_start
from torpor.domain.prewake import Price
from torpor.domain.recalling import MOST_BYTES, decode, encode

PRICE = Price(60.0, 5.0)
NUMBERS = st.floats(0.0, 10_000.0)


@settings(deadline=None)
@given(
    st.tuples(*[NUMBERS] * 32),
    st.tuples(*[NUMBERS] * 24),
    st.tuples(*[NUMBERS] * 24),
    st.none() | st.floats(0.001, 1e6),
    st.floats(-1e9, 1e9),
    st.integers(0, 3),
)
def test_it_is_small_and_comes_back_as_it_was(
    gaps: tuple[float, ...],
    events: tuple[float, ...],
    idle: tuple[float, ...],
    cold_s: float | None,
    worth: float,
    misses: int,
) -> None:
    text = encode(Learned(Habits(gaps, events, idle), cold_s, worth, misses))
    assert len(text.encode()) <= MOST_BYTES
    back = decode(text)
    assert encode(back) == text
    assert back.habits.gaps == pytest.approx(gaps, rel=1e-4, abs=1e-5)
    assert back.habits.idle_h == pytest.approx(idle, rel=1e-4, abs=1e-5)
    assert back.misses == misses
    assert back.worth == pytest.approx(worth, abs=0.06)
    assert back.cold_s == (None if cold_s is None else pytest.approx(cold_s, abs=6e-4))


@settings(deadline=None)
@given(st.lists(GAPS, min_size=1, max_size=30), PRICES, HOURS)
def test_a_controller_that_restarts_after_every_gap_decides_the_same(
    gaps: list[float], price: Price, hour: float
) -> None:
    steady = restarted = Learned()
    for gap in gaps:
        steady = learn(steady, gap, hour, price)
        restarted = decode(encode(learn(restarted, gap, hour, price)))
    assert restarted.habits.gaps == pytest.approx(steady.habits.gaps, rel=1e-2, abs=1e-3)


def test_the_empty_memory_is_written_and_read() -> None:
    assert decode(encode(Learned())) == Learned()


def test_an_example_from_a_status() -> None:
    learned, _ = lived([40.0] * 30, PRICE)
    text = encode(learn_cold_start(learned, 61.25))
    assert json.loads(text)["cold"] == 61.25
    assert keep(decode(text), PRICE, 9.0).seconds == keep(learned, PRICE, 9.0).seconds


def spoilt(**words: Any) -> str:
    return json.dumps(json.loads(encode(Learned())) | words)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "{", "null", "[]", "7", '"x"', "{}", "\x00", "[" * 5000,
        spoilt(v=2), spoilt(gaps="A"), spoilt(gaps=7), spoilt(gaps="?" * 96), spoilt(events=None),
        spoilt(idle=[1] * 24), spoilt(worth="x"), spoilt(worth=float("nan")), spoilt(misses=-1),
        spoilt(misses=True), spoilt(cold=-1), spoilt(cold=10**400),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_forgotten(text: str | None) -> None:
    assert decode(text) == Learned()


@settings(deadline=None)
@given(st.text())
def test_no_text_makes_it_stumble(text: str) -> None:
    assert isinstance(decode(text), Learned)
