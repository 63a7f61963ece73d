"""Which prewarm Jobs there should be: check the source on a CPU first, then fetch to the nodes that may run it.

The plan is a function of what the Jobs said; nothing is remembered but the last good listing (`Weights`), which the
status carries. A failed Job is tried again after a pause with a higher attempt number, always beginning with the
check, since what was wrong (a key, a truncated object) is corrected outside Kubernetes where no event tells us.
What one node cannot fetch does not stop the others: their Jobs run on, and the endpoint works where the weights are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from torpor.api.conditions import Reason
from torpor.domain.observation import Fault

FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 60_000


class JobState(StrEnum):
    """How a prewarm Job stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class JobKind(StrEnum):
    """What a prewarm Job does: list and check the source, or bring it to one node."""

    CHECK = "check"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class JobSeen:
    """One prewarm Job and what its pod left in the termination log. Sizes in bytes, instants in epoch ms."""

    kind: JobKind
    spec: str
    state: JobState
    attempt: int = 1
    node: str = ""
    hash: str = ""
    bytes: int = 0
    files: int = 0
    verified: str = ""
    bytes_per_second: int = 0
    finished_ms: int = 0
    reason: str = ""
    message: str = ""
    retryable: bool = True
    stalls_ms: int | None = None
    """When it will count as failed if it has not started by then."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The last good listing of the source; empty `hash` = not known (yet, or any more)."""

    spec: str = ""
    hash: str = ""
    bytes: int = 0
    files: int = 0
    verified: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class JobWanted:
    """A Job that should exist."""

    kind: JobKind
    attempt: int
    node: str = ""


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """What is known of the weights, which Jobs should exist, and when to look again without an event."""

    weights: Weights
    jobs: tuple[JobWanted, ...] = ()
    fault: Fault | None = None
    """Why no node can have the weights."""
    hindrance: Fault | None = None
    """Why one node cannot have them while another has."""
    nodes_ready: tuple[str, ...] = ()
    nodes_wanted: tuple[str, ...] = ()
    newly_ready: tuple[str, ...] = ()
    """Nodes whose fetch has just succeeded and which do not carry the label yet."""
    look_again_ms: int | None = None


def pause_ms(attempt: int) -> int:
    """Return the pause after the *attempt*-th failure in a row: 5 s, 10 s, … 60 s. A check costs no GPU."""
    return min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(attempt - 1, 10))


def after_failed_wake(known: Weights, reason: str) -> Weights:
    """Return what is still known once a wake failed: weights that changed in the bucket are listed anew."""
    if Reason.of(reason) is not Reason.WEIGHTS_CHANGED:
        return known
    return Weights(spec=known.spec, attempt=known.attempt + 1)


def plan(
    spec: str,
    known: Weights,
    jobs: tuple[JobSeen, ...],
    nodes: tuple[str, ...],
    labelled: frozenset[str],
    now_ms: int,
) -> WeightsPlan:
    """Return the Jobs that should exist.

    Args:
        spec: Digest of everything that says where the weights come from; another digest starts over.
        known: The last good listing, as the status has it.
        jobs: The endpoint's prewarm Jobs as they stand.
        nodes: The nodes that should hold the weights, in order of preference.
        labelled: The nodes whose label says that they hold the weights named by `known.hash`.
        now_ms: The instant of this pass, epoch ms.
    """
    jobs = tuple(
        job for job in jobs if job.spec == spec and (job.kind is JobKind.CHECK or job.node in nodes)
    )
    weights = _latest_attempt(known if known.spec == spec else Weights(spec=spec), jobs)
    jobs = tuple(job for job in jobs if job.attempt == weights.attempt)
    failed = max(
        (j for j in jobs if j.state is JobState.FAILED and j.node not in labelled),
        key=lambda job: job.finished_ms,
        default=None,
    )
    if failed is not None:
        return _after_failure(failed, weights, jobs, nodes, labelled, now_ms)
    if not weights.hash:
        check = next(
            (j for j in jobs if j.kind is JobKind.CHECK and j.state is JobState.SUCCEEDED), None
        )
        if check is None:
            return WeightsPlan(weights, (JobWanted(JobKind.CHECK, weights.attempt),))
        weights = Weights(spec, check.hash, check.bytes, check.files, check.verified, check.attempt)
        labelled = frozenset()
    if any(_fetched_others(job, weights) for job in jobs):
        return _checked_again(weights)
    return _fetching(weights, jobs, nodes, labelled)


def still_wrong(plan: WeightsPlan, before: Fault | None) -> WeightsPlan:
    """Let what was wrong stand while it is checked again: until the check says otherwise, nothing has been corrected.

    Args:
        plan: The plan of this pass.
        before: The fault that made the endpoint not ready so far; None if it was ready, or not yet judged.
    """
    checking_again = not plan.weights.hash and plan.weights.attempt > 1 and plan.fault is None
    return replace(plan, fault=before) if checking_again else plan


def _latest_attempt(weights: Weights, jobs: tuple[JobSeen, ...]) -> Weights:
    """Follow the highest attempt that a Job stands for; what an older attempt listed is no longer trusted."""
    attempt = max((job.attempt for job in jobs), default=weights.attempt)
    return weights if attempt <= weights.attempt else Weights(spec=weights.spec, attempt=attempt)


def _fetched_others(job: JobSeen, weights: Weights) -> bool:
    """Whether the bucket was changed between the check and this node's fetch."""
    fetched = job.kind is JobKind.FETCH and job.state is JobState.SUCCEEDED
    return fetched and job.hash not in ("", weights.hash)


def _checked_again(weights: Weights) -> WeightsPlan:
    again = Weights(spec=weights.spec, attempt=weights.attempt + 1)
    return WeightsPlan(again, (JobWanted(JobKind.CHECK, again.attempt),))


def _after_failure(
    failed: JobSeen,
    weights: Weights,
    jobs: tuple[JobSeen, ...],
    nodes: tuple[str, ...],
    labelled: frozenset[str],
    now_ms: int,
) -> WeightsPlan:
    """Keep the failed Job as the witness until its pause is over and no other node is still fetching; then check."""
    retry_at = failed.finished_ms + pause_ms(failed.attempt)
    fault = Fault(failed.reason, failed.message, failed.retryable)
    so_far = _fetching(weights, jobs, nodes, labelled if weights.hash else frozenset())
    fetching = any(job.state is JobState.RUNNING for job in jobs)
    if now_ms >= retry_at and not fetching:
        so_far = replace(_checked_again(weights), nodes_ready=so_far.nodes_ready)
    else:
        kept = tuple(JobWanted(job.kind, job.attempt, job.node) for job in jobs)
        so_far = replace(so_far, jobs=kept, look_again_ms=None if fetching else retry_at)
    if so_far.nodes_ready:
        return replace(so_far, hindrance=fault)
    return replace(so_far, fault=fault)


def _fetching(
    weights: Weights, jobs: tuple[JobSeen, ...], nodes: tuple[str, ...], labelled: frozenset[str]
) -> WeightsPlan:
    done = {
        job.node: job
        for job in jobs
        if job.kind is JobKind.FETCH
        and job.state is JobState.SUCCEEDED
        and job.hash == weights.hash
    }
    ready = tuple(node for node in nodes if node in labelled or node in done)
    verified = next((job.verified for job in done.values() if job.verified), weights.verified)
    return WeightsPlan(
        weights=replace(weights, verified=verified),
        jobs=tuple(
            JobWanted(JobKind.FETCH, weights.attempt, n) for n in nodes if n not in labelled
        ),
        nodes_ready=ready,
        nodes_wanted=nodes,
        newly_ready=tuple(node for node in ready if node not in labelled),
    )
