"""The parts of an endpoint's status apart from the meter."""

from typing import Annotated

from pydantic import Field

from torpor.api.quantities import Count, Milliseconds, Timestamp
from torpor.api.words import SeenWords, by_key


class Display(SeenWords):
    """Texts for the columns of `kubectl get`."""

    replicas: str | None = None
    """Ready replicas of the most there may be, such as 1/3."""
    gpu: str | None = None
    """GPU class, with the number of GPUs when there are several, such as 2×h100."""
    model: str | None = None
    """What clients send as `model`."""
    cost_per_second: str | None = None
    """`cost.perSecond`, to six decimal places."""


class DirectStatus(SeenWords):
    """The Service of a direct endpoint, while the endpoint sleeps."""

    port: Count
    """Port at which every gateway takes requests for this endpoint alone; the Service leads there."""
    since_ms: Milliseconds
    """From when on its engines are counted by their own counters."""


class Rejected(SeenWords):
    """A GPU class that was not chosen."""

    gpu_class: Annotated[str, Field(alias="class")]
    """Name of the class."""
    why: str
    """Why not, with the numbers."""


class PlacementStatus(SeenWords):
    """Where the endpoint runs, or would run."""

    gpu_class: Annotated[str | None, Field(alias="class")] = None
    """Chosen GPU class."""
    gpus: int | None = None
    """GPUs per replica."""
    need_bytes: Count | None = None
    """GPU memory that one replica needs, as far as it is known."""
    price_id: str | None = None
    """Ledger row that a replica would add to."""
    rejected: tuple[Rejected, ...] = ()
    """Classes that were not chosen, and why."""


class WeightsNode(SeenWords):
    """The weights on one node."""

    name: str
    """Name of the node."""
    state: str
    """Queued, Fetching, Ready or Failed."""
    since: Timestamp | None = None
    """When that state began."""
    percent: int | None = None
    """Share that has arrived, 0 to 100."""
    bytes: Count | None = None
    """Bytes that have arrived."""
    bytes_per_second: Count | None = None
    """Rate of the download."""
    seconds_left: int | None = None
    """Time left at that rate."""
    verified: str | None = None
    """How the bytes were verified: crc64nvme, crc32c, crc32, md5-etag or size-only."""
    image: str | None = None
    """The engine's image, once it is known to be on the node."""
    message: str | None = None
    """What went wrong, if anything did."""


class WeightsStatus(SeenWords):
    """The weights: what they are and where."""

    hash: str | None = None
    """Identity of the listing, draft and adapters included: 32 hexadecimal digits."""
    parts: tuple[str, ...] = ()
    """Identities of the model, its draft and its adapters, in that order."""
    sources: tuple[str, ...] = ()
    """Where those lie in the bucket, for copies of hf:// sources."""
    lora_rank: int | None = None
    """Largest rank of the adapters."""
    listed_at: Timestamp | None = None
    """When the source was last found to hold exactly this."""
    doubt: str | None = None
    """Why the latest check of the source failed, although what lies on the nodes still serves."""
    in_claim: bool | None = None
    """The claim that caches the weights for all nodes holds them."""
    spec: str | None = None
    """Digest of the part of the spec that was listed; with another one the listing starts over."""
    attempt: int = 1
    """Which attempt at listing and fetching this is; it grows with failures."""
    bytes: Count | None = None
    """Size of all files together."""
    files: int | None = None
    """Number of files."""
    verified: str | None = None
    """How the bytes were verified: crc64nvme, crc32c, crc32, md5-etag or size-only."""
    nodes: Annotated[
        tuple[WeightsNode, ...],
        Field(json_schema_extra=by_key("name")),
    ] = ()
    """The weights, node by node."""
    nodes_ready: int | None = None
    """Nodes that have them."""
    nodes_wanted: int | None = None
    """Nodes that should have them."""


class Wake(SeenWords):
    """One wake and its parts, in seconds as decimal strings."""

    at: Timestamp
    """When the request came that woke the endpoint."""
    queue: str | None = None
    """From the request to the write of replicas."""
    schedule: str | None = None
    """From that write to a node for the pod."""
    image: str | None = None
    """Pulling images."""
    weights: str | None = None
    """Getting weights to the node."""
    engine: str | None = None
    """From the engine's start to its first healthy answer."""
    total: str | None = None
    """From the request to the first healthy answer."""


class WakesStatus(SeenWords):
    """How often the endpoint woke, and how long it took."""

    count: int = 0
    """Wakes since the endpoint's creation."""
    p50_seconds: str | None = None
    """Half of the recent wakes took no longer."""
    p95_seconds: str | None = None
    """Nineteen of twenty recent wakes took no longer."""
    recent_ms: tuple[Count, ...] = ()
    """Total times of the latest wakes, oldest first, which the percentiles are made from."""
    last: Wake | None = None
    """The latest wake."""


class KeepAliveStatus(SeenWords):
    """How long an idle replica is kept now."""

    seconds: int | None = None
    """Idle time after which replicas are put to sleep. Absent while they are kept until somebody needs their GPUs."""
    why: str | None = None
    """How that time was found."""
    deadline: Timestamp | None = None
    """When replicas go to sleep if nobody asks. Absent while requests are in flight or nothing runs."""
    ahead: Timestamp | None = None
    """When a replica is woken ahead of demand if nobody has asked by then. Absent while none is."""
    last_activity: Timestamp | None = None
    """Last byte of the last response, as far as it was known when this status was written."""
    learned: str | None = None
    """What is remembered of how requests come back and how long a start takes, packed; for torpor alone."""
    learned_through: Timestamp | None = None
    """End of the last request that it knows of."""
    started_at: Timestamp | None = None
    """First readiness of the last start that it knows of."""


class FailureStatus(SeenWords):
    """The failure that keeps the endpoint from waking."""

    reason: str
    """Reason, as in the condition Ready."""
    message: str = ""
    """What went wrong, in one sentence."""
    count: int = 1
    """How often in a row it happened."""
    at: Timestamp
    """When it last happened."""
    retry_at: Timestamp | None = None
    """When it is tried again. Absent when somebody has to change something first."""
    generation: Count = 0
    """The `metadata.generation` that failed."""
    pod: str | None = None
    """UID of the pod that failed."""
