"""What was learned of an endpoint's users goes into the status and comes back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.status import KeepAliveStatus
from torpor.domain.keepalive import Learned, learn
from torpor.domain.keeping import Memory
from torpor.domain.prewake import Price
from torpor.domain.remembering import memory_of, memory_words

_INSTANTS = st.none() | st.integers(1, 4_000_000_000_000)


@given(
    st.lists(st.tuples(st.floats(0, 200_000), st.floats(0, 23.9)), max_size=40),
    st.none() | st.floats(0.1, 4000),
    _INSTANTS,
    _INSTANTS,
)
def test_what_was_learned_survives_the_status_and_is_the_same_from_then_on(
    gaps: list[tuple[float, float]], cold_s: float | None, since: int | None, started: int | None
) -> None:
    learned = Learned(cold_s=cold_s)
    for gap_s, hour in gaps:
        learned = learn(learned, gap_s, hour, Price(60, 5))
    words = KeepAliveStatus.model_validate(memory_words(Memory(learned, since, started)))
    first = memory_of(words)
    assert (first.idle_since_ms, first.started_ms) == (since, started)
    assert sum(first.learned.habits.gaps) == pytest.approx(learned.habits.seen, abs=0.01)
    again = KeepAliveStatus.model_validate(memory_words(first))
    assert memory_of(again) == first
    assert len(words.learned or "") <= 512


def test_no_status_remembers_nothing() -> None:
    assert memory_of(KeepAliveStatus()) == Memory()
    assert memory_words(Memory()) == {"learned": None, "learned_through": None, "started_at": None}
