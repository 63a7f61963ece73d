"""Is the bucket still what was listed? Asked again every so often, while what lies on the nodes goes on serving.

A listing that holds moves `listed_ms`; one that differs becomes the listing, and the nodes fetch it; a check that fails
is a doubt that the status tells, and no reason to stop: the copies on the nodes are as good as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, JobWanted, Weights


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What is known now, the Job that should exist, and when to look again."""

    weights: Weights
    job: JobWanted | None = None
    look_again_ms: int | None = None


def listed(spec: str, check: JobSeen, attempt: int) -> Weights:
    """Return what a check that succeeded has found."""
    return Weights(
        spec=spec,
        hash=check.hash,
        bytes=check.bytes,
        files=check.files,
        verified=check.verified,
        attempt=attempt,
        parts=check.parts,
        sources=check.sources,
        lora_rank=check.lora_rank,
        listed_ms=check.finished_ms,
    )


def recheck(
    weights: Weights, jobs: tuple[JobSeen, ...], now_ms: int, period_ms: int | None
) -> Rechecked:
    """Return whether to ask again, and what the last answer changes.

    Args:
        weights: What is known; its hash is not empty.
        jobs: The endpoint's prewarm Jobs.
        now_ms: The instant of this pass.
        period_ms: How long a listing is believed; None = for ever.
    """
    if period_ms is None:
        return Rechecked(weights)
    number = max(1, weights.listed_ms // 1000)
    due = weights.listed_ms + period_ms
    seen = next((j for j in jobs if j.kind is JobKind.RECHECK and j.attempt == number), None)
    wanted = JobWanted(JobKind.RECHECK, number)
    if seen is None:
        if now_ms < due:
            return Rechecked(weights, look_again_ms=due)
        return Rechecked(weights, wanted)
    if seen.state is JobState.RUNNING:
        return Rechecked(weights, wanted)
    asked_ms = max(seen.finished_ms, weights.listed_ms + 1000)
    again = asked_ms + period_ms
    if seen.state is JobState.FAILED:
        doubted = replace(weights, listed_ms=asked_ms, doubt=seen.message)
        return Rechecked(doubted, look_again_ms=again)
    if seen.hash == weights.hash:
        # A revision that moved without a change of content: the older copy is as good, and its address is in use.
        sources = weights.sources or seen.sources
        sure = replace(weights, listed_ms=asked_ms, doubt="", sources=sources)
        return Rechecked(sure, look_again_ms=again)
    return Rechecked(listed(weights.spec, seen, weights.attempt + 1), look_again_ms=again)
