"""The replay against a second one that goes second by second, and against cases worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torpor.domain.keepalive import Keep
from torpor.domain.prewake import Prewake
from torpor.simulate.policies import Adaptive, Fixed, Mind
from torpor.simulate.replay import Outcome, clairvoyant, replay
from torpor.simulate.traffic import Trace, endpoint_of


@dataclass
class Same:
    """Decides the same every time, a prewake included."""

    kept: Keep
    name: str = "same"

    def mind(self, cold_s: float) -> Mind:
        return self

    def idle(self, hour: float) -> Keep:
        return self.kept

    def came(self, gap_s: float) -> None:
        """Learn nothing."""


def trace_of(*requests: tuple[float, float], length_s: float = 10_000.0) -> Trace:
    return Trace("made", length_s, (endpoint_of("e", requests),))


def second_by_second(trace: Trace, kept: Keep, cold: int) -> tuple[int, list[int]]:
    """Return GPU-seconds and waits, found by watching the replica at every second."""
    requests = list(zip(trace.endpoints[0].arrivals, trace.endpoints[0].services, strict=True))
    length, billed, waits = int(trace.length_s), 0, list[int]()
    running, ahead, tried, ready, end = False, False, True, 0, -1
    now = 0
    while now < max(length, end):
        for at, service in requests:
            if at == now:
                if not running:
                    running, ready = True, now + cold
                ahead, tried = False, False
                if now < ready:
                    waits.append(ready - now)
                end = max(end, max(now, ready) + int(service))
        if running and not ahead and now >= end + kept.seconds:
            running = False
        prewake = kept.prewake
        if prewake is not None and end >= 0:
            if ahead and now >= end + prewake.until_s:
                running, ahead = False, False
            if not running and not tried and now == end + prewake.start_s:
                running, ahead, tried, ready = True, True, True, now + cold
        billed += running and (now < length or now < end)
        now += 1
    return billed, waits


REQUESTS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 40)), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    REQUESTS,
    st.integers(0, 60),
    st.integers(1, 30),
    st.integers(1, 60),
    st.integers(1, 60),
    st.booleans(),
)
def test_it_agrees_with_a_second_implementation(
    requests: list[tuple[int, int]], keep: int, cold: int, later: int, stay: int, ahead: bool
) -> None:
    start = keep + later
    kept = Keep(keep, "", Prewake(start, start + cold + stay) if ahead else None)
    trace = trace_of(*requests, length_s=500.0)
    found = replay(trace, Same(kept), cold)
    billed, waits = second_by_second(trace, kept, cold)
    assert found.gpu_s == billed
    assert sorted(found.waits) == sorted(waits)


def one(policy: Fixed, *requests: tuple[float, float], cold_s: float = 60.0) -> Outcome:
    return replay(trace_of(*requests), policy, cold_s)


def test_whoever_comes_while_it_starts_waits_for_the_rest() -> None:
    found = one(Fixed(0), (100, 10), (130, 10), (159, 1), (160, 5))
    assert found.waits == [60, 30, 1]
    assert (found.gpu_s, found.starts, found.delayed) == (70, 1, 0.75)


def test_idle_time_begins_at_the_last_byte_of_the_last_answer() -> None:
    found = one(Fixed(30), (0, 100), (20, 1), (189, 1), (221, 1))
    assert (found.starts, found.gpu_s) == (2, (160 + 29 + 1 + 30) + (60 + 1 + 30))


def test_percentiles_are_over_all_requests() -> None:
    found = Outcome("x", requests=20, waits=[5.0, 60.0])
    assert [found.wait(share) for share in (0.5, 0.9, 0.95, 1.0)] == [0.0, 0.0, 5.0, 60.0]
    assert found.mean_wait_s == 3.25


def test_nothing_is_billed_of_an_endpoint_that_nobody_asks() -> None:
    trace = Trace("quiet", 100.0, (endpoint_of("e", []),))
    for outcome in (replay(trace, Fixed(50), 60), clairvoyant(trace, 60)):
        assert (outcome.gpu_s, outcome.starts, outcome.delayed, outcome.wait(0.95)) == (0, 0, 0, 0)


def test_the_bound_pays_for_each_gap_the_cheaper_of_it_and_a_start() -> None:
    found = clairvoyant(trace_of((100, 10), (105, 20), (140, 10), (500, 10)), 60)
    assert found.gpu_s == 60 + 25 + 15 + 10 + 60 + 10
    assert (found.starts, found.delayed) == (2, 0.0)


@settings(max_examples=40, deadline=None)
@given(REQUESTS, st.integers(1, 30))
def test_always_on_is_the_dearest_and_waits_once(
    requests: list[tuple[int, int]], cold: int
) -> None:
    found = replay(trace_of(*requests), Fixed(1e9), cold)
    assert found.starts == 1
    assert found.gpu_s == 10_000 - min(at for at, _ in requests)


def test_the_adaptive_policy_learns_while_it_goes() -> None:
    chats = [(k * 20_000.0 + j * 25, 5.0) for k in range(30) for j in range(8)]
    trace = trace_of(*chats, length_s=600_000.0)
    adaptive, never = replay(trace, Adaptive(5.0), 60), replay(trace, Fixed(0), 60)
    assert adaptive.gpu_s < replay(trace, Fixed(300), 60).gpu_s
    assert adaptive.delayed < never.delayed


def test_a_policy_without_prewakes_starts_none() -> None:
    timer = [(600.0 * k, 5.0) for k in range(200)]
    trace = trace_of(*timer, length_s=120_000.0)
    with_them, without = Adaptive(5.0), Adaptive(5.0, prewakes=False)
    assert replay(trace, without, 60).prewakes == 0
    ahead = replay(trace, with_them, 60)
    assert ahead.prewakes > 100
    assert ahead.delayed < 0.2
    assert replay(trace, without, 60).delayed == pytest.approx(1.0)
