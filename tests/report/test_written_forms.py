"""The forms of a statement: compared with files that were read over, and with each other."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.samples import NOVEMBER, NOW, cluster, statement
from tests.report.test_statement import MADE, PAUSES, instants, lives, month_of_last
from tests.report.world import HOUR, L40S, ROUNDED, SEVENTH, endpoint, pod, written
from torpor.domain import money
from torpor.domain.egress import Download
from torpor.domain.monthly import Slice, month_named
from torpor.domain.windows import HOUR_MS
from torpor.report.figures import NAMES, as_csv, as_json, figures_of
from torpor.report.focus import COLUMNS, as_focus, omitted
from torpor.report.statement import state
from torpor.report.table import WIDTH, as_table, count

GOLDEN = Path(__file__).parent / "golden"
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
"""Columns that FOCUS 1.2 gives the feature level Mandatory."""
MAY_BE_NULL = {"BillingAccountName", "ChargeClass", "ChargeDescription"}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("november.txt", as_table(statement())),
        ("november.csv", as_csv(statement())),
        ("november.json", as_json(statement())),
        ("november.focus.csv", as_focus(statement(), "acme")),
    ],
    ids=lambda value: value if value.startswith("november") else "",
)
def test_it_is_what_was_read_over(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_table_fits_a_terminal_and_a_long_name_is_cut() -> None:
    lines = as_table(statement()).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any("a-name-that-is-much" in line and "…" in line for line in lines)


def test_a_table_without_endpoints_says_so() -> None:
    assert "No endpoint has figures of this month." in as_table(state([], NOVEMBER, NOW))


def test_unknown_is_a_word_and_never_0() -> None:
    (table_row,) = (line for line in as_table(statement()).splitlines() if "qwen-235b " in line)
    assert table_row.split()[3:5] == ["unknown", "unknown"]
    (row,) = (row for row in rows(as_csv(statement())) if row["endpoint"] == "qwen-235b")
    assert (row["spent"], row["per_million_tokens"]) == ("unknown", "unknown")
    document = json.loads(as_json(statement()))
    (figures,) = (row for row in document["endpoints"] if row["endpoint"] == "qwen-235b")
    assert figures["spent"] is None


def test_a_rate_without_tokens_is_none_and_not_unknown() -> None:
    (row,) = (row for row in rows(as_csv(statement())) if row["endpoint"] == "never-asked")
    assert (row["spent"], row["per_million_tokens"]) == ("0", "")


def test_a_total_per_currency_is_the_sum_of_what_is_known() -> None:
    document = json.loads(as_json(statement()))
    by_currency = {total["currency"]: total for total in document["totals"]}
    assert set(by_currency) == {"EUR", "USD"}
    known = [r["spent"] for r in document["endpoints"] if r["currency"] == "USD" and r["spent"]]
    assert Decimal(by_currency["USD"]["spent"]) == sum(map(Decimal, known))
    assert by_currency["USD"]["endpoints_of_unknown_cost"] == 1


def test_csv_and_json_have_the_same_names() -> None:
    assert tuple(figures_of(statement().lines[0], "2026-11")) == NAMES
    assert tuple(rows(as_csv(statement()))[0]) == NAMES


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(0, "0"), (999, "999"), (1_000, "1.0k"), (12_345_678, "12.3M"), (5 * 10**11, "500.0G")],
)
def test_tokens_are_said_shortly(tokens: int, said: str) -> None:
    assert count(tokens) == said


def test_focus_has_every_mandatory_column_and_only_nulls_that_it_may_have() -> None:
    assert set(COLUMNS) >= MANDATORY
    for row in rows(as_focus(statement(), "acme")):
        assert {name for name, value in row.items() if not value} <= MAY_BE_NULL
        tags = json.loads(row["Tags"])
        assert all(isinstance(value, str | int) for value in tags.values())
        assert (tags["namespace"], f"{tags['namespace']}/") == (
            row["SubAccountId"],
            row["ResourceName"][: len(tags["namespace"]) + 1],
        )


def test_focus_has_no_row_for_what_has_no_known_cost_and_says_so() -> None:
    names = {row["ResourceName"] for row in rows(as_focus(statement(), "acme"))}
    assert "team-a/qwen-235b" not in names
    assert omitted(statement()) == ("team-a/qwen-235b: 16 GPU-hours of unknown cost have no row.",)


@settings(deadline=None, max_examples=60)
@given(lives(), PAUSES, st.booleans())
def test_focus_rows_add_up_to_the_month_in_integers_and_as_printed(
    pods: Any, pauses: list[int], rounded_up: bool
) -> None:
    passes = instants(pauses)
    cost, tokens = written(pods, MADE, passes, *([ROUNDED] if rounded_up else []))
    found = state([endpoint("x", cost, tokens)], month_of_last(passes[-1]), passes[-1])
    (line,) = found.lines
    slices: tuple[Slice, ...] = line.use.slices
    printed = rows(as_focus(found, "acme"))
    assert cost.month is not None
    assert sum(piece.use.spent or 0 for piece in slices) == line.use.total.spent
    assert sum(Decimal(row["BilledCost"]) for row in printed) == Decimal(cost.month.spent or "x")
    hours = Decimal(money.gpu_hours(cost.month.gpu_ms.total))
    assert sum(Decimal(row["PricingQuantity"]) for row in printed) == hours
    tags = [json.loads(row["Tags"]) for row in printed]
    by_phase = {
        phase: sum(tag[f"torpor.dev/{phase}-gpu-ms"] for tag in tags)
        for phase in ("starting", "busy", "idle", "terminating")
    }
    assert by_phase == cost.month.gpu_ms.model_dump(by_alias=False)
    periods = [(row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in printed]
    assert all(start < end for start, end in periods)
    assert sorted(periods) == periods
    assert all(piece.end_ms - piece.start_ms <= HOUR_MS for piece in slices[1:])


def test_of_a_part_of_a_gpu_the_quantity_times_its_price_is_the_cost() -> None:
    """What is priced is the unit that a pod holds; an hour of one costs the seventh of the GPU's price."""
    begin = -(-MADE // HOUR) * HOUR
    slices = [pod("a", begin, 40_000, 7 * HOUR, gpus=3, kind="h100")]
    passes = [begin + n * 1_800_000 for n in range(1, 17)]
    cost, tokens = written(slices, MADE, passes, SEVENTH)
    found = state([endpoint("x", cost, tokens)], month_of_last(passes[-1]), passes[-1])
    printed = rows(as_focus(found, "acme"))
    assert len(printed) == 7
    unit = Decimal("6.88") / 7
    for row in printed:
        assert row["PricingQuantity"] == "3"
        exact = Decimal(row["PricingQuantity"]) * unit
        assert abs(exact - Decimal(row["BilledCost"])) <= Decimal("0.000001")
    assert sum(Decimal(row["BilledCost"]) for row in printed) == 21 * Decimal("6.88") / 7
    assert cost.spent == "20.64"


def downloads() -> st.SearchStrategy[list[Download]]:
    made = st.tuples(st.integers(0, 3 * 24 * HOUR), st.integers(1, 10**12))
    return st.lists(made, min_size=1, max_size=4).map(
        lambda found: [
            Download(f"job-{n}", MADE + at, "west", "east", size)
            for n, (at, size) in enumerate(found)
        ]
    )


@settings(deadline=None, max_examples=60)
@given(lives(), PAUSES, downloads())
def test_egress_has_rows_of_its_own_and_everything_adds_up_as_printed(
    pods: Any, pauses: list[int], moved: list[Download]
) -> None:
    passes = instants(pauses)
    cost, tokens = written(pods, MADE, passes, SEVENTH, L40S, downloads=moved)
    found = state([endpoint("x", cost, tokens)], month_of_last(passes[-1]), passes[-1])
    (line,) = found.lines
    printed = rows(as_focus(found, "acme"))
    assert cost.month is not None
    assert sum(Decimal(row["BilledCost"]) for row in printed) == Decimal(cost.month.spent or "x")
    by_unit = {
        unit: [row for row in printed if row["PricingUnit"] == unit]
        for unit in ("GiB", "GPU-Hours")
    }
    gib, held = (sum(Decimal(row["PricingQuantity"]) for row in by_unit[unit]) for unit in by_unit)
    assert gib == Decimal(money.gib(line.use.total.egress_bytes))
    assert held == Decimal(money.gpu_hours(cost.month.gpu_ms.total))
    for row in by_unit["GiB"]:
        exact = Decimal(row["PricingQuantity"]) * Decimal("0.02")
        assert abs(exact - Decimal(row["BilledCost"])) <= Decimal("0.000002")
        assert row["ServiceCategory"] == "Networking"
        assert {name for name, value in row.items() if not value} <= MAY_BE_NULL
    told = sum(int(row["x_PromptTokens"]) for row in printed)
    assert told == line.use.total.prompt


def test_egress_is_told_beside_the_table_and_named_in_figures() -> None:
    moved = [Download("job", MADE + HOUR, "west", "east", 10 * 2**30)]
    cost, tokens = written([], MADE, [MADE + 2 * HOUR], downloads=moved)
    found = state([endpoint("x", cost, tokens)], month_of_last(MADE + 2 * HOUR), MADE + 2 * HOUR)
    assert "* team-a/x: 0.2 USD of it is egress: 10 GiB of weights were moved between regions." in (
        as_table(found)
    )
    (row,) = rows(as_csv(found))
    assert (row["spent"], row["egress"], row["egress_gib"]) == ("0.2", "0.2", "10")


def test_egress_of_unknown_price_makes_the_cost_unknown_and_is_said() -> None:
    moved = [Download("job", MADE + HOUR, "west", "east", 10 * 2**30)]
    cost, tokens = written([], MADE, [MADE + 2 * HOUR], downloads=moved, per_gib=None)
    found = state([endpoint("x", cost, tokens)], month_of_last(MADE + 2 * HOUR), MADE + 2 * HOUR)
    (row,) = rows(as_csv(found))
    assert (row["spent"], row["egress"], row["egress_gib"]) == ("unknown", "unknown", "10")
    assert found.notes == (
        "team-a/x: 10 GiB of weights were moved between regions.",
        "team-a/x: what it spent is unknown: weights were moved between regions, and what that costs is unknown: "
        "no GPUClass in west has price.egressPerGiB in USD.",
    )
    assert omitted(found) == (
        "team-a/x: 0 GPU-hours and 10 GiB of egress of unknown cost have no row.",
    )


def test_another_month_of_the_same_cluster_is_empty() -> None:
    found = state(cluster(), month_named("2026-10"), NOW)
    assert found.lines == ()
    assert as_focus(found, "acme").count("\n") == 1
