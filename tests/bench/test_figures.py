"""Figures say of themselves whether their bar is met, and the last line is for machines."""

import json

import pytest

from bench.frame.figures import Figure, percentile, report, spread, table


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.95, 4.0), (1.0, 4.0)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 4.0, 2.0], share) == expected


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure("free", 9, "ms"), True),
        (Figure("at the bar", 20, "ms", 20), True),
        (Figure("above", 20.1, "ms", 20), False),
        (Figure("exactly", 1, "", 1, exactly=True), True),
        (Figure("too few", 0, "", 1, exactly=True), False),
        (Figure("at the lower bar", 1, "", 1, at_least=True), True),
        (Figure("above the lower bar", 2, "", 1, at_least=True), True),
        (Figure("below the lower bar", 0.99, "", 1, at_least=True), False),
    ],
)
def test_a_bar_is_met_or_missed(figure: Figure, holds: bool) -> None:
    assert figure.holds is holds


def test_a_spread_has_its_bars_where_they_were_set() -> None:
    figures = spread("wake", [10.0, 30.0], "ms", p95=20)
    assert [(f.value, f.bar) for f in figures] == [(10.0, None), (30.0, 20), (30.0, None)]


@pytest.mark.parametrize(("check", "code"), [(False, 0), (True, 1)])
def test_a_missed_bar_fails_only_a_check(
    check: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = [Figure("slow", 30, "ms", 20), Figure("free", 1, "s")]
    assert report("wake", figures, check=check, wakes=2) == code
    *table, last = capsys.readouterr().out.splitlines()
    assert "bar ≤ 20: MISSED" in table[0]
    told = json.loads(last)
    assert told["benchmark"] == "wake"
    assert told["wakes"] == 2
    assert [figure.get("holds") for figure in told["figures"]] == [False, None]


@pytest.mark.parametrize(
    ("figure", "sign"),
    [
        (Figure("most", 1, "", 1), "≤"),
        (Figure("least", 1, "", 1, at_least=True), "≥"),
        (Figure("equal", 1, "", 1, exactly=True), "="),
    ],
)
def test_the_table_says_which_way_a_bar_is_meant(figure: Figure, sign: str) -> None:
    assert f"bar {sign} 1: holds" in table([figure])


def test_a_check_passes_when_every_bar_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("wake", [Figure("quick", 10, "ms", 20)], check=True) == 0
    assert "holds" in capsys.readouterr().out
