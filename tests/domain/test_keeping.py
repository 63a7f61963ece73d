"""The adaptive policy fed with what an endpoint's gateways and pods tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.domain.keepalive import WEIGHTS, Bounds, Keep, Learned, learn_cold_start
from torpor.domain.keeping import Adaptive, Memory, kept_for, kept_for_nothing, remembered
from torpor.domain.observation import Demand, GatewayReport, PodSeen
from torpor.domain.prewake import Prewake

NOW = 1_800_000_000_000
BALANCED = Adaptive(WEIGHTS["balanced"], Bounds())


def told(*busy: tuple[int, int]) -> Demand:
    """Requests from second to second after NOW."""
    intervals = tuple((NOW + 1000 * a, NOW + 1000 * b) for a, b in busy)
    return Demand((GatewayReport("gw", NOW + 10**9, 1, busy={"pod": intervals}),))


def pod(uid: str, ready: int, took: int) -> PodSeen:
    at = NOW + 1000 * ready
    return PodSeen(uid, uid, 1, "l40s", scheduled_ms=at - 1000 * took, first_ready_ms=at)


def every(seconds: int, times: int) -> Demand:
    return told(*((k * (seconds + 1), k * (seconds + 1) + 1) for k in range(times)))


def test_who_knows_nothing_keeps_as_long_as_the_prior_says() -> None:
    kept = kept_for(Memory(), BALANCED, NOW)
    assert kept.ms == 48_925  # the vector of cost-policy §4.5 for 60 s: 48.9 s
    assert kept.why == "keeps 49 s: 34 % of gaps end before; a wake costs 60 s"
    assert kept.ahead_ms is None


def test_gaps_and_starts_are_learned_once() -> None:
    demand, pods = every(40, 21), [pod("a", 5, 20), pod("b", 300, 10)]
    memory = remembered(Memory(), BALANCED, demand, pods)
    assert memory.learned.habits.seen == pytest.approx(sum(0.995**k for k in range(20)))
    assert memory.learned.cold_s == pytest.approx(20 + 0.3 * (10 - 20))
    assert memory.started_ms == NOW + 300_000
    assert memory.idle_since_ms == NOW + 821_000
    assert remembered(memory, BALANCED, demand, pods) == memory


def test_an_endpoint_with_a_fixed_time_learns_the_same() -> None:
    demand = every(40, 21)
    fixed, adaptive = (remembered(Memory(), by, demand, ()) for by in (None, BALANCED))
    assert fixed.learned.habits == adaptive.learned.habits


def test_who_comes_back_every_forty_seconds_is_waited_for() -> None:
    memory = remembered(Memory(), BALANCED, every(40, 60), ())
    assert 40_000 < (kept_for(memory, BALANCED, NOW).ms or 0) < 60_000


def test_who_comes_back_every_two_hours_is_not() -> None:
    memory = remembered(Memory(), BALANCED, every(7200, 60), ())
    kept = kept_for(memory, BALANCED, NOW)
    assert kept.ms == 15_000
    assert "the least allowed" in kept.why


def test_a_start_ahead_of_demand_is_counted_from_the_end_of_the_last_activity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = Keep(20.0, "keeps 20 s", Prewake(500.0, 700.0))
    monkeypatch.setattr("torpor.domain.keeping.keep", lambda *_: chosen)
    memory = Memory(idle_since_ms=NOW)
    assert kept_for(memory, BALANCED, NOW + 3).ahead_ms == (NOW + 500_000, NOW + 700_000)
    assert kept_for(replace(memory, idle_since_ms=None), BALANCED, NOW).ahead_ms is None


def test_a_dearer_wait_is_avoided_for_longer() -> None:
    memory = Memory(learn_cold_start(Learned(), 180))
    times = [kept_for(memory, Adaptive(WEIGHTS[p], Bounds()), NOW).ms or 0 for p in WEIGHTS]
    assert times == sorted(times)
    assert times[0] < times[-1]


def test_on_a_gpu_that_costs_nothing_more_there_is_no_time_out_and_who_waits_gets_it() -> None:
    kept = kept_for_nothing(Adaptive(5, Bounds(least_s=20)), "ours")
    assert (kept.ms, kept.yields_ms, kept.ahead_ms) == (None, 20_000, None)
    assert (
        kept.why == "ours costs nothing more while it idles: kept until another endpoint needs it"
    )


def test_a_longest_time_that_the_spec_names_holds_there_too() -> None:
    kept = kept_for_nothing(Adaptive(5, Bounds(15, 1800), most_s=1800), "ours")
    assert (kept.ms, kept.yields_ms) == (1_800_000, 15_000)
    assert kept.why.endswith("needs it, or for 30 min")
