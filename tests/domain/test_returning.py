"""Idle gaps, read off what the gateways tell of requests: each once, whatever the passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.observation import Demand, GatewayReport, WakeReport
from torpor.domain.returning import Gap, gaps_since

NOW = 1_800_000_000_000
Intervals = tuple[tuple[int, int | None], ...]


def report(*busy: tuple[int, int | None], name: str = "gw-1", as_of: int = NOW) -> GatewayReport:
    """A gateway's word; instants are seconds before NOW."""
    intervals = tuple((NOW - 1000 * a, None if b is None else NOW - 1000 * b) for a, b in busy)
    return GatewayReport(name, as_of, 1, busy={"pod": intervals})


def ago(seconds: float) -> int:
    return NOW - round(1000 * seconds)


def test_the_first_activity_ends_no_gap() -> None:
    assert gaps_since(Demand((report((100, 90)),)), None) == ([], ago(90))


def test_a_gap_is_counted_when_the_request_that_ends_it_has_come() -> None:
    demand = Demand((report((100, 90)),))
    assert gaps_since(demand, ago(90)) == ([], ago(90))
    demand = Demand((report((100, 90), (30, 20)),))
    assert gaps_since(demand, ago(90)) == ([Gap(ago(90), ago(30))], ago(20))
    assert Gap(ago(90), ago(30)).seconds == 60


def test_a_request_that_still_runs_ends_the_gap_and_begins_none() -> None:
    demand = Demand((report((100, 90), (30, None)),))
    assert gaps_since(demand, ago(90)) == ([Gap(ago(90), ago(30))], NOW)
    later = Demand((replace(report((100, 90), (30, -5)), as_of_ms=NOW + 10_000),))
    assert gaps_since(later, NOW) == ([], NOW + 5_000)


def test_requests_at_several_gateways_and_pods_are_one_activity() -> None:
    one = report((100, 80))
    other = report((90, 60), name="gw-2")
    third = replace(
        report(name="gw-3"), busy={"a": ((ago(65), ago(50)),), "b": ((ago(55), ago(40)),)}
    )
    assert gaps_since(Demand((one, other, third)), ago(130)) == ([Gap(ago(130), ago(100))], ago(40))


def test_a_wake_ends_the_gap_when_its_request_comes_not_when_it_is_answered() -> None:
    woken = WakeReport(ago(70), patched_ms=ago(69.9), healthy_ms=ago(12), first_byte_ms=ago(10))
    demand = Demand((replace(report((10, 5)), wakes=(woken,)),))
    assert gaps_since(demand, ago(370)) == ([Gap(ago(370), ago(70))], ago(5))


def test_while_a_request_is_held_nobody_is_idle() -> None:
    held = Demand((replace(report(), wakes=(WakeReport(ago(70)),), waiting=1),))
    assert gaps_since(held, ago(370)) == ([Gap(ago(370), ago(70))], NOW)


def test_who_left_before_it_was_awake_was_there_all_the_same() -> None:
    gone = Demand((replace(report(), wakes=(WakeReport(ago(70), patched_ms=ago(69)),)),))
    assert gaps_since(gone, ago(370)) == ([Gap(ago(370), ago(70))], ago(70))


@pytest.mark.parametrize("demand", [Demand(), Demand((report((30, 20)),), ("gw-2",))])
def test_while_a_gateway_is_silent_nothing_is_learned(demand: Demand) -> None:
    assert gaps_since(demand, ago(90)) == ([], ago(90))


def test_what_only_the_faster_gateway_can_know_yet_waits() -> None:
    fast, slow = report((3, 2)), report(name="gw-2", as_of=ago(5))
    assert gaps_since(Demand((fast, slow)), ago(90)) == ([], ago(90))


_SPANS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=12,
)


@given(_SPANS, st.lists(st.integers(1, 560), max_size=6))
def test_any_passes_find_the_same_gaps_as_one(
    spans: list[tuple[int, int]], looks: list[int]
) -> None:
    def told_at(second: int) -> Demand:
        """What a gateway tells at that second of requests from second to second."""
        begun = [(a, b) for a, b in spans if a < second]
        busy: Intervals = tuple((1000 * a, 1000 * b if b <= second else None) for a, b in begun)
        return Demand((GatewayReport("gw", 1000 * second, 1, busy={"pod": busy}),))

    at_once, end = gaps_since(told_at(600), 0)
    found, cursor = list[Gap](), 0
    for second in [*sorted(looks), 600]:
        more, after = gaps_since(told_at(second), cursor)
        assert after is not None
        assert after >= cursor
        found, cursor = found + more, after
    assert (found, cursor) == (at_once, end)
    covered = sum(gap.end_ms - gap.start_ms for gap in at_once)
    awake = {ms for a, b in spans for ms in range(a, b)}
    assert covered // 1000 + len(awake) == (end or 0) // 1000
