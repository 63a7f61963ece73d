"""Which prewarm Jobs there should be: check the source on a CPU first, then fetch to the nodes that may run it.

The plan is a function of what the Jobs said; nothing is remembered but the last good listing (`Weights`), which the
status carries. A failed Job is tried again after a pause with a higher attempt number, since what was wrong (a key, a
truncated object, a full disk) is corrected outside Kubernetes where no event tells us:

    1 no node has the weights   all over, beginning with the check
    2 the bucket changed        all over as well: what was listed cannot be fetched any more
    3 another node has them     that node's fetch alone; what was listed stays known, and the endpoint works

A failed Job stays as the witness until the next try has ended, so that what is wrong is said all the while.
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


@dataclass(frozen=True, slots=True)
class _Fetch:
    """How one node's fetch stands: its latest try, the last one that failed, and the Jobs that say so."""

    node: str
    latest: JobSeen | None
    failed: JobSeen | None
    jobs: tuple[JobWanted, ...]


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
    if not weights.hash:
        checks = [j for j in jobs if j.kind is JobKind.CHECK and j.attempt == weights.attempt]
        check = max(checks, key=_standing, default=None)
        if check is None or check.state is not JobState.SUCCEEDED:
            return _checking(weights, check, now_ms)
        weights = Weights(spec, check.hash, check.bytes, check.files, check.verified, check.attempt)
        labelled = frozenset()
    jobs = tuple(job for job in jobs if job.attempt >= weights.attempt and _fetches(job, weights))
    return _fetching(weights, jobs, nodes, labelled, now_ms)


def still_wrong(plan: WeightsPlan, before: Fault | None) -> WeightsPlan:
    """Let what was wrong stand while it is checked again: until the check says otherwise, nothing has been corrected.

    Args:
        plan: The plan of this pass.
        before: The fault that made the endpoint not ready so far; None if it was ready, or not yet judged.
    """
    checking_again = not plan.weights.hash and plan.weights.attempt > 1 and plan.fault is None
    return replace(plan, fault=before) if checking_again else plan


def _latest_attempt(weights: Weights, jobs: tuple[JobSeen, ...]) -> Weights:
    """Follow the highest attempt that a Job stands for; what an older attempt listed is no longer trusted.

    Fetches of what is listed are tried again under higher numbers of their own, which do not question the listing.
    """
    attempts = (job.attempt for job in jobs if not (weights.hash and _fetches(job, weights)))
    attempt = max(attempts, default=weights.attempt)
    return weights if attempt <= weights.attempt else Weights(spec=weights.spec, attempt=attempt)


def _fetches(job: JobSeen, weights: Weights) -> bool:
    """Whether the Job brings what is listed to a node. A fetch of another hash belongs to another listing."""
    return job.kind is JobKind.FETCH and job.hash in ("", weights.hash)


def _standing(job: JobSeen) -> tuple[int, bool, bool]:
    """Order of Jobs for the same thing: the latest attempt speaks, and of two under one number the better."""
    return job.attempt, job.state is JobState.SUCCEEDED, job.state is JobState.RUNNING


def _checking(weights: Weights, check: JobSeen | None, now_ms: int) -> WeightsPlan:
    """Wait for the check; one that failed is the witness until its pause is over, then it is made again."""
    wanted = (JobWanted(JobKind.CHECK, weights.attempt),)
    if check is None or check.state is not JobState.FAILED:
        return WeightsPlan(weights, wanted)
    if now_ms >= _retry_at(check):
        return replace(_checked_again(weights, check.attempt), fault=_fault(check))
    return WeightsPlan(weights, wanted, _fault(check), look_again_ms=_retry_at(check))


def _checked_again(weights: Weights, attempt: int) -> WeightsPlan:
    again = Weights(spec=weights.spec, attempt=attempt + 1)
    return WeightsPlan(again, (JobWanted(JobKind.CHECK, again.attempt),))


def _fetching(
    weights: Weights,
    jobs: tuple[JobSeen, ...],
    nodes: tuple[str, ...],
    labelled: frozenset[str],
    now_ms: int,
) -> WeightsPlan:
    fetches = [
        _fetch(node, [job for job in jobs if job.node == node], weights.attempt)
        for node in nodes
        if node not in labelled
    ]
    done = {f.node: f.latest for f in fetches if f.latest and f.latest.state is JobState.SUCCEEDED}
    ready = tuple(node for node in nodes if node in labelled or node in done)
    verified = next((job.verified for job in done.values() if job.verified), weights.verified)
    so_far = WeightsPlan(
        weights=replace(weights, verified=verified),
        jobs=tuple(job for fetch in fetches for job in fetch.jobs),
        nodes_ready=ready,
        nodes_wanted=nodes,
        newly_ready=tuple(node for node in ready if node not in labelled),
    )
    failed = [fetch.failed for fetch in fetches if fetch.failed is not None]
    if not failed:
        return so_far
    changed = [job for job in failed if Reason.of(job.reason) is Reason.WEIGHTS_CHANGED]
    witness = max(changed or failed, key=lambda job: job.finished_ms)
    if changed or not ready:
        so_far = _listed_again(so_far, fetches, witness, now_ms)
    else:
        so_far = _fetched_again(so_far, fetches, now_ms)
    if ready:
        return replace(so_far, hindrance=_fault(witness))
    return replace(so_far, fault=_fault(witness))


def _fetch(node: str, jobs: list[JobSeen], first: int) -> _Fetch:
    """Return how the node's fetch stands; its last failure no longer counts once a later try has succeeded."""
    latest = max(jobs, key=_standing, default=None)
    if latest is None:
        return _Fetch(node, None, None, (JobWanted(JobKind.FETCH, first, node),))
    failures = [job for job in jobs if job.state is JobState.FAILED]
    failed = max(failures, key=_standing, default=None)
    if latest.state is JobState.SUCCEEDED:
        failed = None
    attempts = sorted({job.attempt for job in (failed, latest) if job is not None})
    wanted = tuple(JobWanted(JobKind.FETCH, attempt, node) for attempt in attempts)
    return _Fetch(node, latest, failed, wanted)


def _listed_again(
    so_far: WeightsPlan, fetches: list[_Fetch], witness: JobSeen, now_ms: int
) -> WeightsPlan:
    """Begin again with the check, once the pause is over and no node is fetching: it takes all fetches away."""
    tries = [fetch.latest for fetch in fetches if fetch.latest is not None]
    if any(job.state is JobState.RUNNING for job in tries):
        return so_far
    if now_ms < _retry_at(witness):
        return replace(so_far, look_again_ms=_retry_at(witness))
    return _checked_again(so_far.weights, max(job.attempt for job in tries))


def _fetched_again(so_far: WeightsPlan, fetches: list[_Fetch], now_ms: int) -> WeightsPlan:
    """Begin again on the nodes that failed, each once its own pause is over; the others are left alone."""
    over = [f.latest for f in fetches if f.latest and f.latest.state is JobState.FAILED]
    again = [job for job in over if now_ms >= _retry_at(job)]
    pauses = [_retry_at(job) for job in over if now_ms < _retry_at(job)]
    more = tuple(JobWanted(JobKind.FETCH, job.attempt + 1, job.node) for job in again)
    return replace(so_far, jobs=so_far.jobs + more, look_again_ms=min(pauses, default=None))


def _retry_at(failed: JobSeen) -> int:
    return failed.finished_ms + pause_ms(failed.attempt)


def _fault(failed: JobSeen) -> Fault:
    return Fault(failed.reason, failed.message, failed.retryable)
