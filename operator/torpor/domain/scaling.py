"""How many replicas an endpoint should have now, and why: a chain of rules, the first that speaks wins.

    1 no_workload       nothing to scale yet
    2 suspended         zero, whatever waits
    3 cannot_work       a fault that keeping the GPU would not heal: zero
    4 too_many          above maxReplicas: down to it
    5 below_floor       below minReplicas: up to it (demand above zero is the gateway's to answer)
    6 over_budget       zero, and the month's budget is spent (refuseWake): stays zero, and no gateway wakes it
    7 asleep            zero stays zero; the gateway that holds a request wakes it
    8 more_needed       more requests than the replicas take, by those gateways that answer: up to the need, at once;
                        not with a budget that is spent
    9 starting          a replica is not Ready yet: hold, unless another is and nobody asks (one that can never start
                        must not keep the others awake)
   10 busy              requests wait or run: hold
   11 unknown_demand    nobody is known to ask, but a gateway does not answer: unknown never sleeps
   12 within_keep_alive idle, but not yet for `keepAlive.after`: hold, look again at the deadline
   13 idle              down to minReplicas

With a budget that is spent (refuseWake) minReplicas counts as 0 and keepAlive.after as 5 s: what runs answers to its
end, and then nothing is kept.

A decision never does I/O, reads a clock or raises: values in, a value with its reason out. 0 → N on demand is not
here on purpose: it belongs to the gateway (docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torpor.api.conditions import Reason
from torpor.domain import failing
from torpor.domain.observation import Demand, Fault, PodSeen, Workload

LULL_MS = 5_000
"""Idle for less than this still shows as Serving: a busy endpoint's STATE must not flicker with every request."""
_SERVING = "answers requests"


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """The part of the spec that scaling reads; durations in ms."""

    min_replicas: int = 0
    max_replicas: int = 1
    in_flight_per_replica: int = 32
    keep_alive_ms: int = 120_000
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class ScalingView:
    """What is seen of an endpoint when its replicas are decided."""

    workload: Workload
    pods: tuple[PodSeen, ...]
    demand: Demand
    fault: Fault | None = None
    """A reason why no replica can work now; None if nothing is known to be wrong."""
    last_activity_ms: int | None = None
    """Last byte of the last response as remembered across restarts of gateways."""
    over_budget: str = ""
    """Why nothing may be woken before the next month, in a sentence; empty while it may."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be, why, and when to look again without any event.

    `replicas` None means: leave it as it is. `deadline_ms` is the instant at which an idle endpoint goes to sleep.
    """

    reason: Reason
    message: str
    replicas: int | None = None
    look_again_ms: int | None = None
    deadline_ms: int | None = None


Rule = Callable[[ScalingSpec, ScalingView, int], Decision | None]


def decide(spec: ScalingSpec, view: ScalingView, now_ms: int) -> Decision:
    """Return what the number of replicas should be at *now_ms*."""
    if view.over_budget:
        spec = replace(spec, min_replicas=0, keep_alive_ms=min(spec.keep_alive_ms, LULL_MS))
    for rule in RULES:
        decision = rule(spec, view, now_ms)
        if decision is not None:
            return decision
    raise AssertionError("the last rule always speaks")


def idle_since(view: ScalingView) -> int | None:
    """Return when the idle clock started (epoch ms), None while nothing is Ready.

    That is the last byte of the last response, or the newest replica's first Ready if that is later.
    """
    ready = [pod.first_ready_ms for pod in _serving(view) if pod.first_ready_ms is not None]
    if not ready:
        return None
    instants = [max(ready), view.demand.last_byte_ms, view.last_activity_ms]
    return max(instant for instant in instants if instant is not None)


def _serving(view: ScalingView) -> list[PodSeen]:
    return [pod for pod in view.pods if pod.deleted_ms is None and pod.gone_ms is None]


def _waking_or_serving(view: ScalingView) -> Reason:
    """STATE while something should run: one replica that is ready answers, whatever the others do."""
    return Reason.SERVING if any(pod.ready for pod in _serving(view)) else Reason.WARMING_UP


def _starting(view: ScalingView) -> bool:
    pods = _serving(view)
    return len(pods) < view.workload.replicas or any(
        pod.first_ready_ms is None or not pod.ready for pod in pods
    )


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
    pods = _serving(view)
    if view.fault is None or any(pod.ready for pod in pods):
        return None
    return Decision(Reason.FAILED, view.fault.message, _change(view, 0) if pods else None)


def _too_many(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    if view.workload.replicas <= spec.max_replicas:
        return None
    return Decision(
        _waking_or_serving(view),
        f"{view.workload.replicas} replicas are more than maxReplicas {spec.max_replicas}",
        spec.max_replicas,
    )


def _below_floor(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    if view.workload.replicas >= spec.min_replicas:
        return None
    return Decision(_waking_or_serving(view), _floor(spec), spec.min_replicas)


def _over_budget(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    if view.workload.replicas > 0 or not view.over_budget:
        return None
    return Decision(Reason.OVER_BUDGET, view.over_budget)


def _asleep(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    if view.workload.replicas > 0:
        return None
    return Decision(Reason.IDLE, "asleep: costs nothing, the next request wakes it")


def _unknown_demand(_: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    if view.demand.known:
        return None
    silent = view.demand.unreachable
    who = (
        f"gateway {', '.join(silent[:3])} does not answer"
        if silent
        else "no gateway has answered yet"
    )
    return Decision(
        Reason.SERVING,
        f"{who}, so nobody knows that it is idle; kept until all of them answer or are gone",
        look_again_ms=now_ms + 1000,
    )


def _more_needed(spec: ScalingSpec, view: ScalingView, _: int) -> Decision | None:
    asked = _asked(view)
    need = min(spec.max_replicas, -(-asked // spec.in_flight_per_replica))
    if need <= view.workload.replicas or view.over_budget:
        return None
    return Decision(
        _waking_or_serving(view),
        f"{asked} requests at {spec.in_flight_per_replica} per replica need {need} replicas",
        need,
    )


def _still_starting(_: ScalingSpec, view: ScalingView, now_ms: int) -> Decision | None:
    pods = _serving(view)
    ready = any(pod.ready for pod in pods)
    if not _starting(view) or (ready and not _asked(view)):
        return None
    pending = next((pod.unschedulable for pod in pods if pod.unschedulable), None)
    if pending and not ready:
        limit = failing.capacity_limit_ms(view.pods, now_ms)
        return Decision(Reason.PENDING, f"waits for a GPU: {pending}", look_again_ms=limit)
    return Decision(_waking_or_serving(view), _how_many(view))


def _busy(_: ScalingSpec, view: ScalingView, __: int) -> Decision | None:
    return Decision(Reason.SERVING, _SERVING) if _asked(view) else None


def _asked(view: ScalingView) -> int:
    return view.demand.in_flight + view.demand.waiting


def _how_many(view: ScalingView) -> str:
    ready = sum(pod.ready for pod in _serving(view))
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
    deadline = since + spec.keep_alive_ms
    if now_ms >= deadline:
        return None
    if now_ms < settled:
        return Decision(Reason.SERVING, _SERVING, None, min(settled, deadline), deadline)
    keep = f"idle, kept warm for {spec.keep_alive_ms / 1000:g} s after the last response"
    return Decision(Reason.KEEPING_WARM, keep, None, deadline, deadline)


def _idle(spec: ScalingSpec, _: ScalingView, __: int) -> Decision | None:
    return Decision(
        Reason.IDLE, f"no request for {spec.keep_alive_ms / 1000:g} s", spec.min_replicas
    )


def _floor(spec: ScalingSpec) -> str:
    return f"minReplicas keeps {spec.min_replicas} warm"


def _kept_warm(spec: ScalingSpec, view: ScalingView) -> str:
    return f"{_floor(spec)}; {_how_many(view)}" if _starting(view) else _floor(spec)


def _change(view: ScalingView, to: int) -> int | None:
    return None if view.workload.replicas == to else to


RULES: tuple[Rule, ...] = (
    _no_workload,
    _suspended,
    _cannot_work,
    _too_many,
    _below_floor,
    _over_budget,
    _asleep,
    _more_needed,
    _still_starting,
    _busy,
    _unknown_demand,
    _within_keep_alive,
    _idle,
)
