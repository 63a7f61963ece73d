"""Egress: what weights cost that cross regions, each download once, whatever happens to the controller."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.status import CostStatus, TokensStatus
from torpor.domain import egress, money
from torpor.domain.bookkeeping import ledger_words, meter_of, window_words, windows_of
from torpor.domain.budget import Budget, assess
from torpor.domain.catalogue import egress_out_of, price_of
from torpor.domain.costfigures import read_meter
from torpor.domain.egress import Download, Egress, Expected, Route
from torpor.domain.figures import cost_words
from torpor.domain.ledger import Meter, Row
from torpor.domain.observation import Demand
from torpor.domain.phases import Phases
from torpor.domain.placement import GPUClassView
from torpor.domain.windows import Mark, Reading, Windows, kept

HOUR = 3_600_000
GIB = 1024**3
NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp()) * 1000
L40S = GPUClassView("l40s", "nvidia.com/gpu", 1, 8, (), "east", "US", "on-demand", 1_800_000, "USD")
FAR = replace(L40S, name="far", region="west", egress_micro=20_000)
ONE = Download("job-1", NOW_MS, "west", "east", 10 * GIB)
TOKENS = TokensStatus(prompt=1_000_000)


def cheap(region: str) -> int | None:
    return {"west": 20_000}.get(region)


def unsaid(region: str) -> int | None:
    return None


def passed(
    held: Egress, *seen: Download, price: egress.PriceOf = cheap, at: int = NOW_MS
) -> Egress:
    """One pass that sees these Jobs."""
    found = egress.noted(held, seen, price, "USD", at)
    return egress.booked(found, (one.uid for one in seen), at)


def stored(held: Egress) -> Egress:
    words = CostStatus(**ledger_words(Meter(egress=held))).to_dict()
    return meter_of(CostStatus.model_validate(words)).egress


def words(meter: Meter, ahead: Expected | None = None) -> CostStatus:
    return cost_words(meter, Windows(), Demand(), TOKENS, "USD", NOW, NOW, ahead)


@pytest.mark.parametrize(
    ("classes", "price"),
    [
        ([L40S, FAR], 20_000),
        ([FAR, replace(FAR, egress_micro=90_000), replace(FAR, egress_micro=1)], 90_000),
        ([replace(FAR, egress_micro=0)], 0),
        ([replace(FAR, egress_micro=None)], None),
        ([replace(FAR, currency="EUR")], None),
        ([replace(FAR, region="east"), replace(FAR, region=None)], None),
        ([], None),
    ],
    ids=["its region's", "the highest", "free", "unsaid", "other money", "other regions", "none"],
)
def test_a_regions_price_is_the_highest_that_its_classes_say(
    classes: list[GPUClassView], price: int | None
) -> None:
    assert egress_out_of("west", classes, "USD") == price


def test_a_download_costs_its_bytes_at_the_price_of_the_region_it_leaves() -> None:
    held = passed(Egress(), ONE)
    assert [route.bytes for route in held.routes] == [10 * GIB]
    assert money.amount(held.routes[0].cost) == "0.2"
    assert replace(held.routes[0], bytes=1).cost == Fraction(20_000 * HOUR, GIB)


def test_a_download_is_counted_once_however_often_it_is_seen() -> None:
    once = passed(Egress(), ONE)
    assert passed(once, ONE) == once
    assert passed(stored(once), ONE, at=NOW_MS + 10 * HOUR) == once


def test_a_job_is_forgotten_only_when_it_is_gone_and_everybody_knows() -> None:
    held = passed(Egress(), ONE)
    assert passed(held, at=NOW_MS + 1_000).counted == held.counted
    assert passed(held, at=NOW_MS + egress.REMEMBER_MS).counted == ()
    assert passed(held, at=NOW_MS + egress.REMEMBER_MS).routes == held.routes


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=6),
    st.lists(
        st.tuples(st.sets(st.integers(0, 5)), st.booleans(), st.booleans(), st.booleans()),
        max_size=30,
    ),
)
def test_whatever_passes_are_lost_or_run_twice_every_byte_is_counted_once(
    sizes: list[int], passes: list[tuple[set[int], bool, bool, bool]]
) -> None:
    """A Job may go only when the status that is stored has it: until then it is seen by every controller."""
    jobs = [Download(f"job-{n}", NOW_MS + n, "west", "east", size) for n, size in enumerate(sizes)]
    there, held, at = dict(enumerate(jobs)), Egress(), NOW_MS
    for done, lost, twice, reborn in [*passes, ({*range(6)}, False, True, True)]:
        at += 600_000
        seen = [job for n, job in there.items() if n in done]
        after = passed(held, *seen, at=at)
        if twice:
            assert passed(after, *seen, at=at) == after
        if not lost:
            held = stored(after) if reborn else after
        told = {uid for uid, _ in held.counted}
        there = {n: job for n, job in there.items() if job.uid not in told}
    assert sum(route.bytes for route in held.routes) == sum(sizes)


def test_an_unknown_price_is_null_and_the_first_one_that_is_said_counts() -> None:
    held = passed(Egress(), ONE, price=unsaid)
    cost = words(Meter((Row(price_of(L40S), Phases(idle=HOUR)),), egress=held))
    assert cost.egress is not None
    assert (cost.egress.cost, cost.egress.bytes) == (None, 10 * GIB)
    assert (cost.spent, cost.saved, cost.per_million_tokens) == (None, None, None)
    assert cost.by_phase is not None
    assert cost.by_phase.idle == "1.8"  # what GPUs cost is known all the same
    assert egress.unpriced(held.routes) == ("west",)
    healed = passed(stored(held))
    assert healed == passed(Egress(), ONE)
    assert passed(healed, price=lambda _: 90_000).routes == healed.routes  # what was counted stays


def test_it_is_its_own_line_and_in_every_sum() -> None:
    meter = Meter((Row(price_of(L40S), Phases(idle=HOUR), 2 * HOUR),), egress=passed(Egress(), ONE))
    cost = words(meter)
    assert (cost.spent, cost.saved, cost.per_million_tokens) == ("2", "1.6", "2")
    assert (cost.by_phase, cost.gpu_ms.total) == (
        words(replace(meter, egress=Egress())).by_phase,
        HOUR,
    )
    assert cost.egress is not None
    assert cost.egress.cost == "0.2"
    assert cost.token_prices is not None
    assert cost.token_prices.busy == "0"
    reading = read_meter(meter, Demand(), TOKENS, NOW_MS)
    month = Windows((Mark(NOW_MS - HOUR, Reading()),), Mark(NOW_MS - HOUR, Reading()))
    assert assess(Budget(money.units(4)), month, reading, "USD", NOW_MS).percent == 50


def test_in_two_currencies_nothing_is_added() -> None:
    euros = replace(L40S, currency="EUR")
    meter = Meter((Row(price_of(euros), Phases(idle=HOUR)),), egress=passed(Egress(), ONE))
    assert words(meter).spent is None


def test_where_nothing_crosses_regions_the_status_has_no_such_line() -> None:
    assert words(Meter()).egress is None


def test_what_lies_ahead_is_told_with_its_cost() -> None:
    ahead = egress.expected(Route("west", "east", "USD", 20_000), 10 * GIB, 3)
    assert ahead is not None
    cost = words(Meter(), ahead)
    assert cost.spent == "0", "nothing is spent yet"
    assert cost.egress is not None
    assert cost.egress.predicted is not None
    assert cost.egress.predicted.to_dict() == {
        "fromRegion": "west", "toRegion": "east", "nodes": 3, "bytes": 30 * GIB, "cost": "0.6",
    }  # fmt: skip
    assert egress.expected(ahead.route, 10 * GIB, 0) is None
    unknown = egress.expected(Route("west", "east", "USD", None), 10, 1)
    said = words(Meter(), unknown).egress
    assert said is not None
    assert said.predicted is not None
    assert said.predicted.cost is None


def test_a_message_says_what_it_costs_or_which_price_is_missing() -> None:
    route = ("west", "east")
    assert egress.say(2, 32_120_000_000, route, "0.6", "USD") == (
        "2 nodes fetch 32.12 GB from region west to east, 0.6 USD of egress"
    )
    assert egress.say(1, 16_060_000_000, route, None, "USD") == (
        "1 node fetches 16.06 GB from region west to east; "
        "what that costs is unknown: no GPUClass in west has price.egressPerGiB in USD"
    )


def test_a_download_lies_in_the_hour_in_which_it_was_complete() -> None:
    edge = NOW_MS // HOUR * HOUR
    before, after = replace(ONE, at_ms=edge - 1), replace(ONE, uid="job-2", at_ms=edge + 1)
    at = edge + 5_000
    noted = Meter(egress=egress.noted(Egress(), [before, after], cheap, "USD", at))
    windows = kept(
        Windows(), lambda ms: read_meter(noted, Demand(), TOKENS, ms), edge - HOUR // 2, at
    )
    assert [(mark.at_ms, mark.reading.egress_bytes) for mark in windows.hours] == [
        (edge - HOUR // 2, 0),
        (edge, 10 * GIB),
    ]
    assert windows.hours[1].reading.spent == money.units(1) // 5
    again = windows_of(CostStatus.model_validate(CostStatus(**window_words(windows)).to_dict()))
    assert again == windows


def test_a_mark_of_unknown_egress_stays_unknown() -> None:
    reading = Reading(spent=None, egress=None, egress_bytes=5)
    windows = Windows((Mark(1, reading), Mark(2, Reading())))
    again = windows_of(CostStatus.model_validate(CostStatus(**window_words(windows)).to_dict()))
    assert again == windows
