"""Nodes that are paid for as a whole: who pays for what nobody holds, exactly and once."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.metered_world import fixed
from torpor.domain.costing import cost_of, rate_micro_per_hour
from torpor.domain.ledger import Meter, Price, Tenant
from torpor.domain.metering import totals
from torpor.domain.nodestays import (
    SETTLE_MS,
    NodeSeen,
    free_ms,
    nodes_booked,
    nodes_noted,
    share_now,
)
from torpor.domain.observation import Demand
from torpor.domain.pricing import Tariff

T0 = 1_800_000_000_000
HOUR = 3_600_000
PRICE = Price("h100@2", "h100", micro_per_hour=2_000_000, whole_node=True)
DEARER = replace(PRICE, id="h100@3", micro_per_hour=3_000_000)
TARIFF = fixed(PRICE)


def tenant(
    uid: str, start: int, end: int | None = None, gpus: int = 1, mine: bool = True
) -> Tenant:
    return Tenant(uid, gpus, T0 + start, None if end is None else T0 + end, mine, awaited=True)


def node(
    *tenants: Tenant, gpus: int = 8, gone: int | None = None, tariff: Tariff = TARIFF
) -> NodeSeen:
    return NodeSeen("n", "node-1", gpus, T0, tariff, None if gone is None else T0 + gone, tenants)


def metered(seen: NodeSeen, at: int, meter: Meter = Meter()) -> Meter:  # noqa: B008
    return nodes_booked(nodes_noted(meter, [seen], T0 + at), T0 + at)


def free(meter: Meter, at: int) -> int:
    return sum(row.node for row in totals(meter, Demand(), T0 + at))


def test_alone_on_a_node_one_pays_for_all_that_one_does_not_hold_from_its_creation_on() -> None:
    seen = node(tenant("a", 60_000, 120_000, gpus=2))
    meter = metered(seen, 200_000)
    before, while_there, after = 8 * 60_000, 6 * 60_000, 8 * 80_000
    assert free(meter, 200_000) == before + while_there + after
    assert free(meter, 60_000) == before
    assert free(meter, -5) == 0


def test_a_node_without_a_pod_of_one_s_own_is_nobody_s_business() -> None:
    assert metered(node(tenant("b", 0, mine=False)), HOUR) == Meter()
    assert metered(node(), HOUR) == Meter()


def test_who_share_a_node_pay_in_proportion_to_what_they_hold() -> None:
    mine, other = tenant("a", 0, gpus=1), tenant("b", 0, gpus=3, mine=False)
    meter = metered(node(mine, other), HOUR)
    assert free(meter, HOUR) == HOUR  # a quarter of the four that nobody holds
    assert share_now(meter.nodes[0]) == 1


def test_an_empty_node_is_paid_for_by_whose_pod_left_last() -> None:
    first, last = tenant("a", 0, 10_000), tenant("b", 0, 20_000, mine=False)
    mine = metered(node(first, last), 100_000)
    others = metered(node(replace(first, mine=False), replace(last, mine=True)), 100_000)
    assert free(mine, 100_000) == 3 * 10_000  # half of six, while both were there
    assert free(others, 100_000) == 3 * 10_000 + 7 * 10_000 + 8 * 80_000
    assert share_now(mine.nodes[0]) == 0
    assert share_now(others.nodes[0]) == 8


def test_before_its_first_pod_a_node_is_paid_for_by_whom_it_was_made_for() -> None:
    meter = metered(node(tenant("a", 30_000, mine=False), tenant("b", 40_000)), 50_000)
    assert free(meter, 40_000) == 0
    assert free(meter, 50_000) == 3 * 10_000


def test_a_node_that_was_there_already_is_nobody_s_before_its_first_pod() -> None:
    late = replace(tenant("a", 30_000), awaited=False)
    meter = metered(node(late), 50_000)
    assert free(meter, 30_000) == 0
    assert free(meter, 50_000) == 7 * 20_000


def test_the_rate_and_the_cost_have_it_at_zero_replicas_too() -> None:
    meter = metered(node(tenant("a", 0, HOUR, gpus=8)), 2 * HOUR)
    assert rate_micro_per_hour(meter) == 8 * 2_000_000
    rows = totals(meter, Demand(), T0 + 2 * HOUR)
    cost = cost_of(rows)
    assert cost is not None
    assert cost.node == cost.spent == 8 * HOUR * 2_000_000


def test_a_node_that_went_is_booked_once() -> None:
    seen = node(tenant("a", 0, 60_000, gpus=8), gone=100_000)
    meter = metered(seen, 100_000 + SETTLE_MS)
    assert [(row.price.id, row.node, row.rounding) for row in meter.rows] == [
        ("h100@2", 8 * 40_000, 0)
    ]
    assert meter.nodes == ()
    assert [uid for uid, _ in meter.closed] == ["n"]
    assert metered(seen, 100_000 + 2 * SETTLE_MS, meter) == meter


def test_last_words_about_its_pods_are_waited_for() -> None:
    runs = tenant("a", 0, gpus=8)
    meter = metered(node(runs, gone=100_000), 100_000)
    assert len(meter.nodes) == 1
    told = node(replace(runs, end_ms=T0 + 90_000), gone=100_000)
    assert (
        free(metered(told, 100_000 + SETTLE_MS, meter), 200_000) == 0
    )  # first told: until the node went


def test_its_lifetime_is_rounded_up_once_by_whoever_it_stood_for_last() -> None:
    price = replace(PRICE, granularity_s=60)
    for mine, extra in ((True, 8 * 20_000), (False, 0)):
        pods = (tenant("a", 0, 60_000), tenant("b", 0, 90_000, mine=mine))
        seen = node(*pods, gone=100_000, tariff=fixed(price))
        meter = metered(seen, 100_000 + SETTLE_MS)
        assert sum(row.rounding for row in meter.rows) == extra


def test_a_dated_price_cuts_it_exactly() -> None:
    tariff = Tariff(PRICE, ((0, PRICE), (T0 + 40_000, DEARER)))
    meter = metered(node(tenant("a", 0, gpus=7), tariff=tariff), 100_000)
    assert free_ms(meter.nodes[0], T0 + 100_000) == [(PRICE, 40_000), (DEARER, 60_000)]


def test_a_node_that_nobody_saw_go_went_just_now_and_that_is_estimated() -> None:
    meter = metered(node(tenant("a", 0, 60_000, gpus=8)), 70_000)
    meter = nodes_noted(meter, [], T0 + 500_000)
    assert meter.nodes[0].removed_ms == T0 + 500_000
    assert meter.estimated_ms == 8 * (500_000 - 60_000)
    again = nodes_noted(meter, [], T0 + 600_000)
    assert again == meter


def test_a_pod_that_nobody_speaks_of_any_more_has_ended() -> None:
    meter = metered(node(tenant("a", 0), tenant("b", 0, mine=False)), 10_000)
    meter = metered(node(tenant("a", 0)), 20_000, meter)
    ended = {one.uid: one.end_ms for one in meter.nodes[0].tenants}
    assert ended == {"a": None, "b": T0 + 20_000}


INSTANTS = st.integers(0, 100_000)
PODS = st.lists(
    st.tuples(INSTANTS, st.none() | INSTANTS, st.integers(1, 4), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


def tenants_of(owner: int, pods: list[tuple[int, int | None, int, int]]) -> list[Tenant]:
    return [
        tenant(f"p{k}", start, None if end is None else max(start, end), gpus, mine=who == owner)
        for k, (start, end, gpus, who) in enumerate(pods)
    ]


def held_ms(pods: list[Tenant], at: int, gpus: int) -> int:
    """GPU-ms held of the node by all pods together; a node of eight may be told of more than it has."""
    edges = sorted(
        {0, at, *(min(max(e - T0, 0), at) for p in pods for e in (p.start_ms, p.end_ms or T0 + at))}
    )
    total = 0
    for since, until in pairwise(edges):
        holds = sum(
            p.gpus
            for p in pods
            if p.start_ms <= T0 + since and (p.end_ms is None or T0 + since < p.end_ms)
        )
        total += min(gpus, holds) * (until - since)
    return total


@settings(deadline=None)
@given(PODS, st.integers(0, 150_000))
def test_all_shares_and_what_is_held_are_the_node_s_whole_life(
    pods: list[tuple[int, int | None, int, int]], at: int
) -> None:
    shares = Fraction(0)
    for owner in range(3):
        mine = tenants_of(owner, pods)
        if any(one.mine for one in mine):
            shares += free(metered(node(*mine), 200_000), at)
    whole = 8 * at - held_ms(tenants_of(0, pods), at, 8)
    assert whole - 3 <= shares <= whole  # each of three shares is cut to the millisecond


@settings(deadline=None)
@given(PODS, st.lists(INSTANTS, max_size=5))
def test_passes_in_between_change_nothing(
    pods: list[tuple[int, int | None, int, int]], passes: list[int]
) -> None:
    mine = tenants_of(pods[0][3], pods)
    ended = [replace(one, end_ms=one.end_ms or T0 + 100_000) for one in mine]
    at_once = metered(node(*ended, gone=100_000), 100_000 + SETTLE_MS)
    meter = Meter()
    for at in sorted(passes):
        so_far = [
            replace(one, end_ms=one.end_ms if one.end_ms and one.end_ms <= T0 + at else None)
            for one in ended
            if one.start_ms <= T0 + at
        ]
        meter = metered(node(*so_far), at, meter)
    meter = metered(node(*ended, gone=100_000), 100_000 + SETTLE_MS, meter)
    assert meter.rows == at_once.rows


@pytest.mark.parametrize("gpus", [1, 2])
def test_more_held_than_the_node_has_leaves_nothing_over(gpus: int) -> None:
    meter = metered(node(tenant("a", 0, gpus=3), gpus=gpus), HOUR)
    assert free(meter, HOUR) == 0
