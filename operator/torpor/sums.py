"""Counters and histograms that every request adds to: plain numbers of one event loop until somebody reads them.

The instruments of prometheus-client are for threads: each number costs a lock and several calls, and eight of them were
a tenth of what a small request costs. These become its metric families when its registry collects.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Key = tuple[str | tuple[str, ...], ...]
"""Label values in the order of the names; several in a row may come as one tuple, so that none is built anew."""
Kept = TypeVar("Kept")


class ByLabels(Generic[Kept]):
    """Something kept for each combination of label values."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Keep nothing yet; *labels* are the names."""
        self.labels = tuple(labels)
        self.series: dict[Key, Kept] = {}

    def forget(self, values: Mapping[str, str]) -> None:
        """Drop the series that have these values; none where there are no such labels."""
        if values.keys() <= set(self.labels):
            wanted = [values.get(name) for name in self.labels]
            self.series = {
                key: kept
                for key, kept in self.series.items()
                if any(w not in (None, v) for w, v in zip(wanted, _flat(key), strict=True))
            }


class Totals(ByLabels[float], Collector):
    """A counter."""

    def __init__(
        self, name: str, words: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        """Begin without a series; *words* say what it is."""
        super().__init__(labels)
        self._name, self._words = name, words
        registry.register(self)

    def add(self, key: Key, amount: float) -> None:
        """Add to one series."""
        series = self.series
        series[key] = series.get(key, 0.0) + amount

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give what prometheus-client shows."""
        family = CounterMetricFamily(self._name, self._words, labels=self.labels)
        for key, total in self.series.items():
            family.add_metric(_flat(key), total)
        yield family


class Times(ByLabels[list[float]], Collector):
    """A histogram of seconds."""

    def __init__(
        self,
        name: str,
        words: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Begin without a series; a bucket ends at each of *bounds*, which ascend, and the last one at infinity."""
        super().__init__(labels)
        self._name, self._words = name, words
        self._bounds = tuple(bounds)
        self._names = [floatToGoString(bound) for bound in (*bounds, float("inf"))]
        registry.register(self)

    def observe(self, key: Key, seconds: float) -> None:
        """Count one time in one series."""
        counts = self.series.get(key)
        if counts is None:
            counts = self.series[key] = [0.0] * (len(self._names) + 1)
        counts[bisect_left(self._bounds, seconds)] += 1
        counts[-1] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what prometheus-client shows: each bucket holds those below it too."""
        family = HistogramMetricFamily(self._name, self._words, labels=self.labels)
        for key, counts in self.series.items():
            buckets = list(zip(self._names, accumulate(counts[:-1]), strict=True))
            family.add_metric(_flat(key), buckets, counts[-1])
        yield family


def _flat(key: Iterable[str | tuple[str, ...]]) -> list[str]:
    return [value for part in key for value in ((part,) if isinstance(part, str) else part)]
