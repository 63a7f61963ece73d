"""What the planning of weights speaks of: prewarm Jobs as they stand, what is known of the weights, and what should be.

Sizes are bytes, instants epoch milliseconds. Nothing here decides; `torpor.domain.prewarming` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torpor.domain.observation import Fault

CLAIM = ""
"""Stands for a node where the weights lie in a claim that every node mounts."""


class JobState(StrEnum):
    """How a prewarm Job stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class JobKind(StrEnum):
    """What a prewarm Job does: check the source, check it again, fetch it to a node, pull the engine's image there."""

    CHECK = "check"
    RECHECK = "recheck"
    FETCH = "fetch"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is, as the pod that does it says."""

    bytes: int = 0
    total: int = 0
    bytes_per_second: int = 0
    seconds_left: float | None = None

    @property
    def percent(self) -> int:
        """Share that has arrived, 0 to 100; 100 is said only when everything has."""
        return min(100, self.bytes * 100 // self.total) if self.total else 0


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
    created_ms: int = 0
    parts: tuple[str, ...] = ()
    """Hashes of the model, its draft and its adapters, in that order."""
    sources: tuple[str, ...] = ()
    """Where those lie in the bucket, where that differs from the spec: copies of hf:// sources."""
    commits: tuple[str, ...] = ()
    """What the revisions of hf:// sources meant; empty for what names its commit, or is none."""
    lora_rank: int = 0
    evicted: tuple[str, ...] = ()
    """Hashes of other weights that made room."""
    progress: Progress | None = None
    uid: str = ""
    name: str = ""
    route: tuple[str, str] | None = None
    """From which region to which other one it fetches; None within one, or where one is not known."""
    arrived_bytes: int | None = None
    """What it has brought to the node, over all tries; 0 if it was there. None if that was not told."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The last good listing of the source; empty `hash` = not known (yet, or any more)."""

    spec: str = ""
    hash: str = ""
    bytes: int = 0
    files: int = 0
    verified: str = ""
    attempt: int = 1
    parts: tuple[str, ...] = ()
    """Hashes of the model, its draft and its adapters; `hash` names them together."""
    sources: tuple[str, ...] = ()
    """Where those lie in the bucket, where that differs from the spec."""
    lora_rank: int = 0
    listed_ms: int = 0
    """When the listing was last found as it is."""
    doubt: str = ""
    """Why the latest check of an already listed source failed; what lies on the nodes still serves."""
    claim_ready: bool = False
    """The claim that caches them for all nodes holds them."""

    @property
    def all_parts(self) -> tuple[str, ...]:
        """Hashes of everything, also as a listing of an older torpor has them."""
        return self.parts or ((self.hash,) if self.hash else ())


@dataclass(frozen=True, slots=True)
class JobWanted:
    """A Job that should exist."""

    kind: JobKind
    attempt: int
    node: str = ""


@dataclass(frozen=True, slots=True)
class NodeNeeds:
    """Which nodes should hold the weights, and which of them do.

    `prewarmed` in order of preference; `waking` are nodes on which an engine runs although no label says that they
    hold them: a Job beside it may make room for what the pod fetches itself, and proves that it is there.
    """

    prewarmed: tuple[str, ...] = ()
    waking: tuple[tuple[str, int], ...] = ()
    """Node and when the pod on it was made, epoch ms."""
    labelled: frozenset[str] = frozenset()
    """Nodes whose label says that they hold them."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """All of them, each once, those that wake last."""
        more = (node for node, _ in self.waking)
        return tuple(dict.fromkeys((*self.prewarmed, *more)))


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
    evicted: tuple[tuple[str, str], ...] = ()
    """Node and hash of other weights that made room there for the newly ready ones."""
    tries: tuple[JobSeen, ...] = ()
    """The latest fetch of each node that has one."""
    look_again_ms: int | None = None
    arrived: tuple[JobSeen, ...] = ()
    """Every fetch that has moved bytes between regions, whatever it is that is wanted now."""
