"""How the weights stand on each node, in the figures that the status shows: state, percent, rate, time left, proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torpor.domain.prewarmjobs import CLAIM, JobSeen, JobState, Progress, WeightsPlan
from torpor.domain.pulling import Pulls


@dataclass(frozen=True, slots=True)
class Arrival:
    """The weights on one node; `since_ms` is when the state began."""

    node: str
    state: str
    since_ms: int
    percent: int | None = None
    bytes: int | None = None
    bytes_per_second: int | None = None
    seconds_left: int | None = None
    verified: str = ""
    message: str = ""
    image: str = ""
    """The engine's image, once it is known to be on the node."""


def arrivals(
    plan: WeightsPlan,
    pulls: Pulls,
    image: str,
    loading: Mapping[str, Progress],
    before: Mapping[str, Arrival],
    now_ms: int,
) -> tuple[Arrival, ...]:
    """Return one entry per node that should have the weights.

    Args:
        plan: What the Jobs said.
        pulls: Which nodes have the image.
        image: Its name.
        loading: What engines' pods say that get the weights for themselves, by node.
        before: The entries of the last status, by node; states keep their beginning, and proofs stay known.
        now_ms: The instant of this pass.
    """
    tries = {job.node: job for job in plan.tries}
    hints = dict(pulls.failed)
    found = []
    for node in plan.nodes_wanted:
        fresh = _arrival(node, plan, tries.get(node), loading.get(node), now_ms)
        old = before.get(node)
        if old is not None and old.state == fresh.state:
            fresh = replace(fresh, since_ms=old.since_ms, verified=fresh.verified or old.verified)
        if node in pulls.pulled:
            fresh = replace(fresh, image=image)
        elif node in hints and not fresh.message:
            fresh = replace(fresh, message=f"the engine's image: {hints[node]}")
        found.append(fresh)
    return tuple(found)


def _arrival(
    node: str, plan: WeightsPlan, job: JobSeen | None, loading: Progress | None, now_ms: int
) -> Arrival:
    """1 has them; 2 failed; 3 arriving, as the Job or the engine's own pod says; 4 nothing has started yet."""
    total = plan.weights.bytes
    if node in plan.nodes_ready:
        proof = (job.verified if job else "") or plan.weights.verified
        since = job.finished_ms if job and job.finished_ms else now_ms
        return Arrival(node, "Ready", since, percent=100, bytes=total, verified=proof)
    if job is not None and job.state is JobState.FAILED:
        return Arrival(node, "Failed", job.finished_ms or now_ms, message=job.message)
    progress = max(
        (p for p in (job.progress if job else None, loading) if p is not None),
        key=lambda p: p.bytes,
        default=None,
    )
    if progress is None:
        state = "Fetching" if job is not None and job.stalls_ms is None else "Queued"
        return Arrival(node, state, now_ms)
    left = progress.seconds_left
    return Arrival(
        node,
        "Fetching",
        now_ms,
        percent=progress.percent,
        bytes=progress.bytes,
        bytes_per_second=progress.bytes_per_second,
        seconds_left=None if left is None else round(left),
    )


def say_progress(progress: Progress) -> str:
    """Say how far a download is: `43 %, 1.20 GB/s, 9 s left`."""
    words = f"{progress.percent} %"
    if progress.bytes_per_second:
        words += f", {progress.bytes_per_second / 1e9:.2f} GB/s"
    if progress.seconds_left is not None:
        words += f", {progress.seconds_left:.0f} s left"
    return words


def node_title(node: str, claim: str) -> str:
    """Return what the status calls a place: the node's name, or the claim's where it serves all nodes."""
    return f"claim {claim}" if node == CLAIM else node
