"""Endpoints that have lived through some gaps, for the tests of the keep-alive policy."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from torpor.domain.gaps import EDGES, LONGEST_S
from torpor.domain.keepalive import Bounds, Keep, Learned, choose, learn
from torpor.domain.prewake import Price

ANY = Bounds(0.0, LONGEST_S)
GAPS = st.one_of(
    st.floats(0.0, 60.0), st.floats(0.0, LONGEST_S), st.sampled_from((0.0, 1.0, *EDGES))
)
PRICES = st.builds(Price, st.floats(1.0, 900.0), st.floats(0.0, 200.0))
HOURS = st.floats(0.0, 24.0, exclude_max=True)


def lived(
    gaps: Iterable[float], price: Price, bounds: Bounds = ANY, hour: float = 0.0
) -> tuple[Learned, list[Keep]]:
    """Return what is known after these gaps, one after the other, and what was decided at each one's beginning."""
    learned, decided = Learned(), list[Keep]()
    at = hour * 3600
    for gap in gaps:
        hour_now = at / 3600 % 24
        kept = choose(learned, price, hour_now, bounds)
        decided.append(kept)
        learned = learn(learned, gap, hour_now, price, kept)
        at += gap
    return learned, decided
