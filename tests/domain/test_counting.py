"""What engines' counters tell of requests that no gateway sees: when it was asked, when it was busy, what it made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from torpor.api.status import TokenSource, TokensStatus
from torpor.domain.counting import (
    REMEMBERED_MS,
    Count,
    ended,
    first_read,
    read_again,
    with_engines,
)
from torpor.domain.observation import Demand, EngineReport, GatewayReport, Tokens
from torpor.domain.remembering import tokens_counted
from torpor.domain.returning import gaps_since

NOW = 1_800_000_000_000
ENGINE = EngineReport("uid-a", "tiny-a", started_ms=NOW - 60_000)
SOME = Tokens(10, 20)


NOTHING = Tokens()


def report(last: int | None = None, tokens: Tokens = NOTHING, on_a: int = 0) -> GatewayReport:
    return GatewayReport("gw", NOW, 1, 0, on_a, last, tokens, on_pods={"uid-a": on_a})


@pytest.mark.parametrize(
    ("count", "told", "active"),
    [
        (Count(), None, False),
        (Count(1), None, True),
        (Count(0, 3, SOME), None, True),
        (Count(0, 3, SOME), SOME, False),
        (Count(0, 4, Tokens(11, 21)), SOME, True),
        (Count(1, 3, SOME), SOME, True),
    ],
)
def test_the_first_reading_is_compared_with_the_status(
    count: Count, told: Tokens | None, active: bool
) -> None:
    found = first_read(ENGINE, count, told, NOW)
    assert found.last_active_ms == (NOW if active else None)
    assert found.busy == (((NOW, None),) if count.requests else ())


def test_a_request_between_two_readings_is_seen_by_what_it_left() -> None:
    quiet = first_read(ENGINE, Count(), None, NOW)
    still = read_again(quiet, Count(), NOW + 1000)
    assert (still.last_active_ms, still.busy) == (None, ())
    asked = read_again(still, Count(0, 1, SOME), NOW + 2000)
    assert (asked.last_active_ms, asked.busy) == (NOW + 2000, ((NOW + 1000, NOW + 2000),))
    assert read_again(asked, Count(0, 1, SOME), NOW + 3000).last_active_ms == NOW + 2000


def test_what_runs_on_is_one_interval() -> None:
    seen = first_read(ENGINE, Count(), None, NOW)
    for second, requests in enumerate((1, 2, 1), 1):
        seen = read_again(seen, Count(requests, second), NOW + second * 1000)
    assert seen.busy == ((NOW, None),)
    seen = read_again(seen, Count(0, 4, SOME), NOW + 4000)
    assert (seen.busy, seen.last_active_ms) == (((NOW, NOW + 4000),), NOW + 4000)
    seen = read_again(seen, Count(1, 4, SOME), NOW + 5000)
    assert seen.busy == ((NOW, None),)  # nothing lies between: the reading at 4 s was both
    seen = read_again(read_again(seen, Count(0, 5), NOW + 6000), Count(0, 5), NOW + 7000)
    late = read_again(seen, Count(0, 5), NOW + 6000 + REMEMBERED_MS)
    assert (seen.busy, late.busy) == (((NOW, NOW + 6000),), ())


def engine(requests: int = 0, as_of_ms: int = NOW, **more: Any) -> EngineReport:
    return replace(ENGINE, as_of_ms=as_of_ms, requests=requests, **more)


@pytest.mark.parametrize(("by_engine", "by_gateway", "both"), [(5, 2, 5), (2, 5, 5), (0, 0, 0)])
def test_a_request_through_a_gateway_counts_once(
    by_engine: int, by_gateway: int, both: int
) -> None:
    demand = with_engines(Demand((report(on_a=by_gateway),)), [engine(by_engine)], ())
    assert demand.in_flight == both
    assert demand.in_flight_on("uid-a") == both
    assert demand.in_flight_on("uid-b") == 0


def test_what_a_pod_ran_that_is_gone_runs_no_more() -> None:
    last = ended(engine(3, as_of_ms=NOW - 10**6, busy=((NOW - 2 * 10**6, None),)))
    demand = with_engines(Demand((report(),)), [last], ())
    assert (demand.in_flight, demand.as_of_ms, demand.known) == (0, NOW, True)
    assert demand.busy("uid-a") == [(NOW - 2 * 10**6, NOW - 10**6)]
    assert gaps_since(demand, None)[1] == NOW - 10**6


def test_an_engine_that_does_not_answer_leaves_it_unknown_and_its_word_ends_with_its_last() -> None:
    open_since = engine(1, busy=((NOW - 5000, None),), as_of_ms=NOW - 3000)
    demand = with_engines(Demand((report(),)), [open_since], ["tiny-a"])
    assert not demand.known
    assert demand.busy("uid-a") == [(NOW - 5000, NOW - 3000)]
    assert (demand.as_of_ms, demand.answered_ms) == (NOW - 3000, NOW)
    assert not with_engines(Demand(), [engine()], ()).known  # no gateway has answered


def test_the_idle_clock_starts_at_the_later_of_both_words() -> None:
    gateway = Demand((report(last=NOW - 9000),))
    assert with_engines(gateway, [engine(last_active_ms=NOW - 4000)], ()).last_byte_ms == NOW - 4000
    assert with_engines(gateway, [engine()], ()).last_byte_ms == NOW - 9000


def test_gaps_are_learned_from_what_engines_were_asked() -> None:
    busy = ((NOW - 90_000, NOW - 80_000), (NOW - 20_000, NOW - 18_000))
    demand = with_engines(Demand((report(),)), [engine(busy=busy)], ())
    gaps, end = gaps_since(demand, None)
    assert [(gap.start_ms, gap.end_ms) for gap in gaps] == [(NOW - 80_000, NOW - 20_000)]
    assert end == NOW - 18_000


def test_of_a_direct_endpoint_engines_count_tokens_and_gateways_are_only_noted() -> None:
    both = with_engines(Demand((report(tokens=SOME),)), [engine(tokens=Tokens(30, 50, 4))], ())
    counted = tokens_counted(TokensStatus(), both, NOW - 10**6)
    assert (counted.prompt, counted.completion, counted.cached) == (30, 50, 4)
    assert tokens_counted(counted, both, NOW - 10**6) == counted
    more = with_engines(Demand((report(tokens=SOME),)), [engine(tokens=Tokens(31, 52, 4))], ())
    assert tokens_counted(counted, more, NOW - 10**6).completion == 52
    alone = tokens_counted(counted, Demand((report(tokens=Tokens(11, 22)),)))
    assert (alone.prompt, alone.completion) == (31, 52)  # what came through gateways since
    assert [source.gateway for source in alone.sources] == ["gw"]


def test_what_gateways_counted_before_it_was_direct_is_not_counted_again_by_engines() -> None:
    before = TokensStatus(
        prompt=10, completion=20, sources=(TokenSource(gateway="gw", started_at_ms=1, prompt=10),)
    )
    turned = with_engines(Demand((report(tokens=SOME),)), [engine(tokens=SOME)], ())
    counted = tokens_counted(before, turned, NOW)
    assert (counted.prompt, counted.completion) == (10, 20)
    more = with_engines(Demand((report(tokens=SOME),)), [engine(tokens=Tokens(12, 25))], ())
    assert tokens_counted(counted, more, NOW).completion == 25


def test_an_engine_that_started_again_counts_from_zero_again() -> None:
    crashed = ended(engine(1, busy=((NOW - 9000, None),)))
    begun = first_read(replace(ENGINE, busy=crashed.busy), Count(1), None, NOW + 1000)
    assert begun.busy == ((NOW - 9000, NOW), (NOW + 1000, None))
    counted = tokens_counted(TokensStatus(), with_engines(Demand(), [engine(tokens=SOME)], ()), 1)
    again = engine(tokens=Tokens(1, 2), started_ms=NOW - 1000)
    both = tokens_counted(counted, with_engines(Demand(), [again], ()), 1)
    assert (both.prompt, both.completion) == (11, 22)
