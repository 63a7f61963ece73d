"""What the user reads: conditions, columns and figures, composed once per pass from the decisions.

`Ready` means that a request will be answered, asleep included; `Awake` says what runs, and its reason is STATE.
`Reconciling` and `Stalled` are there only while true, so that kstatus, `kubectl wait`, Flux and Argo CD read it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from torpor.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from torpor.domain.arriving import say_progress
from torpor.domain.budget import Standing
from torpor.domain.comparing import Comparison
from torpor.domain.egress import lacking
from torpor.domain.failing import Failure
from torpor.domain.observation import Fault, PodSeen
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.prewarmjobs import JobState, Progress, WeightsPlan
from torpor.domain.scalingview import Decision

STALE_DAYS = 90
"""A price that was read longer ago is asked after: list prices change a few times a year."""

_HELD_BACK = "a change of the spec waits until the endpoint is idle (scaling.rollout: whenIdle)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass found and decided."""

    decision: Decision
    placement: Placement
    plan: WeightsPlan
    pods: tuple[PodSeen, ...]
    fault: Fault | None = None
    failure: Failure | None = None
    suspended: bool = False
    held_back: bool = False
    """The Deployment's template is behind the spec on purpose: it is replaced when the endpoint is idle."""
    deployed: bool = False
    loading: Mapping[str, Progress] = field(default_factory=dict[str, Progress])
    """How far engines' pods are that fetch weights for themselves, by node."""
    claim: str = ""
    """The claim that holds the weights, where one does."""
    unpriced: tuple[str, ...] = ()
    """Prices that are not known and that a pod runs at."""
    unpriced_regions: tuple[str, ...] = ()
    """Regions that weights have left at a price that nobody says."""
    moving: str = ""
    """What fetching the weights will move between regions, and what that costs; empty if nothing."""
    standing: Standing | None = None
    """How the month's budget stands; None without one."""
    comparison: Comparison | None = None
    """What the last day cost here and elsewhere; None without an offer."""


def conditions(
    outcome: Outcome, before: Iterable[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return the endpoint's conditions; a transition time moves only when the status changes."""
    previous = {condition.type: condition for condition in before}
    wanted = [
        (ConditionType.READY, *_ready(outcome)),
        (ConditionType.AWAKE, *_awake(outcome)),
        (ConditionType.PLACED, *_placed(outcome, now)),
        (ConditionType.WEIGHTS_READY, *_weights(outcome)),
        *_of_money(outcome, previous),
        *_abnormal(outcome),
    ]
    return tuple(
        kept(previous.get(kind.value), kind, status, reason, message, generation, now)
        for kind, status, reason, message in wanted
    )


def _of_money(
    outcome: Outcome, previous: Mapping[str, Condition]
) -> list[tuple[ConditionType, ConditionStatus, str, str]]:
    """What is asked of the money, and only where it is asked."""
    found: list[tuple[ConditionType, ConditionStatus, str, str]] = []
    if outcome.standing is not None:
        found.append((ConditionType.WITHIN_BUDGET, *outcome.standing.verdict))
    if outcome.comparison is not None:
        was = previous.get(ConditionType.CHEAPER_THAN_OFFER)
        verdict = outcome.comparison.verdict(was.status if was else None)
        if verdict is None and was is not None:
            verdict = was.status, was.known_reason, was.message
        if verdict is not None:
            found.append((ConditionType.CHEAPER_THAN_OFFER, *verdict))
    return found


def _ready(outcome: Outcome) -> tuple[ConditionStatus, str, str]:
    """1 something runs → yes; 2 suspended, 3 a fault, 4 over budget → no; 5 unchecked → unknown; 6 asleep → yes."""
    ready = sum(pod.ready and pod.gone_ms is None for pod in outcome.pods)
    fault = outcome.fault
    if ready and not outcome.suspended:
        return "True", Reason.CAN_ANSWER, f"{ready} replicas answer; {outcome.decision.message}"
    if outcome.suspended:
        return (
            "False",
            Reason.SUSPENDED,
            "suspended by spec.scaling.suspend; set it to false to answer again",
        )
    if fault is not None:
        return "False", fault.reason, fault.message + _when_again(outcome.failure)
    if outcome.decision.reason is Reason.OVER_BUDGET:
        return "False", Reason.OVER_BUDGET, outcome.decision.message
    if not outcome.plan.weights.hash or not outcome.deployed:
        return (
            "Unknown",
            Reason.CHECKING_WEIGHTS,
            "credentials and listing of the weights are being checked on a CPU",
        )
    last = outcome.failure
    warned = f"; the last wake failed ({last.reason}): {last.message}" if last is not None else ""
    return "True", Reason.CAN_ANSWER, f"{outcome.decision.message}{warned}"


def _when_again(failure: Failure | None) -> str:
    if failure is None:
        return ""
    seconds = (failure.retry_at_ms - failure.at_ms) // 1000
    return f" (failure {failure.count} in a row; the next wake may be tried {seconds} s after it)"


def _awake(outcome: Outcome) -> tuple[ConditionStatus, str, str]:
    living = [pod for pod in outcome.pods if pod.gone_ms is None]
    serving = [pod for pod in living if pod.deleted_ms is None]
    reason, message = outcome.decision.reason, outcome.decision.message
    if any(pod.ready for pod in serving):
        return "True", reason, message
    if living and not serving:
        names = ", ".join(pod.name for pod in living[:3])
        return (
            "False",
            Reason.DRAINING,
            f"{names} ends; the GPU is given back when its last container has",
        )
    if serving or reason is Reason.WARMING_UP:
        return "Unknown", reason, message + _arriving(outcome, serving)
    return "False", reason, message


def _arriving(outcome: Outcome, serving: list[PodSeen]) -> str:
    """How far the weights are that a starting pod waits for: fetched by itself, or by the Job on its node."""
    jobs = {job.node: job.progress for job in outcome.plan.tries if job.progress is not None}
    waiting = [pod.node for pod in serving if pod.node and pod.weights_done_ms is None]
    for node in waiting:
        progress = outcome.loading.get(node) or jobs.get(node)
        if progress is not None:
            return f"; weights {say_progress(progress)}"
    return ""


def _placed(outcome: Outcome, now: datetime) -> tuple[ConditionStatus, str, str]:
    placement = outcome.placement
    if placement.fault is not None:
        return "False", placement.fault.reason, placement.fault.message
    chosen = placement.gpu_class
    if chosen is None:
        return "Unknown", Reason.CHECKING_WEIGHTS, "the size of the weights is not known yet"
    if chosen.micro_per_hour is None:
        return (
            "True",
            Reason.PRICE_UNKNOWN,
            f"GPUClass {chosen.name} has no price: cost figures stay empty",
        )
    if outcome.unpriced:
        return (
            "True",
            Reason.PRICE_UNKNOWN,
            f"no GPUClass with a price describes what runs ({', '.join(outcome.unpriced)}): "
            "cost figures stay empty",
        )
    if outcome.unpriced_regions:
        said = "; ".join(lacking(region, chosen.currency) for region in outcome.unpriced_regions)
        return "True", Reason.PRICE_UNKNOWN, f"weights were moved between regions, and {said}"
    count = len(placement.nodes)
    said = f"{placement.gpus} × {chosen.name}, {count} nodes match{_stale(chosen, now)}"
    return "True", Reason.PLACED_ON_CLASS, said


def _stale(chosen: GPUClassView, now: datetime) -> str:
    if not chosen.price_as_of:
        return ""
    days = (now.date() - date.fromisoformat(chosen.price_as_of)).days
    if days <= STALE_DAYS:
        return ""
    return f"; its price was read on {chosen.price_as_of}, {days} days ago: is it still true?"


def _weights(outcome: Outcome) -> tuple[ConditionStatus, str, str]:
    plan = outcome.plan
    if plan.fault is not None:
        return "False", plan.fault.reason, plan.fault.message
    if not plan.weights.hash:
        return (
            "Unknown",
            Reason.CHECKING_WEIGHTS,
            "credentials and listing are being checked on a CPU" + _copying(plan),
        )
    ready, wanted = len(plan.nodes_ready), len(plan.nodes_wanted)
    size = f"{plan.weights.bytes / 1e9:.2f} GB in {plan.weights.files} files"
    doubt = plan.weights.doubt
    doubted = f"; the last check of the source failed: {doubt}" if doubt else ""
    if not wanted and outcome.claim:
        return "True", Reason.WEIGHTS_IN_CLAIM, f"{size}, in claim {outcome.claim}{doubted}"
    if not wanted:
        return "True", Reason.WEIGHTS_LISTED, f"{size}; fetched when the endpoint wakes{doubted}"
    place = f"in claim {outcome.claim}" if outcome.claim else f"on {ready} of {wanted} nodes"
    if plan.hindrance is not None:
        return "False", plan.hindrance.reason, f"{size}, {place}; {plan.hindrance.message}"
    if ready < wanted:
        where = f"for claim {outcome.claim}" if outcome.claim else place
        moving = f"; {outcome.moving}" if outcome.moving else ""
        return "False", Reason.WEIGHTS_FETCHING, f"{size}, {where}; {_downloads(plan)}{moving}"
    reason = Reason.WEIGHTS_IN_CLAIM if outcome.claim else Reason.WEIGHTS_ON_NODES
    proof = plan.weights.verified or "the node"
    return "True", reason, f"{size}, {place}, verified by {proof}{doubted}"


def _downloads(plan: WeightsPlan) -> str:
    """How the slowest download stands: it is the one that is waited for."""
    running = [job.progress for job in plan.tries if job.state is JobState.RUNNING]
    told = [progress for progress in running if progress is not None]
    if not told:
        return "the others are downloading"
    slowest = min(told, key=lambda progress: progress.bytes)
    which = "" if len(told) == 1 else f"{len(told)} downloads, the slowest "
    return f"{which}{say_progress(slowest)}"


def _copying(plan: WeightsPlan) -> str:
    """How far the copy of an hf:// source into the bucket is, which is part of its check."""
    told = next((job.progress for job in plan.tries if job.progress is not None), None)
    return "" if told is None else f"; copying from the Hub: {say_progress(told)}"


def _abnormal(outcome: Outcome) -> list[tuple[ConditionType, ConditionStatus, str, str]]:
    fault = outcome.fault
    if fault is not None and not fault.retryable:
        return [(ConditionType.STALLED, "True", Reason.WAITING_FOR_CHANGE, fault.message)]
    if outcome.held_back:
        return [(ConditionType.RECONCILING, "True", Reason.PROGRESSING, _HELD_BACK)]
    if fault is None and (not outcome.plan.weights.hash or not outcome.deployed):
        return [
            (ConditionType.RECONCILING, "True", Reason.PROGRESSING, "the weights are being checked")
        ]
    return []


def kept(
    previous: Condition | None,
    kind: ConditionType,
    status: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> Condition:
    """Return a condition whose transition time moves only if its status does."""
    same = previous is not None and previous.status == status
    return Condition(
        type=kind.value,
        status=status,
        reason=str(reason),
        message=message[:1024],
        last_transition_time=previous.last_transition_time if same and previous else now,
        observed_generation=generation,
    )
