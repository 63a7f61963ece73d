"""Pods that are told to end and have nothing to finish: their GPU need not wait for the grace period.

vLLM loses a SIGTERM that reaches it between its imports and its first healthy answer (measured on 0.32): it goes on
loading and holds the GPU until it is killed, 90 s later. A pod that was never Ready and has no request in flight at any
gateway has nothing to lose, so it is deleted once more with the shortest grace.
"""

from __future__ import annotations

from collections.abc import Iterable

from torpor.domain.observation import Demand, PodSeen

SHORTEST_GRACE_SECONDS = 1


def with_nothing_to_finish(pods: Iterable[PodSeen], demand: Demand) -> tuple[PodSeen, ...]:
    """Return the leaving pods that no request can be on, as far as every gateway has said so."""
    if not demand.known:
        return ()
    return tuple(
        pod
        for pod in pods
        if pod.deleted_ms is not None
        and pod.gone_ms is None
        and pod.finished_ms is None
        and pod.first_ready_ms is None
        and pod.grace_seconds > SHORTEST_GRACE_SECONDS
        and not demand.busy(pod.uid)
    )
