"""A Prometheus histogram with vLLM's buckets."""

from bisect import bisect_left
from dataclasses import dataclass, field

FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
LATENCY_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


@dataclass
class Histogram:
    """Counts of observations per bucket; `bounds` are upper bounds in seconds, ascending."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """Pairs of (upper bound, observations up to it), ending with +Inf."""
        total = 0
        pairs = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            pairs.append((bound, total))
        return pairs


def first_token_histogram() -> Histogram:
    """Buckets of vllm:time_to_first_token_seconds."""
    return Histogram(FIRST_TOKEN_BUCKETS)


def latency_histogram() -> Histogram:
    """Buckets of the request's latency and queue time."""
    return Histogram(LATENCY_BUCKETS)
