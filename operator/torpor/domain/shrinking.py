"""From N replicas to fewer while requests run: which one is spared, and when it may go. Nothing is cut off.

A replica that was not needed for as long as an idle endpoint is kept costs more than it is worth. The pod with the
fewest requests is marked as spare; gateways then send new requests to the others, as long as those have room. When
every gateway has seen the mark and the pod's last request has ended, the Deployment gets one replica less, and the
mark (a low deletion cost) makes it that pod that goes. If demand grows again meanwhile, the mark is taken off.

How long each number of replicas has not been needed is counted level by level (`Needed`): eight replicas that one load
needed go one after the other without another wait, and one that is needed now and then stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torpor.domain.observation import PodSeen
from torpor.domain.scalingview import ScalingSpec, ScalingView, asked, serving

HEARD_MS = 2_000
"""After which every gateway has seen a mark: its watch and one poll later."""


class Mark(NamedTuple):
    """A pod whose mark is to be set or taken off."""

    pod: PodSeen
    spare: bool


def need_of(spec: ScalingSpec, view: ScalingView) -> int:
    """Return how many replicas the requests that wait or run need, within the spec's bounds.

    What the engines ask for counts only while somebody is asked for: their word is some seconds old.
    """
    requests = asked(view)
    need = -(-requests // spec.in_flight_per_replica)
    if requests:
        need = max(need, view.engines.replicas)
    return min(spec.max_replicas, max(need, spec.min_replicas))


def spare_pod(spec: ScalingSpec, view: ScalingView, now_ms: int) -> PodSeen | None:
    """Return the pod that is not needed any more; None while all are, or while that is not known for sure."""
    replicas, pods = view.workload.replicas, serving(view)
    since = spared_at(spec, view)
    if since is None or now_ms < since or len(pods) != replicas or not view.demand.known:
        return None
    if not all(pod.ready for pod in pods):
        return None
    return min(pods, key=lambda pod: (pod.spare_ms is None, *_worth(view, pod)))


def spared_at(spec: ScalingSpec, view: ScalingView) -> int | None:
    """Return from when on the last replica is not worth keeping, if nothing changes.

    None while it is needed, and while it costs nothing to keep.
    """
    replicas, keep_ms = view.workload.replicas, spec.keep_alive_ms
    last = view.needed.last(replicas)
    if last is None or keep_ms is None or replicas <= max(1, need_of(spec, view)):
        return None
    return last + keep_ms


def may_go(view: ScalingView, pod: PodSeen, now_ms: int) -> bool:
    """Whether a spare pod has no request left, by the word of gateways that all have seen its mark."""
    if pod.spare_ms is None or not view.demand.known:
        return False
    heard = (view.demand.as_of_ms or 0) >= pod.spare_ms + HEARD_MS
    return heard and now_ms >= pod.spare_ms + HEARD_MS and not view.demand.in_flight_on(pod.uid)


def marks(view: ScalingView, spare: PodSeen | None) -> Iterable[Mark]:
    """Return the marks to change, so that the spare pod has one and no other does.

    While there are more pods than replicas somebody is about to go, and it must be the one that is marked.
    """
    pods = serving(view)
    for pod in pods if len(pods) <= view.workload.replicas else ():
        wanted = spare is not None and pod.uid == spare.uid
        if wanted != (pod.spare_ms is not None):
            yield Mark(pod, wanted)


def _worth(view: ScalingView, pod: PodSeen) -> tuple[int, int, str]:
    """The fewest requests first; of equals the youngest, whose caches hold least."""
    return view.demand.in_flight_on(pod.uid), -(pod.first_ready_ms or 0), pod.uid
