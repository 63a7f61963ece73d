"""The ledger as `status.cost` keeps it: integer GPU-milliseconds per phase and price, and the pods still on the meter.

Restarting the controller loses nothing, and replaying a pass adds nothing, because what is not yet in a row follows
from the live pods' own times.
"""

from typing import Annotated

from pydantic import Field

from torpor.api.quantities import Count, Milliseconds, Money, Share
from torpor.api.words import SeenWords


class GpuMs(SeenWords):
    """GPU-milliseconds by phase; their sum is what was accrued, exactly."""

    starting: Milliseconds = 0
    """From the pod's scheduling to its first readiness."""
    busy: Milliseconds = 0
    """Ready, with at least one request in flight."""
    idle: Milliseconds = 0
    """Ready, with none."""
    terminating: Milliseconds = 0
    """From the pod's deletion to the end of its last container."""

    @property
    def total(self) -> int:
        """Give the sum of the phases."""
        return self.starting + self.busy + self.idle + self.terminating


class LedgerRow(SeenWords):
    """What was used at one price, settled."""

    price_id: str
    """Which price: made from the GPU class, its price and its currency."""
    gpu_class: str = ""
    """GPU class the price belongs to."""
    capacity_type: str = ""
    """How the GPU was paid for."""
    per_gpu_hour: Annotated[Money | None, Field(alias="perGPUHour")] = None
    """The price of a whole GPU. Absent when it is unknown; the row's cost is then unknown too."""
    fraction: Share | None = None
    """Part of a GPU that is counted as one here, and costs that part of the price. Absent: a whole one."""
    currency: str = "USD"
    """ISO 4217 code of the price."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase."""
    failed_start_gpu_ms: Milliseconds = 0
    """Part of `starting` that belongs to pods that never got ready."""
    always_on_gpu_ms: Milliseconds = 0
    """GPU-milliseconds that an endpoint which never sleeps would have used at this price."""
    rounding_gpu_ms: Milliseconds = 0
    """GPU-milliseconds billed beyond the phases, because the provider rounds a lifetime up."""
    unused_start_gpu_ms: Milliseconds | None = None
    """Part of `starting` and `idle` that belongs to pods that were ready and ended without a request. Absent: none."""
    node_gpu_ms: Milliseconds | None = None
    """GPU-milliseconds that nobody held of nodes that are paid for as a whole, beyond the phases. Absent: none."""
    whole_node: bool | None = None
    """Whether the price is of whole nodes (`price.scope: node`). Absent: it is not."""
    granularity_seconds: int | None = None
    """Step to which the provider bills a lifetime."""
    minimum_seconds: int | None = None
    """Shortest lifetime that the provider bills."""


class SettledCost(SeenWords):
    """Cost of the settled rows, exactly: millionths of the currency per GPU-hour times GPU-milliseconds.

    A whole number, or one over another, such as 22/7, where a GPU was a part of one.
    """

    starting: str = "0"
    """As of `gpuMs`, and so are the next three."""
    busy: str = "0"
    """Ready, with requests."""
    idle: str = "0"
    """Ready, with none."""
    terminating: str = "0"
    """After deletion."""
    failed_start: str = "0"
    """Part of `starting`."""
    rounding: str = "0"
    """What was rounded up."""
    unused_start: str | None = None
    """Part of `starting` and `idle`. Absent: none."""
    node: str | None = None
    """What nobody held of nodes. Absent: none."""
    always_on: str = "0"
    """What an endpoint that never sleeps would have cost."""


class SettledRows(SeenWords):
    """The oldest rows, added up so that the ledger stays short."""

    rows: int = 0
    """How many there were."""
    currency: str = "USD"
    """ISO 4217 code of their prices."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase."""
    failed_start_gpu_ms: Milliseconds = 0
    """As of a row."""
    always_on_gpu_ms: Milliseconds = 0
    """As of a row."""
    rounding_gpu_ms: Milliseconds = 0
    """As of a row."""
    unused_start_gpu_ms: Milliseconds | None = None
    """As of a row."""
    node_gpu_ms: Milliseconds | None = None
    """As of a row."""
    cost: SettledCost = Field(default_factory=SettledCost)
    """What they cost; their prices are not kept."""


class LivePrice(SeenWords):
    """A stretch of a pod's life at one price."""

    price_id: str
    """Row that this stretch adds to."""
    from_ms: Milliseconds
    """When the stretch begins; it ends where the next begins."""
    busy_ms: Milliseconds = 0
    """Milliseconds with requests in flight, counted up to `busyThroughMs`."""


class LivePod(SeenWords):
    """A pod that may still add to the ledger. Times are milliseconds since 1970, UTC."""

    uid: str
    """UID of the pod."""
    name: str = ""
    """Name of the pod."""
    prices: tuple[LivePrice, ...]
    """Its prices, one after the other; the last is that of now."""
    gpus: int = 1
    """GPUs of the pod."""
    start_ms: Milliseconds
    """When the pod was scheduled."""
    first_ready_ms: Milliseconds | None = None
    """When the pod was first ready."""
    deleted_ms: Milliseconds | None = None
    """When the pod was told to end."""
    finished_ms: Milliseconds | None = None
    """When its last container ended."""
    busy_through_ms: Milliseconds = 0
    """Up to when `busyMs` is counted; what came later is still with the gateways."""


class NodeTenant(SeenWords):
    """A pod that holds, or held, GPUs of a node. Times are milliseconds since 1970, UTC."""

    uid: str
    """UID of the pod."""
    gpus: int = 1
    """GPUs of the pod."""
    start_ms: Milliseconds
    """When the pod was scheduled."""
    end_ms: Milliseconds | None = None
    """When its last container ended. Absent while it runs."""
    mine: bool | None = None
    """Whether it is of this endpoint. Absent: of another one."""
    awaited: bool | None = None
    """Whether it was waiting when the node was made, for which it then was. Absent: it was not."""


class NodePrice(SeenWords):
    """A stretch of a node's life at one price."""

    price_id: str
    """Row that this stretch adds to."""
    from_ms: Milliseconds
    """When the stretch begins; it ends where the next begins."""


class LiveNode(SeenWords):
    """A node that is paid for as a whole and that the endpoint's pods are or were on. Times are as of a pod."""

    uid: str
    """UID of the node."""
    name: str = ""
    """Name of the node."""
    gpus: int = 1
    """GPUs of the node."""
    created_ms: Milliseconds
    """When the node was created."""
    removed_ms: Milliseconds | None = None
    """When it went. Absent while it is there."""
    prices: tuple[NodePrice, ...]
    """Its prices, one after the other; the last is that of now."""
    tenants: tuple[NodeTenant, ...] = ()
    """The pods of all endpoints that were on it, by which what nobody holds is shared."""


class ClosedPod(SeenWords):
    """A pod whose bill is in its row; remembered for a while so that it is never booked twice."""

    uid: str
    """UID of the pod."""
    at_ms: Milliseconds
    """When it was booked."""


class Mark(SeenWords):
    """A reading of the meter at the edge of an hour or of a month, from which windows are counted."""

    at_ms: Milliseconds
    """When, in milliseconds since 1970."""
    gpu_ms: GpuMs = Field(default_factory=GpuMs)
    """GPU-milliseconds by phase until then."""
    failed_start_gpu_ms: Milliseconds = 0
    """Part of `starting`."""
    spent: str | None = None
    """Cost until then, exactly, written as in `settled.cost`. Absent if unknown."""
    prompt: Count = 0
    """Prompt tokens until then."""
    completion: Count = 0
    """Completion tokens until then."""
    egress_bytes: Count | None = None
    """Bytes of weights that were moved between regions until then. Absent: none."""
    egress: str | None = None
    """Part of `spent` that moving them cost, written in the same way. Absent if unknown."""
