"""What a pod's timestamps mean: its GPU-milliseconds by price and phase, in closed form."""

from __future__ import annotations

from itertools import pairwise

from torpor.domain.ledger import LivePod, Price, Segment, union
from torpor.domain.observation import Demand
from torpor.domain.phases import Phases


def phases_of(entry: LivePod, demand: Demand, at_ms: int) -> list[tuple[Price, Phases]]:
    """Return the GPU-ms of one pod from its start to *at_ms* (or to its end, if earlier), by price and phase."""
    end = max(
        entry.start_ms, min(at_ms, entry.finished_ms if entry.finished_ms is not None else at_ms)
    )
    deleted = (
        min(max(entry.deleted_ms, entry.start_ms), end) if entry.deleted_ms is not None else end
    )
    ready = entry.first_ready_ms
    serving_from = deleted if ready is None else min(max(ready, entry.start_ms), deleted)
    failed = has_failed(entry)
    found = list[tuple[Price, Phases]]()
    for segment, low, high in spans(entry, end):
        starting = _overlap(low, high, entry.start_ms, serving_from)
        serving = _overlap(low, high, serving_from, deleted)
        still_open = max(low, serving_from, entry.busy_through_ms)
        busy = segment.busy_ms + busy_between(entry, demand, still_open, min(high, deleted))
        busy = min(busy, serving)
        phases = Phases(
            starting=starting,
            busy=busy,
            idle=serving - busy,
            terminating=_overlap(low, high, deleted, end),
            failed_starting=starting if failed else 0,
        )
        found.append((segment.price, phases.times(entry.gpus)))
    return found


def has_failed(entry: LivePod) -> bool:
    """Say whether a pod has ended, or is told to, without having been Ready before that.

    Kubernetes writes whole seconds: Ready in the second of its deletion still was Ready.
    """
    ready, deleted = entry.first_ready_ms, entry.deleted_ms
    if ready is None:
        return deleted is not None or entry.finished_ms is not None
    return deleted is not None and ready > deleted


def spans(entry: LivePod, end_ms: int) -> list[tuple[Segment, int, int]]:
    """Return each segment with its beginning and its end; those that begin after *end_ms* are empty."""
    edges = [min(segment.from_ms, end_ms) for segment in entry.segments]
    bounds = pairwise([entry.start_ms, *edges[1:], end_ms])
    return [
        (segment, low, high) for segment, (low, high) in zip(entry.segments, bounds, strict=True)
    ]


def _overlap(low: int, high: int, start: int, end: int) -> int:
    return max(0, min(high, end) - max(low, start))


def busy_between(entry: LivePod, demand: Demand, low: int, high: int) -> int:
    """Return the ms between two instants in which a gateway had requests on the pod."""
    cut = (
        (max(start, low), min(high if end is None else end, high))
        for start, end in demand.busy(entry.uid)
    )
    return union((start, end) for start, end in cut if end > start)
