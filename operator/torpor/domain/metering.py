"""The meter: integer GPU-milliseconds per phase and price, in closed form from recorded timestamps.

Nothing is ever added up tick by tick. A live pod's bill is a function of its timestamps and of the instant asked about,
so a pass that runs twice adds nothing and a controller that was dead for a minute loses nothing. When a pod has
stopped and every fact about it is in, its bill moves into the rows of its prices and the pod leaves the ledger.

Phases of a pod, for `g` GPUs (cost-policy §2.2):

    scheduled ── starting ── first Ready ── busy | idle ── deletion asked ── terminating ── last container finished

The invariant that tests hold: starting + busy + idle + terminating == accrued, exactly. A change of the price cuts a
pod's life into segments; each is counted by its own price. What a provider rounds up comes on top, once per lifetime.

Busy is the union of the gateways' in-flight intervals on that pod (of a direct endpoint also what its engine's counters
tell), cut to its serving phase. Gateways keep intervals
for ten minutes only, so what is older than `BUSY_SETTLE_MS` is folded into `busy_ms` up to `busy_through_ms`. The
margin leaves time for a late timestamp (first Ready, deletion asked) to arrive before anything is folded. Nothing is
folded while a gateway does not answer, until the others are about to forget (`PATIENCE_MS`); what may then have been
busy and was counted as idle shows as estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torpor.domain.ledger import (
    LivePod,
    Meter,
    Price,
    Row,
    Segment,
    added,
    folded,
)
from torpor.domain.nodestays import with_nodes
from torpor.domain.observation import Demand, PodSeen, earliest
from torpor.domain.phasing import busy_between, has_failed, phases_of, spans
from torpor.domain.pricing import Tariff, cut_by, rounded_up, stretches

Tariffs = Callable[[PodSeen, Price | None], Tariff | None]
"""Says by which prices a pod is billed, given what it is billed by so far (`domain.catalogue`); None: that stays."""

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
    meter: Meter, pods: Sequence[PodSeen], demand: Demand, tariffs: Tariffs, now_ms: int
) -> Meter:
    """Bring *meter* up to date with what is seen; pure, idempotent, independent of how often it is called.

    Args:
        meter: The ledger as stored.
        pods: Every engine pod known, those included that have left the API server but are remembered.
        demand: The gateways' reports, for busy intervals.
        tariffs: By which prices a pod is billed.
        now_ms: The instant of this pass, epoch ms.
    """
    return booked(noted(meter, pods, tariffs, now_ms), pods, demand, now_ms)


def booked(meter: Meter, pods: Sequence[PodSeen], demand: Demand, now_ms: int) -> Meter:
    """Return a `noted` meter with busy time folded, and with those pods booked about which all is told."""
    seen = {pod.uid: pod for pod in pods}
    closed = [(uid, at) for uid, at in meter.closed if _may_return(uid, at, seen, demand, now_ms)]
    rows, still, estimated = meter.rows, list[LivePod](), meter.estimated_ms
    for entry in meter.live:
        entry, unsure = _brought_up(entry, seen.get(entry.uid), demand, now_ms)
        estimated += unsure * entry.gpus
        if entry.finished_ms is None or not _busy_told(entry, demand, now_ms):
            still.append(entry)
            continue
        estimated += _untold(entry, demand) * entry.gpus
        spent = phases_of(entry, demand, entry.finished_ms)
        served = has_failed(entry) or any(phases.busy for _, phases in spent)
        for price, phases in spent:
            waste = 0 if served else phases.starting + phases.idle
            rows = added(rows, price, phases, unused=waste)
        if not entry.price.whole_node:  # there it is the node's lifetime that is rounded up
            extra = rounded_up(entry.finished_ms - entry.start_ms, entry.price) * entry.gpus
            rows = added(rows, entry.price, rounding=extra)
        closed.append((entry.uid, now_ms))
    return folded(
        replace(meter, rows=rows, live=tuple(still), closed=tuple(closed), estimated_ms=estimated)
    )


def noted(meter: Meter, pods: Sequence[PodSeen], tariffs: Tariffs, now_ms: int) -> Meter:
    """Return *meter* with the facts that are seen, and with nobody booked: the first half of `accrue`.

    So long as a pod is not booked, `totals` can be asked for any instant of its life.
    """
    seen = {pod.uid: pod for pod in pods}
    live = [_with_facts(entry, seen.get(entry.uid)) for entry in meter.live]
    known = {entry.uid for entry in live} | {uid for uid, _ in meter.closed}
    live += [_opened(pod, tariffs, meter.rows) for pod in seen.values() if _begins(pod, known)]
    live = [_repriced(entry, seen.get(entry.uid), tariffs, now_ms) for entry in live]
    return replace(meter, live=tuple(live))


def stay_on(
    meter: Meter, tariff: Tariff, gpus: int, now_ms: int, before: Price | None = None
) -> Meter:
    """Count what `gpus` GPUs that never sleep would have used by the first choice's *tariff* up to *now_ms*.

    The counterfactual of "saved": its own cursor moves forward only, so a replay adds nothing. *before* is the price
    at which it was counted last: an edit, or another first choice, holds from now on only.
    """
    through = meter.always_on_ms
    if through is None:
        return replace(meter, always_on_ms=now_ms)
    if now_ms <= through:
        return meter
    rows = meter.rows
    for price, lasts in stretches(tariff, before, through, now_ms):
        rows = added(rows, price, always_on=lasts * gpus)
    return replace(meter, rows=rows, always_on_ms=now_ms)


def totals(meter: Meter, demand: Demand, at_ms: int) -> tuple[Row, ...]:
    """Return one row per price, settled, live pods and nodes together, as of *at_ms*."""
    rows = with_nodes(meter.rows, meter.nodes, at_ms)
    for entry in meter.live:
        for price, phases in phases_of(entry, demand, at_ms):
            rows = added(rows, price, phases)
    return rows


def _begins(pod: PodSeen, known: set[str]) -> bool:
    """A pod is billed from the moment a GPU is reserved for it; Pending before that is free."""
    return pod.uid not in known and pod.scheduled_ms is not None


def _opened(pod: PodSeen, tariffs: Tariffs, rows: Sequence[Row]) -> LivePod:
    start, tariff = pod.scheduled_ms, tariffs(pod, None)
    assert start is not None
    price = tariff.at(start) if tariff else _last_price(pod.gpu_class, rows)
    segments = (Segment(price, start),)
    entry = LivePod(pod.uid, pod.name, pod.gpus, start, segments, busy_through_ms=start)
    return _with_facts(entry, pod)


def _last_price(gpu_class: str, rows: Sequence[Row]) -> Price:
    """The price of a class that was deleted before anybody saw this pod of it: the one it was last counted at."""
    own = [row.price for row in rows if row.price.gpu_class == gpu_class]
    known = [price for price in own if price.micro_per_hour is not None]
    return known[-1] if known else Price(id=f"{gpu_class}@unknown", gpu_class=gpu_class)


def _repriced(entry: LivePod, pod: PodSeen | None, tariffs: Tariffs, now_ms: int) -> LivePod:
    asked = pod or PodSeen(entry.uid, entry.name, entry.gpus, entry.price.gpu_class)
    tariff = tariffs(asked, entry.price)
    return entry if tariff is None else cut_by(entry, tariff, now_ms)


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
    unsure = max(0, forgotten - low - busy_between(entry, demand, low, forgotten))
    segments = tuple(
        replace(
            segment,
            busy_ms=segment.busy_ms + busy_between(entry, demand, max(low, a), min(high, b)),
        )
        for segment, a, b in spans(entry, high)
    )
    return replace(entry, segments=segments, busy_through_ms=high), unsure


def _told_through(demand: Demand, now_ms: int) -> int | None:
    """Return the instant up to which busy intervals are final; None while no gateway answers."""
    answered = demand.answered_ms
    if answered is None:
        return None
    return min(answered, now_ms) - (BUSY_SETTLE_MS if demand.known else PATIENCE_MS)


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
    return max(0, high - low - busy_between(entry, demand, low, high))


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
