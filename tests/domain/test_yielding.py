"""Who gives up a GPU that costs nothing: the one that will be missed least, and nobody for nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from torpor.domain.yielding import Holder, in_order, to_yield

HOLDERS = st.lists(
    st.builds(
        Holder,
        st.text("abc", min_size=1, max_size=3),
        st.integers(1, 8),
        st.floats(0, 100),
        st.floats(1, 600),
    ),
    max_size=8,
)


def test_the_rarest_leaves_first_then_the_quickest_to_wake_then_the_largest() -> None:
    rare = Holder("rare", 1, 0.1, 60.0)
    quick = Holder("quick", 1, 2.0, 15.0)
    large = Holder("large", 8, 2.0, 180.0)
    often = Holder("often", 1, 2.0, 60.0)
    assert in_order([often, large, quick, rare]) == [rare, quick, large, often]


def test_only_as_many_leave_as_are_needed() -> None:
    small, large = Holder("small", 1, 1.0, 30.0), Holder("large", 4, 1.0, 180.0)
    assert to_yield([small, large], 1) == (small,)
    assert to_yield([small, large], 4) == (large,)
    assert to_yield([small, large], 5) == (small, large)


def test_nobody_leaves_if_it_would_not_be_enough() -> None:
    assert to_yield([Holder("a", 2, 1.0, 60.0)], 3) == ()
    assert to_yield([], 1) == ()
    assert to_yield([Holder("a", 2, 1.0, 60.0)], 0) == ()


def test_who_holds_nothing_is_not_asked() -> None:
    assert in_order([Holder("asleep", 0, 0.0, 60.0)]) == []


@settings(deadline=None)
@given(HOLDERS, st.integers(1, 16))
def test_enough_is_freed_and_nobody_leaves_for_nothing(holders: list[Holder], gpus: int) -> None:
    leaving = to_yield(holders, gpus)
    freed = sum(one.gpus for one in leaving)
    if sum(one.gpus for one in holders) < gpus:
        assert not leaving
    else:
        assert freed >= gpus
        assert all(freed - one.gpus < gpus for one in leaving)
