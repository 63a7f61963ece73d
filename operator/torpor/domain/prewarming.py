"""Which prewarm Jobs there should be: check the source on a CPU first, then fetch to the nodes that may run it.

The plan is a function of what the Jobs said; nothing is remembered but the last good listing (`Weights`), which the
status carries. A failed Job is tried again after a pause with a higher attempt number, since what was wrong (a key, a
truncated object, a full disk) is corrected outside Kubernetes where no event tells us:

    1 no node has the weights   all over, beginning with the check
    2 the bucket changed        all over as well: what was listed cannot be fetched any more
    3 another node has them     that node's fetch alone; what was listed stays known, and the endpoint works
    4 the node's cache is full  that node's fetch alone, rarely; an engine that wakes there makes room

A failed Job stays as the witness until the next try has ended, so that what is wrong is said all the while.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torpor.api.conditions import Reason
from torpor.domain.observation import Fault
from torpor.domain.prewarmjobs import (
    CLAIM,
    JobKind,
    JobSeen,
    JobState,
    JobWanted,
    NodeNeeds,
    Weights,
    WeightsPlan,
)
from torpor.domain.rechecking import listed, recheck

FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 60_000
LONGEST_FULL_PAUSE_MS = 1_800_000
"""A cache that is full of what others use stays so for long; a wake does not wait for this."""


@dataclass(frozen=True, slots=True)
class _Fetch:
    """How one node's fetch stands: its latest try, the last one that failed, and the Jobs that say so."""

    node: str
    latest: JobSeen | None
    failed: JobSeen | None
    jobs: tuple[JobWanted, ...]


def pause_ms(attempt: int, longest: int = LONGEST_PAUSE_MS) -> int:
    """Return the pause after the *attempt*-th failure in a row: 5 s, 10 s, … 60 s. A check costs no GPU."""
    return min(longest, FIRST_PAUSE_MS << min(attempt - 1, 10))


def after_failed_wake(known: Weights, reason: str) -> Weights:
    """Return what is still known once a wake failed: weights that changed in the bucket are listed anew."""
    if Reason.of(reason) is not Reason.WEIGHTS_CHANGED:
        return known
    return Weights(spec=known.spec, attempt=known.attempt + 1)


def plan(
    spec: str,
    known: Weights,
    jobs: tuple[JobSeen, ...],
    needs: NodeNeeds,
    now_ms: int,
    recheck_ms: int | None = None,
) -> WeightsPlan:
    """Return the Jobs that should exist.

    Args:
        spec: Digest of everything that says where the weights come from; another digest starts over.
        known: The last good listing, as the status has it.
        jobs: The endpoint's prewarm Jobs as they stand.
        needs: The nodes that should hold the weights, and those that do.
        now_ms: The instant of this pass, epoch ms.
        recheck_ms: How long a listing is believed before the source is asked again; None = for ever.
    """
    found = _planned(spec, known, jobs, needs, now_ms, recheck_ms)
    return replace(found, arrived=tuple(job for job in jobs if _has_moved(job)))


def _has_moved(job: JobSeen) -> bool:
    done = job.kind is JobKind.FETCH and job.state is JobState.SUCCEEDED
    return done and job.route is not None and job.arrived_bytes != 0


def _planned(
    spec: str,
    known: Weights,
    jobs: tuple[JobSeen, ...],
    needs: NodeNeeds,
    now_ms: int,
    recheck_ms: int | None,
) -> WeightsPlan:
    nodes = needs.nodes
    jobs = tuple(
        job
        for job in jobs
        if job.spec == spec and (job.kind is not JobKind.FETCH or job.node in nodes)
    )
    weights = _latest_attempt(known if known.spec == spec else Weights(spec=spec), jobs)
    if not weights.hash:
        checks = [j for j in jobs if j.kind is JobKind.CHECK and j.attempt == weights.attempt]
        check = max(checks, key=_standing, default=None)
        if check is None or check.state is not JobState.SUCCEEDED:
            return _checking(weights, check, now_ms)
        weights = listed(spec, check, check.attempt)
        needs = replace(needs, labelled=frozenset())
    asked = recheck(weights, jobs, now_ms, recheck_ms)
    if asked.weights.hash != weights.hash:
        needs = replace(needs, labelled=frozenset())
    weights = asked.weights
    jobs = tuple(job for job in jobs if job.attempt >= weights.attempt and _fetches(job, weights))
    found = _fetching(weights, jobs, needs, now_ms)
    if asked.job is not None and found.weights.hash:
        found = replace(found, jobs=(*found.jobs, asked.job))
    times = (asked.look_again_ms, found.look_again_ms)
    return replace(found, look_again_ms=min((at for at in times if at is not None), default=None))


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
    counted = [job for job in jobs if job.kind in (JobKind.CHECK, JobKind.FETCH)]
    attempts = (job.attempt for job in counted if not (weights.hash and _fetches(job, weights)))
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
        return WeightsPlan(weights, wanted, tries=() if check is None else (check,))
    if now_ms >= _retry_at(check):
        return replace(_checked_again(weights, check.attempt), fault=_fault(check))
    return WeightsPlan(weights, wanted, _fault(check), look_again_ms=_retry_at(check))


def _checked_again(weights: Weights, attempt: int) -> WeightsPlan:
    again = Weights(spec=weights.spec, attempt=attempt + 1)
    return WeightsPlan(again, (JobWanted(JobKind.CHECK, again.attempt),))


def _fetching(
    weights: Weights, jobs: tuple[JobSeen, ...], needs: NodeNeeds, now_ms: int
) -> WeightsPlan:
    nodes = needs.nodes
    doubted = CLAIM in dict(needs.waking)  # an engine looks for them there in vain
    labelled = needs.labelled | ({CLAIM} if weights.claim_ready and not doubted else set())
    fetches = [
        _fetch(node, [job for job in jobs if job.node == node], weights.attempt)
        for node in nodes
        if node not in labelled
    ]
    done = {f.node: f.latest for f in fetches if f.latest and f.latest.state is JobState.SUCCEEDED}
    ready = tuple(node for node in nodes if node in labelled or node in done)
    verified = next((job.verified for job in done.values() if job.verified), weights.verified)
    so_far = WeightsPlan(
        weights=replace(weights, verified=verified, claim_ready=CLAIM in ready),
        jobs=tuple(job for fetch in fetches for job in fetch.jobs),
        nodes_ready=ready,
        nodes_wanted=nodes,
        newly_ready=tuple(node for node in ready if node not in labelled),
        evicted=tuple((node, other) for node, job in done.items() for other in job.evicted),
        tries=tuple(fetch.latest for fetch in fetches if fetch.latest is not None),
    )
    failed = [fetch.failed for fetch in fetches if fetch.failed is not None]
    if not failed:
        return so_far
    changed = [job for job in failed if Reason.of(job.reason) is Reason.WEIGHTS_CHANGED]
    crowded = all(_is_crowded(job) for job in failed)
    witness = max(changed or failed, key=lambda job: job.finished_ms)
    if changed or not (ready or crowded):
        so_far = _listed_again(so_far, fetches, witness, now_ms)
    else:
        so_far = _fetched_again(so_far, fetches, needs, now_ms)
    if ready or crowded:
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


def _fetched_again(
    so_far: WeightsPlan, fetches: list[_Fetch], needs: NodeNeeds, now_ms: int
) -> WeightsPlan:
    """Begin again on the nodes that failed, each once its own pause is over; the others are left alone.

    An engine that waits for the weights on such a node ends the pause: what was used more recently no longer was.
    """
    waking = dict(needs.waking)
    over = [f.latest for f in fetches if f.latest and f.latest.state is JobState.FAILED]
    due = {job.node: _retry_at(job) for job in over}
    due |= {job.node: 0 for job in over if job.created_ms < waking.get(job.node, 0)}
    again = [job for job in over if now_ms >= due[job.node]]
    pauses = [at for at in due.values() if now_ms < at]
    more = tuple(JobWanted(JobKind.FETCH, job.attempt + 1, job.node) for job in again)
    return replace(so_far, jobs=so_far.jobs + more, look_again_ms=min(pauses, default=None))


def _is_crowded(job: JobSeen) -> bool:
    return Reason.of(job.reason) is Reason.WEIGHTS_CACHE_FULL


def _retry_at(failed: JobSeen) -> int:
    longest = LONGEST_FULL_PAUSE_MS if _is_crowded(failed) else LONGEST_PAUSE_MS
    return failed.finished_ms + pause_ms(failed.attempt, longest)


def _fault(failed: JobSeen) -> Fault:
    return Fault(failed.reason, failed.message, failed.retryable)
