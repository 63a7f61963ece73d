"""Who gives up a GPU that costs nothing: the one that will be missed least, and nobody for nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torpor.domain.yielding import (
    PATIENCE_MS,
    Holder,
    Room,
    Waiting,
    givers,
    in_order,
    returns_per_hour,
    to_yield,
)

NOW = 1_800_000_000_000
NODES = ("n", "m")
HOLDERS = st.lists(
    st.builds(
        Holder,
        st.text("abc", min_size=1, max_size=3),
        st.floats(0, 100),
        st.floats(1, 600),
        st.dictionaries(st.sampled_from(NODES), st.integers(1, 8)),
    ),
    max_size=8,
    unique_by=lambda one: one.name,
)


def holder(name: str, gpus: int, per_hour: float = 1.0, cold_s: float = 60.0) -> Holder:
    return Holder(name, per_hour, cold_s, {"n": gpus} if gpus else {})


def waits(name: str, gpus: int, *nodes: str, since_ms: int = NOW - 1_000) -> Waiting:
    return Waiting(name, gpus, frozenset(nodes or NODES), since_ms)


def test_the_rarest_leaves_first_then_the_quickest_to_wake_then_the_largest() -> None:
    rare = holder("rare", 1, 0.1)
    quick = holder("quick", 1, 2.0, 15.0)
    large = holder("large", 8, 2.0, 180.0)
    often = holder("often", 1, 2.0)
    assert in_order([often, large, quick, rare], "n") == [rare, quick, large, often]


def test_only_as_many_leave_as_are_needed() -> None:
    small, large = holder("small", 1, 1.0, 30.0), holder("large", 4, 1.0, 180.0)
    assert to_yield([small, large], "n", 1) == (small,)
    assert to_yield([small, large], "n", 4) == (large,)
    assert to_yield([small, large], "n", 5) == (small, large)


def test_nobody_leaves_if_it_would_not_be_enough() -> None:
    assert to_yield([holder("a", 2)], "n", 3) == ()
    assert to_yield([], "n", 1) == ()
    assert to_yield([holder("a", 2)], "n", 0) == ()
    assert to_yield([holder("a", 2)], "m", 1) == ()


def test_who_holds_nothing_is_not_asked() -> None:
    assert in_order([holder("asleep", 0)], "n") == []


def test_who_is_not_asked_any_more_is_missed_less_and_less() -> None:
    unknown = returns_per_hour(0, 0, 0)
    assert unknown == 1.0
    assert returns_per_hour(10, 10, 0) == pytest.approx(1.0)
    assert returns_per_hour(10, 10, 24) == pytest.approx(11 / 35)
    assert returns_per_hour(60, 1, 0) > unknown > returns_per_hour(0, 0, 5)


def test_gpus_of_two_nodes_do_not_add_up() -> None:
    spread = [Holder("a", 1, 60, {"n": 2}), Holder("b", 1, 60, {"m": 2})]
    rooms = {"n": Room(0), "m": Room(0)}
    assert givers([waits("x", 4)], rooms, spread, NOW) == {}
    assert givers([waits("x", 2)], rooms, spread, NOW) == {"b": "x"}  # the first node by name


def test_the_node_with_the_least_loss_is_cleared() -> None:
    there = [Holder("dear", 50, 60, {"m": 2}), Holder("cheap", 1, 60, {"n": 2})]
    rooms = {"n": Room(0), "m": Room(0)}
    assert givers([waits("x", 2)], rooms, there, NOW) == {"cheap": "x"}
    assert givers([waits("x", 2, "m")], rooms, there, NOW) == {"dear": "x"}
    assert givers([waits("x", 2, "elsewhere")], rooms, there, NOW) == {}


def test_what_is_free_already_is_counted() -> None:
    there = [holder("one", 1), holder("three", 3)]
    assert givers([waits("x", 3, "n")], {"n": Room(2)}, there, NOW) == {"three": "x"}
    assert givers([waits("x", 2, "n")], {"n": Room(1)}, [holder("one", 1)], NOW) == {"one": "x"}


def test_two_who_wait_get_two_and_the_one_who_waits_longest_chooses() -> None:
    there = [holder("a", 1, 0.1), holder("b", 1, 0.2), holder("c", 1, 0.3)]
    queue = [waits("late", 1, "n", since_ms=NOW - 1), waits("early", 1, "n", since_ms=NOW - 9)]
    assert givers(queue, {"n": Room(0)}, there, NOW) == {"a": "early", "b": "late"}


def test_what_one_leaves_over_is_for_the_next() -> None:
    queue = [waits("x", 1, "n", since_ms=NOW - 9), waits("y", 3, "n", since_ms=NOW - 1)]
    assert givers(queue, {"n": Room(0)}, [holder("big", 4)], NOW) == {"big": "x"}


def test_nobody_leaves_while_enough_are_on_their_way_out() -> None:
    there = [holder("a", 2)]
    old = waits("x", 2, "n", since_ms=NOW - 10 * PATIENCE_MS)
    assert givers([old], {"n": Room(2, leaving=True)}, there, NOW) == {}


def test_what_seems_free_is_given_time_and_then_not_believed() -> None:
    there, rooms = [holder("a", 2)], {"n": Room(2)}
    assert givers([waits("x", 2, "n")], rooms, there, NOW) == {}
    patient = waits("x", 2, "n", since_ms=NOW - PATIENCE_MS)
    assert givers([patient], rooms, there, NOW) == {"a": "x"}


@settings(deadline=None)
@given(HOLDERS, st.integers(1, 16))
def test_enough_is_freed_and_nobody_leaves_for_nothing(holders: list[Holder], gpus: int) -> None:
    leaving = to_yield(holders, "n", gpus)
    freed = sum(one.on["n"] for one in leaving)
    if sum(one.on.get("n", 0) for one in holders) < gpus:
        assert not leaving
    else:
        assert freed >= gpus
        assert all(freed - one.on["n"] < gpus for one in leaving)


@settings(deadline=None)
@given(
    HOLDERS,
    st.lists(st.integers(1, 8), max_size=4),
    st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
def test_only_holders_leave_each_once_and_for_one_who_waits(
    holders: list[Holder], needs: list[int], free: tuple[int, int]
) -> None:
    queue = [waits(f"w{k}", gpus, since_ms=NOW - k) for k, gpus in enumerate(needs)]
    rooms = dict(zip(NODES, map(Room, free), strict=True))
    leaving = givers(queue, rooms, holders, NOW)
    assert leaving.keys() <= {one.name for one in holders if one.on}
    assert set(leaving.values()) <= {one.name for one in queue}
    assert givers(reversed(queue), rooms, reversed(holders), NOW) == leaving
    assert [room.free for room in rooms.values()] == list(free)
