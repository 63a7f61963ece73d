"""What requests add to shows the same text as prometheus-client's own instruments would."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from torpor.metrics import SECONDS
from torpor.sums import ByLabels, Times, Totals

LABELS = ("namespace", "name", "code")
labels = st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.sampled_from(("200", "499")))
NAMED = st.fixed_dictionaries({}, optional={"namespace": st.just("a"), "code": st.just("499")})


Values = tuple[str, str, str]


class Pair:
    """A registry with a sum of ours, and one with what prometheus-client has for the same."""

    def __init__(self) -> None:
        self.ours, self.theirs = CollectorRegistry(), CollectorRegistry()

    def agree(
        self, mine: ByLabels[Any], instrument: Counter | Histogram, gone: dict[str, str]
    ) -> None:
        """Show the same, and again without the series that have the values *gone*."""
        assert lines(self.ours) == lines(self.theirs)
        if gone:
            mine.forget(gone)
            instrument.remove_by_labels(gone)
            assert lines(self.ours) == lines(self.theirs)


def lines(registry: CollectorRegistry) -> list[str]:
    """The page in order of its lines: whose series comes first is nobody's business."""
    return sorted(generate_latest(registry).decode().splitlines())


@given(added=st.lists(st.tuples(labels, st.integers(0, 1000))), gone=NAMED)
def test_totals_show_what_a_counter_shows(
    added: list[tuple[Values, int]], gone: dict[str, str]
) -> None:
    pair = Pair()
    totals = Totals("requests", "Requests.", LABELS, pair.ours)
    counter = Counter("requests", "Requests.", LABELS, registry=pair.theirs)
    for values, amount in added:
        totals.add((values[:2], values[2]), amount)
        counter.labels(*values).inc(amount)
    pair.agree(totals, counter, gone)


seconds = st.one_of(st.sampled_from(SECONDS), st.floats(0, 10_000, allow_nan=False))


@given(observed=st.lists(st.tuples(labels, seconds)), gone=NAMED)
def test_times_show_what_a_histogram_shows(
    observed: list[tuple[Values, float]], gone: dict[str, str]
) -> None:
    pair = Pair()
    times = Times("seconds", "Seconds.", LABELS, SECONDS, pair.ours)
    histogram = Histogram("seconds", "Seconds.", LABELS, buckets=SECONDS, registry=pair.theirs)
    for values, took in observed:
        times.observe(values, took)
        histogram.labels(*values).observe(took)
    pair.agree(times, histogram, gone)


def test_a_name_that_is_no_label_drops_nothing() -> None:
    registry = CollectorRegistry()
    totals = Totals("requests", "Requests.", ("namespace",), registry)
    totals.add(("a",), 1)
    totals.forget({"adapter": "a"})
    assert 'requests_total{namespace="a"} 1.0' in lines(registry)
