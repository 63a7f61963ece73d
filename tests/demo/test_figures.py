"""What the demo says of a status is what stands in it, and what is unknown is said to be."""

from datetime import UTC, datetime

from dev.demo.figures import cost_line, ledger_lines, wake_lines
from torpor.api.status import CostStatus, GpuMs, TokensStatus, Wake

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_every_part_of_a_wake_has_a_line_and_the_total_comes_last() -> None:
    wake = Wake(at=AT, queue="0.012", schedule="0.100", engine="6.250", total="7.500")
    lines = wake_lines(wake)
    assert [line.split()[:2] for line in lines] == [
        ["queue", "0.012"],
        ["schedule", "0.100"],
        ["weights", "–"],
        ["image", "–"],
        ["engine", "6.250"],
        ["total", "7.500"],
    ]


def test_an_unknown_price_is_said_and_never_shown_as_zero() -> None:
    assert cost_line(CostStatus()) == "cost: per second unknown, spent unknown, saved unknown"


def test_a_cost_of_zero_is_shown_as_zero() -> None:
    cost = CostStatus(currency="EUR", per_second="0", spent="0.25", saved="-0.1")
    assert cost_line(cost) == "cost: per second 0 EUR, spent 0.25 EUR, saved -0.1 EUR"


def test_the_bill_shows_each_phase_and_their_sum() -> None:
    cost = CostStatus(
        currency="USD",
        spent="0.01",
        gpu_ms=GpuMs(starting=7000, busy=300, idle=15000, terminating=5000),
        per_million_tokens="24.63",
    )
    lines = ledger_lines(cost, TokensStatus(prompt=300, completion=106))
    amounts = [int(line.split()[1]) for line in lines[:5]]
    assert amounts[:4] == [7000, 300, 15000, 5000]
    assert amounts[4] == sum(amounts[:4])
    assert lines[5].startswith("406 tokens delivered: 24.63 USD per million")


def test_without_tokens_there_is_no_price_per_million() -> None:
    assert len(ledger_lines(CostStatus(currency="USD", spent="0"), TokensStatus())) == 5
