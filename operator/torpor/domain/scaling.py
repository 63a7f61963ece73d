"""How many replicas an endpoint should have now, and why: a chain of rules, the first that speaks wins.

    1 no_workload       nothing to scale yet
    2 suspended         zero, whatever waits
    3 cannot_work       a fault that keeping the GPU would not heal: zero
    4 too_many          above maxReplicas: down to it
    5 below_floor       below minReplicas, or what a schedule keeps: up to it (demand above zero is the gateway's to
                        answer)
    6 over_budget       zero, and the month's budget is spent (refuseWake): stays zero, and no gateway wakes it
    7 ahead             zero, but the habits of its users say that the next request is near: one replica
    8 asleep            zero stays zero; the gateway that holds a request wakes it
    9 more_needed       more requests than the replicas take, by those gateways that answer, or by the engines' own word
                        (`domain.engineload`): up to the need, at once; not with a budget that is spent
   10 starting          a replica is not Ready yet: hold, unless another is and nobody asks (one that can never start
                        must not keep the others awake)
   11 fewer_needed      a replica was not needed for as long as an idle one is kept: one less, once the pod that goes
                        has no request left (`domain.shrinking`)
   12 busy              requests wait or run: hold
   13 unknown_demand    nobody is known to ask, but a gateway (or of a direct endpoint an engine) does not answer:
                        unknown never sleeps
   14 within_keep_alive idle, but not for as long as it is kept: hold, look again at the deadline
   15 idle              down to minReplicas, or what a schedule keeps

With a budget that is spent (refuseWake) neither minReplicas nor a schedule keeps anything, and nothing idle is kept for
more than 5 s: what runs answers to its end, and then nothing is kept.

Idle replicas on GPUs that cost nothing more while they idle are kept (14) until another endpoint waits for such a GPU
and they are the ones that will be missed least (`domain.yielding`): then they leave (11, 15).

What is started ahead of demand (7) and not asked for is kept until its own time is over (14), not for as long as after
an answer. How long replicas are kept, and when one is started ahead, is said by `torpor.domain.keeping`.

A decision never does I/O, reads a clock or raises: values in, a value with its reason out. 0 → N on demand is not
here on purpose: it belongs to the gateway (docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torpor.api.conditions import Reason
from torpor.domain import failing
from torpor.domain.scalingview import (
    LULL_MS,
    Decision,
    ScalingSpec,
    ScalingView,
    asked,
    idle_since,
    serving,
    starting,
)
from torpor.domain.shrinking import may_go, need_of, spare_pod, spared_at

_SERVING = "answers requests"

Rule = Callable[[ScalingSpec, ScalingView, int], Decision | None]


def decide(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision:
    """Return what the number of replicas should be at *now_ms*."""
    if view.needed_by and spec.yields_ms is not None:
        because = f"its GPUs are needed by {view.needed_by}"
        spec = replace(spec, keep_alive_ms=spec.yields_ms, kept_because=because)
    if view.over_budget:
        spec = replace(spec, min_replicas=0, keep_alive_ms=_at_most(LULL_MS, spec.keep_alive_ms))
    decision = next(found for rule in RULES if (found := rule(spec, view, now_ms)) is not None)
    fewer_at = spared_at(spec, view)
    if fewer_at is None or fewer_at <= now_ms:
        return decision
    again = decision.look_again_ms
    return replace(decision, look_again_ms=fewer_at if again is None else min(again, fewer_at))


def _at_most(limit: int, keep_alive_ms: int | None) -> int:
    return limit if keep_alive_ms is None else min(limit, keep_alive_ms)


def _waking_orserving(view: ScalingView) -> Reason:
    """STATE while something should run: one replica that is ready answers, whatever the others do."""
    return Reason.SERVING if any(pod.ready for pod in serving(view)) else Reason.WARMING_UP


def _no_workload(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    if view.workload.exists:
        return None
    if view.fault:
        return Decision(Reason.FAILED, view.fault.message)
    return Decision(
        Reason.CHECKING_WEIGHTS, "its weights are being checked; nothing runs and nothing costs"
    )


def _suspended(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    if not spec.suspend:
        return None
    return Decision(
        Reason.SUSPENDED, "suspended by spec.scaling.suspend; no request wakes it", _change(view, 0)
    )


def _cannot_work(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    """Only pods that are seen are taken down: a controller that has just started may not have heard of them yet."""
    pods = serving(view)
    if view.fault is None or any(pod.ready for pod in pods):
        return None
    return Decision(Reason.FAILED, view.fault.message, _change(view, 0) if pods else None)


def _too_many(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    if view.workload.replicas <= spec.max_replicas:
        return None
    return Decision(
        _waking_orserving(view),
        f"{view.workload.replicas} replicas are more than maxReplicas {spec.max_replicas}",
        spec.max_replicas,
    )


def _below_floor(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    if view.workload.replicas >= spec.min_replicas:
        return None
    return Decision(_waking_orserving(view), _floor(spec), spec.min_replicas)


def _over_budget(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    if view.workload.replicas > 0 or not view.over_budget:
        return None
    return Decision(Reason.OVER_BUDGET, view.over_budget)


def _ahead(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    if view.workload.replicas > 0 or spec.ahead_ms is None:
        return None
    if not _is_ahead(spec, now_ms) or view.over_budget:
        return None
    return Decision(Reason.WARMING_UP, f"woken ahead of demand: {spec.kept_because}", 1)


def _is_ahead(spec: ScalingSpec, now_ms: int) -> bool:
    return spec.ahead_ms is not None and spec.ahead_ms[0] <= now_ms < spec.ahead_ms[1]


def _asleep(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    if view.workload.replicas > 0:
        return None
    start = spec.ahead_ms[0] if spec.ahead_ms else now_ms
    again = start if start > now_ms else None
    return Decision(Reason.IDLE, "asleep: costs nothing, the next request wakes it", None, again)


def _unknown_demand(_: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    if view.demand.known:
        return None
    silent, engines = view.demand.unreachable, view.demand.silent
    who = "no gateway has answered yet"
    if silent:
        who = f"gateway {', '.join(silent[:3])} does not answer"
    elif engines:
        who = f"the engine of {', '.join(engines[:3])} does not answer"
    return Decision(
        Reason.SERVING,
        f"{who}, so nobody knows that it is idle; kept until all of them answer or are gone",
        look_again_ms=now_ms + 1000,
    )


def _more_needed(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    requests, need = asked(view), need_of(spec, view)
    if need <= view.workload.replicas or view.over_budget:
        return None
    said = f"{requests} requests at {spec.in_flight_per_replica} per replica need {need} replicas"
    if requests <= (need - 1) * spec.in_flight_per_replica:
        said = f"{view.engines.why}: {need} replicas are needed"
    return Decision(_waking_orserving(view), said, need)


def _still_starting(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    pods = serving(view)
    ready = any(pod.ready for pod in pods)
    if not starting(view) or (ready and not asked(view)):
        return None
    pending = next((pod.unschedulable for pod in pods if pod.unschedulable), None)
    if pending and not ready:
        limit = failing.capacity_limit_ms(view.pods, now_ms)
        return Decision(Reason.PENDING, f"waits for a GPU: {pending}", look_again_ms=limit)
    said = _how_many(view)
    if _is_ahead(spec, now_ms) and not asked(view):
        said = f"woken ahead of demand, {said}: {spec.kept_because}"
    return Decision(_waking_orserving(view), said)


def _fewer_needed(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    replicas, until = view.workload.replicas, _kept_until(spec, view)
    if not asked(view) and until is not None and now_ms >= until:
        return None  # all of them go
    spare = spare_pod(spec, view, now_ms)
    if spare is None:
        return None
    said = f"{max(1, need_of(spec, view))} of {replicas} replicas are needed"
    if may_go(view, spare, now_ms):
        return Decision(Reason.SERVING, said, replicas - 1)
    running = view.demand.in_flight_on(spare.uid)
    waits = f"{said}; {spare.name} goes when its {running} requests have ended"
    return Decision(Reason.SERVING, waits, look_again_ms=now_ms + 1000)


def _busy(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    return Decision(Reason.SERVING, _SERVING) if asked(view) else None


def _how_many(view: ScalingView) -> str:
    ready = sum(pod.ready for pod in serving(view))
    return f"{ready} of {view.workload.replicas} replicas are ready"


def _within_keep_alive(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    since = idle_since(view)
    if since is None:
        return Decision(Reason.KEEPING_WARM, _kept_warm(spec, view))
    settled = since + LULL_MS
    if view.workload.replicas <= spec.min_replicas:
        if now_ms < settled:
            return Decision(Reason.SERVING, _SERVING, None, settled)
        return Decision(Reason.KEEPING_WARM, _kept_warm(spec, view))
    deadline = _kept_until(spec, view)
    if unasked := _unasked_until(spec, view, since):
        deadline = max(unasked, settled)
    if deadline is not None and now_ms >= deadline:
        return None
    if now_ms < settled:
        again = settled if deadline is None else min(settled, deadline)
        return Decision(Reason.SERVING, _SERVING, None, again, deadline)
    keep = f"idle, kept warm for {_seconds(spec)} after the last response"
    if unasked:
        keep = f"woken ahead of demand, which has not come yet: {spec.kept_because}"
    elif spec.kept_because:
        keep = f"idle: {spec.kept_because}"
    return Decision(Reason.KEEPING_WARM, keep, None, deadline, deadline)


def _kept_until(spec: ScalingSpec, view: ScalingView) -> int | None:
    """Return until when idle replicas are kept if nobody asks; None while nothing is Ready, or without an end."""
    since = idle_since(view)
    return None if since is None or spec.keep_alive_ms is None else since + spec.keep_alive_ms


def _seconds(spec: ScalingSpec) -> str:
    return f"{(spec.keep_alive_ms or 0) / 1000:g} s"


def _unasked_until(spec: ScalingSpec, view: ScalingView, since: int) -> int | None:
    """Return until when a replica that was started ahead of demand is kept; None if it was not, or was asked since."""
    if spec.ahead_ms is None:
        return None
    start, until = spec.ahead_ms
    return until if since >= start > (view.demand.last_byte_ms or 0) else None


def _idle(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    said = f"no request for {_seconds(spec)}"
    if view.needed_by:
        said = f"{said}, and {view.needed_by} waits for its GPUs"
    return Decision(Reason.IDLE, said, spec.min_replicas)


def _floor(spec: ScalingSpec) -> str:
    return spec.floor_because or f"minReplicas keeps {spec.min_replicas} warm"


def _kept_warm(spec: ScalingSpec, view: ScalingView) -> str:
    return f"{_floor(spec)}; {_how_many(view)}" if starting(view) else _floor(spec)


def _change(view: ScalingView, to: int) -> int | None:
    return None if view.workload.replicas == to else to


RULES: tuple[Rule, ...] = (
    _no_workload,
    _suspended,
    _cannot_work,
    _too_many,
    _below_floor,
    _over_budget,
    _ahead,
    _asleep,
    _more_needed,
    _still_starting,
    _fewer_needed,
    _busy,
    _unknown_demand,
    _within_keep_alive,
    _idle,
)
