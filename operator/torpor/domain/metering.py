"""The meter: integer GPU-milliseconds per phase and price, in closed form from recorded timestamps.

Nothing is ever added up tick by tick. A live pod's bill is a function of its timestamps and of the instant asked about,
so a pass that runs twice adds nothing and a controller that was dead for a minute loses nothing. When a pod has
stopped and every fact about it is in, its bill moves into the row of its price and the pod leaves the ledger.

Phases of a pod, for `g` GPUs (cost-policy §2.2):

    scheduled ── starting ── first Ready ── busy | idle ── deletion asked ── terminating ── last container finished

The invariant that tests hold: starting + busy + idle + terminating == accrued, exactly.

Busy is the union of the gateways' in-flight intervals on that pod, cut to its serving phase. Gateways keep intervals
for ten minutes only, so what is older than `BUSY_SETTLE_MS` is folded into `busy_ms` up to `busy_through_ms`. The
margin leaves time for a late timestamp (first Ready, deletion asked) to arrive before anything is folded. Nothing is
folded while a gateway does not answer, until the others are about to forget (`PATIENCE_MS`); what may then have been
busy and was counted as idle shows as estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torpor.domain.ledger import LivePod, Meter, Phases, Price, Row, added, union
from torpor.domain.observation import Demand, PodSeen, earliest

BUSY_SETTLE_MS = 5_000
"""How long busy time stays open for correction; timestamps of the API server arrive within a second or two."""
GATEWAY_MEMORY_MS = 600_000
"""How long gateways keep busy intervals that have ended, and pods that are gone (`torpor.gateway.tally`)."""
PATIENCE_MS = 540_000
"""How long to wait for a gateway that does not answer: a minute less than the others remember."""
REMEMBER_CLOSED_MS = 1_200_000
"""How long at least a closed pod's uid is remembered (20 min): twice as long as a gateway remembers a pod."""
GRACE_MS = 90_000
"""Longest time from the request to delete an engine pod to its end; see `manifests.engine`."""


def accrue(
    meter: Meter, pods: Sequence[PodSeen], demand: Demand, prices: dict[str, Price], now_ms: int
) -> Meter:
    """Bring *meter* up to date with what is seen; pure, idempotent, independent of how often it is called.

    Args:
        meter: The ledger as stored.
        pods: Every engine pod known, those included that have left the API server but are remembered.
        demand: The gateways' reports, for busy intervals.
        prices: GPU class name → its price now; a pod keeps the price it started with.
        now_ms: The instant of this pass, epoch ms.
    """
    seen = {pod.uid: pod for pod in pods}
    live = [_with_facts(entry, seen.get(entry.uid)) for entry in meter.live]
    known = {entry.uid for entry in live} | {uid for uid, _ in meter.closed}
    live += [_opened(pod, prices) for pod in seen.values() if _begins(pod, known)]
    closed = [(uid, at) for uid, at in meter.closed if _may_return(uid, at, seen, demand, now_ms)]
    rows, still, estimated = meter.rows, list[LivePod](), meter.estimated_ms
    for entry in live:
        entry, unsure = _brought_up(entry, seen.get(entry.uid), demand, now_ms)
        estimated += unsure * entry.gpus
        if entry.finished_ms is None or not _busy_told(entry, demand, now_ms):
            still.append(entry)
            continue
        estimated += _untold(entry, demand) * entry.gpus
        rows = added(rows, entry.price, phases_of(entry, demand, entry.finished_ms))
        closed.append((entry.uid, now_ms))
    return replace(
        meter, rows=rows, live=tuple(still), closed=tuple(closed), estimated_ms=estimated
    )


def stay_on(meter: Meter, price: Price, gpus: int, now_ms: int) -> Meter:
    """Count what `gpus` GPUs that never sleep would have used at the first choice's *price* up to *now_ms*.

    The counterfactual of "saved": its own cursor moves forward only, so a replay adds nothing.
    """
    through = meter.always_on_ms
    if through is None:
        return replace(meter, always_on_ms=now_ms)
    if now_ms <= through:
        return meter
    rows = added(meter.rows, price, Phases(), (now_ms - through) * gpus)
    return replace(meter, rows=rows, always_on_ms=now_ms)


def phases_of(entry: LivePod, demand: Demand, at_ms: int) -> Phases:
    """Return the GPU-ms of one pod from its start to *at_ms* (or to its end, if earlier), by phase."""
    end = max(
        entry.start_ms, min(at_ms, entry.finished_ms if entry.finished_ms is not None else at_ms)
    )
    deleted = (
        min(max(entry.deleted_ms, entry.start_ms), end) if entry.deleted_ms is not None else end
    )
    ready = entry.first_ready_ms
    serving_from = deleted if ready is None else min(max(ready, entry.start_ms), deleted)
    starting = serving_from - entry.start_ms
    busy = min(
        entry.busy_ms + _open_busy(entry, demand, serving_from, deleted), deleted - serving_from
    )
    failed = (
        starting
        if ready is None and (entry.deleted_ms is not None or entry.finished_ms is not None)
        else 0
    )
    return Phases(
        starting=starting,
        busy=busy,
        idle=deleted - serving_from - busy,
        terminating=end - deleted,
        failed_starting=failed,
    ).times(entry.gpus)


def totals(meter: Meter, demand: Demand, at_ms: int) -> tuple[Row, ...]:
    """Return one row per price, settled and live pods together, as of *at_ms*."""
    rows = meter.rows
    for entry in meter.live:
        rows = added(rows, entry.price, phases_of(entry, demand, at_ms))
    return rows


def _begins(pod: PodSeen, known: set[str]) -> bool:
    """A pod is billed from the moment a GPU is reserved for it; Pending before that is free."""
    return pod.uid not in known and pod.scheduled_ms is not None


def _opened(pod: PodSeen, prices: dict[str, Price]) -> LivePod:
    assert pod.scheduled_ms is not None
    price = prices.get(pod.gpu_class) or Price(
        id=f"{pod.gpu_class}@unknown", gpu_class=pod.gpu_class
    )
    entry = LivePod(
        pod.uid, pod.name, price, pod.gpus, pod.scheduled_ms, busy_through_ms=pod.scheduled_ms
    )
    return _with_facts(entry, pod)


def _with_facts(entry: LivePod, pod: PodSeen | None) -> LivePod:
    """Add what is newly known; the earliest first Ready and deletion count.

    Flaps, and the kubelet's last step, rewrite the pod's own fields, and who saw the earlier ones may be heard later.
    """
    if pod is None:
        return entry
    return replace(
        entry,
        first_ready_ms=earliest(entry.first_ready_ms, pod.first_ready_ms),
        deleted_ms=earliest(entry.deleted_ms, pod.deleted_ms),
        finished_ms=entry.finished_ms if entry.finished_ms is not None else pod.finished_ms,
    )


def _may_return(
    uid: str, closed_ms: int, seen: dict[str, PodSeen], demand: Demand, now_ms: int
) -> bool:
    """Whether somebody may still speak of a closed pod: who does, or does not answer and may remember it."""
    return now_ms - closed_ms < REMEMBER_CLOSED_MS or uid in seen or not demand.known


def _brought_up(
    entry: LivePod, pod: PodSeen | None, demand: Demand, now_ms: int
) -> tuple[LivePod, int]:
    """Fold settled busy time and assume the end of a pod that vanished; also return the ms that had to be guessed."""
    unsure = 0
    if pod is not None:
        entry, unsure = _settle_busy(entry, demand, now_ms)
    guess = _vanished_end(entry, pod, demand, now_ms)
    if guess is None:
        return entry, unsure
    return replace(entry, finished_ms=guess), unsure + guess - _last_known(entry)


def _settle_busy(entry: LivePod, demand: Demand, now_ms: int) -> tuple[LivePod, int]:
    """Fold busy time that can no longer change, up to `busy_through_ms`.

    Also return the ms counted as idle that may have been busy: told by nobody, or forgotten before it was asked for.
    """
    through = _told_through(demand, now_ms)
    if entry.first_ready_ms is None or through is None:
        return entry, 0
    low = max(entry.busy_through_ms, entry.first_ready_ms)
    high = min(t for t in (through, entry.deleted_ms, entry.finished_ms) if t is not None)
    if high <= low:
        return entry, 0
    remembered = through + BUSY_SETTLE_MS - GATEWAY_MEMORY_MS
    forgotten = min(high, remembered) if demand.known else high
    unsure = max(0, forgotten - low - _busy_between(entry, demand, low, forgotten))
    busy = entry.busy_ms + _busy_between(entry, demand, low, high)
    return replace(entry, busy_ms=busy, busy_through_ms=high), unsure


def _told_through(demand: Demand, now_ms: int) -> int | None:
    """Return the instant up to which busy intervals are final; None while no gateway answers."""
    answered = [r.as_of_ms for r in demand.reports if r.gateway not in demand.unreachable]
    if not answered:
        return None
    return min(*answered, now_ms) - (BUSY_SETTLE_MS if demand.known else PATIENCE_MS)


def _open_busy(entry: LivePod, demand: Demand, serving_from: int, until: int) -> int:
    return _busy_between(entry, demand, max(entry.busy_through_ms, serving_from), until)


def _busy_between(entry: LivePod, demand: Demand, low: int, high: int) -> int:
    cut = (
        (max(start, low), min(high if end is None else end, high))
        for start, end in demand.busy(entry.uid)
    )
    return union((start, end) for start, end in cut if end > start)


def _busy_told(entry: LivePod, demand: Demand, now_ms: int) -> bool:
    """Whether every gateway has told all about this pod, or will not any more."""
    assert entry.finished_ms is not None
    return _all_told(entry, demand) or now_ms - entry.finished_ms > PATIENCE_MS


def _all_told(entry: LivePod, demand: Demand) -> bool:
    assert entry.finished_ms is not None
    return demand.known and (demand.as_of_ms or 0) > entry.finished_ms


def _untold(entry: LivePod, demand: Demand) -> int:
    """Return the ms of a pod that is closed as idle although a gateway that does not answer may know better."""
    if entry.first_ready_ms is None or entry.finished_ms is None or _all_told(entry, demand):
        return 0
    low = max(entry.busy_through_ms, entry.first_ready_ms)
    high = min(t for t in (entry.finished_ms, entry.deleted_ms) if t is not None)
    return max(0, high - low - _busy_between(entry, demand, low, high))


def _last_known(entry: LivePod) -> int:
    return max(
        t
        for t in (entry.start_ms, entry.first_ready_ms, entry.deleted_ms, entry.busy_through_ms)
        if t is not None
    )


def _vanished_end(entry: LivePod, pod: PodSeen | None, demand: Demand, now_ms: int) -> int | None:
    """Return the end to assume for a pod whose end nobody saw, or None while it runs or someone may still tell.

    A pod that was seen to leave ended then. One that vanished unseen ended no later than its grace period after its
    deletion was asked for, else now; every gateway is asked first, since they remember pods longer than an outage
    of the controller lasts. Never a guess in our favour: the later instant counts, and shows as estimated.
    """
    if entry.finished_ms is not None:
        return None
    if pod is not None:
        return max(pod.gone_ms, _last_known(entry)) if pod.gone_ms is not None else None
    if not demand.known:
        return None
    bound = now_ms if entry.deleted_ms is None else min(now_ms, entry.deleted_ms + GRACE_MS)
    return max(bound, _last_known(entry))
