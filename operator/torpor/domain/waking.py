"""Wakes, counted once each from what the gateways report, with their parts from the pod's own timestamps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torpor.api.status import Wake, WakesStatus
from torpor.domain.observation import Demand, PodSeen, WakeReport
from torpor.domain.remembering import epoch_ms, moment

KEEP = 32
"""Total times kept for the percentiles: enough for a p95, small enough for a status."""


PATIENCE_MS = 10_000
"""How long a wake waits for the kubelet to tell when the engine started; then it is counted without that part."""


def count_wakes(
    before: WakesStatus, demand: Demand, pods: Sequence[PodSeen], now_ms: int
) -> WakesStatus:
    """Add the wakes that have become healthy since `before`, oldest first; a wake already counted adds nothing."""
    last = epoch_ms(before.last.at) if before.last else None
    done = sorted(
        (wake for report in demand.reports for wake in report.wakes if wake.healthy_ms is not None),
        key=lambda wake: wake.at_ms,
    )
    wakes = before
    for wake in done:
        if last is not None and wake.at_ms <= last:
            continue
        pod = _pod_of(wake, pods)
        if (pod is None or pod.engine_started_ms is None) and now_ms - (
            wake.healthy_ms or 0
        ) < PATIENCE_MS:
            break
        wakes = _counted(wakes, wake, pod)
        last = wake.at_ms
    return wakes


def percentile(values: Sequence[int], share: float) -> int:
    """Return the nearest-rank percentile of *values* (not empty)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _counted(before: WakesStatus, wake: WakeReport, pod: PodSeen | None) -> WakesStatus:
    assert wake.healthy_ms is not None
    total = max(0, wake.healthy_ms - wake.at_ms)
    recent = (*before.recent_ms, total)[-KEEP:]
    return WakesStatus(
        count=before.count + 1,
        p50_seconds=_seconds(percentile(recent, 0.50)),
        p95_seconds=_seconds(percentile(recent, 0.95)),
        recent_ms=recent,
        last=_parts(wake, pod, total),
    )


def _pod_of(wake: WakeReport, pods: Sequence[PodSeen]) -> PodSeen | None:
    """The first pod made for this wake. Creation times are whole seconds, so one second earlier still counts."""
    made = [pod for pod in pods if pod.created_ms >= wake.at_ms - 1000]
    return min(made, key=lambda pod: pod.created_ms, default=None)


def _parts(wake: WakeReport, pod: PodSeen | None, total: int) -> Wake:
    patched = wake.patched_ms
    scheduled = pod.scheduled_ms if pod else None
    started = pod.engine_started_ms if pod else None
    weights_done = pod.weights_done_ms if pod else None
    return Wake(
        at=moment(wake.at_ms),
        queue=_between(wake.at_ms, patched),
        schedule=_between(patched, scheduled),
        weights=_between(scheduled, weights_done),
        image=_between(weights_done, started),
        engine=_between(started, wake.healthy_ms),
        total=_seconds(total),
    )


def _between(start: int | None, end: int | None) -> str | None:
    return None if start is None or end is None else _seconds(max(0, end - start))


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"
