"""A GPU class whose unit is a part of a GPU: what it costs, and that its parts make a whole, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.status import CostStatus, TokensStatus
from torpor.domain import money
from torpor.domain.bookkeeping import ledger_words, meter_of
from torpor.domain.budget import Budget, assess
from torpor.domain.catalogue import Catalogue, price_of, tariff_of
from torpor.domain.comparing import Offer, compare
from torpor.domain.costfigures import read_meter
from torpor.domain.costing import always_on_micro_ms, cost_of, rate_micro_per_hour
from torpor.domain.figures import cost_words
from torpor.domain.ledger import WHOLE, LivePod, Meter, Row, Segment, folded
from torpor.domain.observation import Demand, PodSeen
from torpor.domain.phases import Phases
from torpor.domain.placement import GIB, GPUClassView, NodeView, PlacementSpec, place
from torpor.domain.windows import Mark, Reading, Windows

HOUR = 3_600_000
NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp()) * 1000
WITH_MIG = (("gpu", "h100"),)
H100 = GPUClassView(
    "h100", "nvidia.com/gpu", 80 * GIB, 8, WITH_MIG, "r", "DE", "on-demand", 6_880_000, "USD"
)
SEVENTH = replace(
    H100, name="h100-1g", resource="nvidia.com/mig-1g.10gb", vram=10 * GIB, fraction=Fraction(1, 7)
)
NODE = NodeView(
    "n1",
    frozenset({*WITH_MIG, ("karpenter.sh/capacity-type", "spot")}),
    (("nvidia.com/gpu", 8), ("nvidia.com/mig-1g.10gb", 7)),
)
SHARES = st.integers(1, 64).flatmap(
    lambda parts: st.builds(Fraction, st.integers(1, parts), st.just(parts))
)


def live(gpus: int = 1) -> LivePod:
    start = NOW_MS - HOUR
    return LivePod("a", "a", gpus, start, (Segment(price_of(SEVENTH), start),), start)


def words(meter: Meter, tokens: TokensStatus | None = None) -> CostStatus:
    return cost_words(meter, Windows(), Demand(), tokens or TokensStatus(), "USD", NOW, NOW)


@given(st.integers(0, 10**9), st.integers(1, 10**12), SHARES)
def test_the_parts_of_a_gpu_cost_what_the_gpu_costs(price: int, held: int, share: Fraction) -> None:
    """As many units as make whole GPUs, each billed by itself and then added up."""
    part = price_of(replace(H100, micro_per_hour=price, fraction=share))
    whole = price_of(replace(H100, micro_per_hour=price))
    parts = [cost_of([Row(part, Phases(idle=held))]) for _ in range(share.denominator)]
    together = sum(cost.spent for cost in parts if cost is not None)
    all_of_it = cost_of([Row(whole, Phases(idle=held))])
    assert all_of_it is not None
    assert together == all_of_it.spent * share.numerator


def test_another_fraction_is_another_price() -> None:
    assert price_of(SEVENTH).id == "h100-1g/on-demand@6880000USD*1/7"
    seen = {price_of(replace(H100, fraction=Fraction(1, n))).id for n in range(1, 65)}
    assert len(seen) == 64
    assert "*" not in price_of(H100).id


def test_a_unit_costs_its_part_of_the_price() -> None:
    cost = words(Meter(live=(live(gpus=2),)), TokensStatus(prompt=1_000_000))
    assert (cost.per_hour, cost.per_second) == ("1.965714", "0.0005460317")  # 6.88 × 2 ÷ 7
    assert (cost.spent, cost.per_million_tokens) == ("1.965714", "1.9657")
    assert cost.by_phase is not None
    assert (cost.by_phase.idle, cost.gpu_ms.idle) == ("1.965714", 2 * HOUR)
    assert rate_micro_per_hour(Meter(live=(live(gpus=7),))) == 6_880_000


def test_saved_compares_with_a_unit_that_never_sleeps() -> None:
    row = Row(price_of(SEVENTH), Phases(idle=HOUR), always_on=7 * HOUR)
    cost = words(Meter((row,)))
    assert always_on_micro_ms([row]) == HOUR * 6_880_000
    assert (cost.spent, cost.saved) == ("0.982857", "5.897143")


def test_the_cheapest_replica_is_found_by_what_its_units_cost() -> None:
    small, large = int(4 * GIB / 1.2), int(60 * GIB / 1.2)
    assert place(PlacementSpec(), [H100, SEVENTH], [NODE], small).gpu_class == SEVENTH
    fits = place(PlacementSpec(), [H100, SEVENTH], [NODE], large)
    assert (fits.gpu_class, fits.gpus) == (H100, 1)  # eight sevenths are dearer than one GPU


def test_the_highest_price_is_held_against_what_a_replica_costs() -> None:
    dear = place(PlacementSpec(gpus=2, max_price_micro=1_900_000), [SEVENTH], [NODE], 0)
    (rejected,) = dear.rejected
    assert rejected.why == "costs 1.965714 per replica and hour, the limit is 1.9"
    assert place(PlacementSpec(gpus=2, max_price_micro=2_000_000), [SEVENTH], [NODE], 0).gpu_class


def test_a_spot_node_is_billed_by_the_class_of_parts_that_describes_it() -> None:
    spot = replace(SEVENTH, name="h100-1g-spot", capacity_type="spot", micro_per_hour=2_000_000)
    pod = PodSeen("a", "a", 1, "h100-1g", node="n1")
    assert Catalogue([SEVENTH, spot], [NODE]).tariff(pod, None) == tariff_of(spot)


def test_dated_prices_are_those_of_the_whole_gpu() -> None:
    dated = tariff_of(replace(SEVENTH, prices=((0, 7_000_000), (500, 14_000_000))))
    assert [dated.at(at).micro_per_unit for at in (1, 500)] == [1_000_000, 2_000_000]


@given(st.lists(st.tuples(SHARES, st.integers(0, 10**7)), max_size=12), st.integers(1, 4))
def test_a_ledger_of_any_parts_is_stored_and_folded_without_losing_anything(
    sorts: list[tuple[Fraction, int]], most: int
) -> None:
    rows = tuple(
        Row(price_of(replace(H100, name=f"c{n}", micro_per_hour=micro, fraction=share)),
            Phases(1, n, 3, 4, 1), always_on=n, rounding=5)
        for n, (share, micro) in enumerate(sorts)
    )  # fmt: skip
    less = folded(Meter(rows), most)
    again = meter_of(CostStatus.model_validate(CostStatus(**ledger_words(less)).to_dict()))
    assert again == less
    assert cost_of(again.rows, again.settled) == cost_of(rows)
    assert always_on_micro_ms(again.rows, again.settled) == always_on_micro_ms(rows)


def test_a_row_of_a_whole_gpu_is_stored_as_before_and_an_old_one_is_whole() -> None:
    meter = Meter((Row(price_of(H100), Phases(idle=1)), Row(price_of(SEVENTH), Phases(idle=1))))
    whole, part = CostStatus(**ledger_words(meter)).to_dict()["rows"]
    assert "fraction" not in whole
    assert (part["fraction"], part["perGPUHour"]) == ("1/7", "6.88")
    old = CostStatus.model_validate({"rows": [whole]})
    assert meter_of(old).rows[0].price.fraction == WHOLE


def test_a_budget_and_an_offer_are_held_against_the_exact_sum() -> None:
    meter = Meter((Row(price_of(SEVENTH), Phases(idle=7 * 24 * HOUR)),))
    reading = read_meter(meter, Demand(), TokensStatus(prompt=10_000_000), NOW_MS)
    windows = Windows((Mark(NOW_MS - 24 * HOUR, Reading()),), Mark(NOW_MS - 24 * HOUR, Reading()))
    assert reading.spent == money.units(1) * 24 * 688 // 100  # a day of seven sevenths
    standing = assess(Budget(money.units(1) * 33024 // 100), windows, reading, "USD", NOW_MS)
    assert standing.percent == 50
    part = replace(reading, spent=Fraction(money.units(1), 7))
    assert assess(Budget(money.units(1)), windows, part, "USD", NOW_MS).percent == 14
    always = SEVENTH.micro_per_unit
    found = compare(Offer("hosted", 600_000, 0), windows, part, always, "USD", NOW_MS)
    assert found.verdict(None) == (
        "True",
        "CheaperHere",
        "10000000 tokens since 2027-01-14T08:00Z cost 0.1429 USD here, 6 USD at hosted; "
        "from 39314286 tokens a day on it is cheaper here without any sleep",
    )


@pytest.mark.parametrize("value", [0, 7, -5, Fraction(22, 7), Fraction(-1, 64)])
def test_an_exact_amount_is_stored_with_all_its_digits(value: money.Exact) -> None:
    assert money.read(money.written(value)) == value
