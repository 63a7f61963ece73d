"""Which nodes still have to pull the engine's image, so that a wake does not wait for gigabytes of it.

A node that lists the image has it, and so has one whose pull Job ended; since a node lists its fifty largest images
only, the status remembers the others. A failed pull is tried again after a pause; it hinders nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, JobWanted

PAUSES_MS = (30_000, 120_000, 600_000)
_DEFAULT_REGISTRY = "docker.io/"


@dataclass(frozen=True, slots=True)
class Pulls:
    """The Jobs that should exist, the nodes that have the image, what failed where, and when to look again."""

    jobs: tuple[JobWanted, ...] = ()
    pulled: frozenset[str] = frozenset()
    failed: tuple[tuple[str, str], ...] = ()
    """Node and the reason in words."""
    look_again_ms: int | None = None


NO_PULLS = Pulls()


def plan_pulls(
    nodes: tuple[str, ...],
    have: frozenset[str],
    jobs: Iterable[JobSeen],
    mark: str,
    now_ms: int,
) -> Pulls:
    """Return which nodes should pull.

    Args:
        nodes: The nodes on which the engine may start.
        have: Those that are known to have the image.
        jobs: The endpoint's Jobs; those of another image (`spec` is not *mark*) do not count.
        mark: Digest of the image's name.
        now_ms: The instant of this pass.
    """
    ours = [job for job in jobs if job.kind is JobKind.IMAGE and job.spec == mark]
    wanted: list[JobWanted] = []
    pulled, failed, pauses = set(have), list[tuple[str, str]](), list[int]()
    for node in nodes:
        tries = [job for job in ours if job.node == node]
        latest = max(tries, key=lambda job: job.attempt, default=None)
        if latest is not None and latest.state is JobState.SUCCEEDED:
            pulled.add(node)
        if node in pulled:
            continue
        if latest is None:
            wanted.append(JobWanted(JobKind.IMAGE, 1, node))
            continue
        wanted.append(JobWanted(JobKind.IMAGE, latest.attempt, node))
        if latest.state is not JobState.FAILED:
            continue
        failed.append((node, latest.message))
        again = latest.finished_ms + PAUSES_MS[min(latest.attempt, len(PAUSES_MS)) - 1]
        if now_ms >= again:
            wanted.append(JobWanted(JobKind.IMAGE, latest.attempt + 1, node))
        else:
            pauses.append(again)
    return Pulls(
        tuple(wanted),
        frozenset(pulled & set(nodes)),
        tuple(failed),
        min(pauses, default=None),
    )


def names_image(listed: str, image: str) -> bool:
    """Whether a name in a node's list means *image*: nodes write registry and library out, people do not."""
    return _full(listed) == _full(image)


def _full(image: str) -> str:
    first, slash, _ = image.partition("/")
    if not slash:
        return f"{_DEFAULT_REGISTRY}library/{image}"
    if "." in first or ":" in first or first == "localhost":
        return image
    return f"{_DEFAULT_REGISTRY}{image}"
