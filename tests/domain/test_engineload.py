"""What engines ask for by their own counters: more replicas where requests alone do not show the need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scaling_views import NOW, READY, SPEC, STARTING, gateways, view
from torpor.api.conditions import Reason
from torpor.domain.engineload import Asking, EngineLoad, Looks, looked
from torpor.domain.scaling import decide
from torpor.domain.shrinking import need_of

LOADS = st.lists(
    st.builds(EngineLoad, st.integers(0, 300), st.integers(0, 300), st.floats(0, 1)), max_size=8
)


def seen(*looks: list[EngineLoad]) -> Looks:
    known = Looks()
    for loads in looks:
        known = looked(known, loads)
    return known


def test_a_queue_asks_for_as_many_as_would_end_it() -> None:
    queue = [EngineLoad(4, 12)]
    asking = seen(queue, queue).asking
    assert asking.replicas == 4
    assert asking.why == "the engines have 16 requests and run 4 per replica at once"


def test_one_look_is_not_believed() -> None:
    calm, queue = [EngineLoad(4, 0)], [EngineLoad(4, 12)]
    assert seen(queue).asking.replicas == 0
    assert seen(queue, calm, queue).asking.replicas == 1


def test_while_the_new_ones_start_the_same_number_is_asked_for() -> None:
    queue = [EngineLoad(4, 12)]
    assert seen(*[queue] * 20).asking.replicas == 4


def test_what_ended_the_queue_does_not_look_unneeded_afterwards() -> None:
    queue, spread = [EngineLoad(4, 12)], [EngineLoad(4, 0)] * 4
    assert seen(queue, queue, spread, spread).asking.replicas == 4
    less = [EngineLoad(1, 0)] * 4
    assert seen(queue, queue, spread, less, less).asking.replicas == 1


def test_shorter_requests_show_that_a_replica_takes_more() -> None:
    queue, more = [EngineLoad(4, 12)], [EngineLoad(16, 0)]
    assert seen(queue, queue, more, more).asking.replicas == 1


def test_a_full_cache_asks_for_more_without_a_queue() -> None:
    full = [EngineLoad(3, 0, 0.95)]
    asking = seen(full, full).asking
    assert asking == Asking(2, "the KV caches of 1 replicas are 95 % full")
    assert seen([EngineLoad(3, 0, 0.9)] * 2, [EngineLoad(3, 0, 0.9)] * 2).asking.replicas == 2
    half = [EngineLoad(3, 0, 0.5)] * 2
    assert seen(full, full, half, half).asking.replicas == 2  # one alone would be full again


def test_without_any_ready_replica_all_is_forgotten() -> None:
    queue = [EngineLoad(4, 12)]
    assert seen(queue, queue, []) == Looks()


def test_an_engine_that_queues_and_runs_nothing_tells_no_capacity() -> None:
    stuck = [EngineLoad(0, 5)]
    assert seen(stuck, stuck).asking.replicas == 0


@given(st.lists(LOADS, max_size=6))
def test_never_more_than_the_larger_of_requests_and_caches_ask_for(
    looks: list[list[EngineLoad]],
) -> None:
    known = seen(*looks)
    most = max((sum(load.requests for load in loads) for loads in looks), default=0)
    caches = max((len(loads) for loads in looks), default=0) / 0.9
    assert 0 <= known.asking.replicas <= max(most, caches + 1)


def test_their_word_raises_the_need_at_once() -> None:
    queueing = replace(
        view(1, READY, demand=gateways(in_flight=16)), engines=Asking(3, "the engines queue")
    )
    decision = decide(SPEC, queueing, NOW)
    assert (decision.reason, decision.replicas) == (Reason.SERVING, 3)
    assert decision.message == "the engines queue: 3 replicas are needed"


def test_requests_come_first_where_they_ask_for_more() -> None:
    spec = replace(SPEC, in_flight_per_replica=4)
    seen_now = replace(view(1, READY, demand=gateways(in_flight=12)), engines=Asking(2, "queue"))
    assert decide(spec, seen_now, NOW).message == "12 requests at 4 per replica need 3 replicas"


@pytest.mark.parametrize("asked", [0, 1])
def test_their_word_counts_only_while_somebody_is_asked_for(asked: int) -> None:
    seen_now = replace(view(1, READY, demand=gateways(in_flight=asked)), engines=Asking(3, "queue"))
    assert need_of(SPEC, seen_now) == (3 if asked else 0)
    assert decide(SPEC, seen_now, NOW).replicas == (3 if asked else 0)


def test_never_beyond_the_most_nor_again_while_they_start() -> None:
    asking = Asking(9, "the engines queue")
    seen_now = replace(view(1, READY, demand=gateways(in_flight=16)), engines=asking)
    assert decide(SPEC, seen_now, NOW).replicas == SPEC.max_replicas
    starting = [replace(STARTING, uid=f"s{k}") for k in range(2)]
    growing = replace(view(3, READY, *starting, demand=gateways(in_flight=16)), engines=asking)
    assert decide(SPEC, growing, NOW).replicas is None
