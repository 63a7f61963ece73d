"""How hard to pull: grow while it pays, yield when asked, never beyond the bounds."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.pacing import (
    LEAST_CONNECTIONS,
    MOST_BUFFER_BYTES,
    MOST_CONNECTIONS,
    MOST_PROCESSES,
    Pace,
    choose_hedges,
    first_connections,
    most_connections,
    next_pace,
    next_processes,
)

MB, MIB = 1e6, 1024 * 1024


def follow(pace: Pace, rate: Callable[[int], float], rounds: int) -> list[int]:
    """Connections of each round where `rate` gives bytes per second by connections."""
    seen = []
    for _ in range(rounds):
        pace = next_pace(pace, rate(pace.connections), slowed=False, most=MOST_CONNECTIONS)
        seen.append(pace.connections)
    return seen


def test_it_grows_to_the_most_while_every_connection_brings_its_share() -> None:
    assert follow(Pace(16), lambda count: count * 90 * MB, 7) == [21, 28, 37, 49, 64, 64, 64]


@pytest.mark.parametrize(
    ("wanted", "cores", "first"),
    [(0, 1, 4), (0, 2, 8), (0, 4, 16), (0, 64, 16), (1, 64, 1), (40, 2, 40)],
)
def test_it_begins_with_what_the_cores_serve_or_what_was_asked_for(
    wanted: int, cores: int, first: int
) -> None:
    assert first_connections(wanted, cores) == first


@pytest.mark.parametrize("piece_mib", [1, 2, 4, 8, 256])
def test_the_buffers_of_all_connections_fit_into_their_memory(piece_mib: int) -> None:
    most = most_connections(piece_mib << 20)
    assert LEAST_CONNECTIONS <= most <= MOST_CONNECTIONS
    assert most == LEAST_CONNECTIONS or most * (piece_mib << 20) <= MOST_BUFFER_BYTES
    assert next_pace(Pace(most), 1e9, slowed=False, most=most).connections == most


def test_growth_that_brings_nothing_is_given_back_and_tried_again_later() -> None:
    seen = follow(Pace(16), lambda _: 1000 * MB, 14)
    assert seen[:2] == [21, 16]
    assert seen[2:12] == [16] * 10
    assert seen[12] == 21


def test_it_stops_where_the_link_is_full() -> None:
    seen = follow(Pace(16), lambda count: min(count, 28) * 50 * MB, 6)
    assert seen == [21, 28, 37, 28, 28, 28]


def test_a_store_that_asks_to_slow_down_gets_half_and_recovery_is_one_by_one() -> None:
    pace = next_pace(Pace(32), 1000 * MB, slowed=True, most=MOST_CONNECTIONS)
    assert pace.connections == 16
    seen = follow(pace, lambda count: count * 90 * MB, 40)
    assert seen[:3] == [16, 16, 16]
    assert seen[3:18] == list(range(17, 32))
    assert seen[18:29] == [31] * 11
    assert seen[29] == 41


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.floats(0, 1e10), st.booleans()), max_size=60),
)
def test_it_never_leaves_its_bounds(start: int, rounds: list[tuple[float, bool]]) -> None:
    pace = Pace(start)
    for rate, slowed in rounds:
        pace = next_pace(pace, rate, slowed=slowed, most=MOST_CONNECTIONS)
        if start < LEAST_CONNECTIONS:
            assert pace.connections == start
        else:
            assert LEAST_CONNECTIONS <= pace.connections <= MOST_CONNECTIONS


@pytest.mark.parametrize(
    ("running", "cores", "rate", "busy", "wanted", "then"),
    [
        pytest.param(1, 2, 5e9, 2.0, 0, 1, id="two cores are for one process"),
        pytest.param(1, 8, 0.5e9, 0.3, 0, 1, id="not saturated"),
        pytest.param(1, 8, 1.3e9, 0.6, 0, 2, id="as fast as one can be"),
        pytest.param(1, 8, 0.6e9, 0.95, 0, 2, id="one core is busy, as with TLS"),
        pytest.param(2, 8, 1.5e9, 0.5, 0, 2, id="two are enough"),
        pytest.param(2, 4, 9e9, 2.0, 0, 2, id="no cores left"),
        pytest.param(4, 64, 9e9, 2.0, 0, MOST_PROCESSES, id="the memory bound"),
        pytest.param(1, 2, 0.0, 0.0, 3, 3, id="a person's wish"),
    ],
)
def test_a_process_is_added_only_where_those_that_run_are_saturated(
    running: int, cores: int, rate: float, busy: float, wanted: int, then: int
) -> None:
    found = next_processes(running, cores, bytes_per_second=rate, busy_cores=busy, wanted=wanted)
    assert found == then


@pytest.mark.parametrize(
    ("waited", "usual", "idle", "chosen"),
    [
        pytest.param([9.0], [], 4, [], id="nothing is known"),
        pytest.param([0.9, 1.4, 1.9], [1.0, 0.9, 5.0], 4, [], id="all as usual"),
        pytest.param([2.1, 0.1, 30.0], [1.0, 0.9, 5.0], 4, [2, 0], id="the slowest first"),
        pytest.param([2.1, 0.1, 30.0], [1.0, 0.9, 5.0], 1, [2], id="one idle hand"),
        pytest.param([0.4], [0.001], 4, [], id="half a second is nothing"),
        pytest.param([30.0], [1.0], 0, [], id="nobody is idle"),
    ],
)
def test_only_what_is_much_slower_than_usual_is_asked_for_twice(
    waited: list[float], usual: list[float], idle: int, chosen: list[int]
) -> None:
    size = 8 * MIB
    assert choose_hedges([(size, s) for s in waited], [(size, s) for s in usual], idle) == chosen


def test_a_range_is_compared_with_those_of_its_size_only() -> None:
    """On a slow link all large ranges take long, and asking twice would make all of them slower."""
    small, large = (1_000, 0.005), (8 * MIB, 6.0)
    assert choose_hedges([large] * 6, [small] * 20, 4) == []
    assert choose_hedges([(8 * MIB, 20.0)], [small] * 20 + [large], 4) == [0]
    assert choose_hedges([(3 * MIB, 20.0)], [small] * 20 + [large], 4) == [0]
    assert choose_hedges([(1_000, 2.0), large], [small] * 20, 4) == [0]
