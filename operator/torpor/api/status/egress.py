"""`status.cost.egress`: what moving weights from one region to another has cost and will cost."""

from typing import Annotated

from pydantic import Field

from torpor.api.quantities import Count, Milliseconds, Money
from torpor.api.words import SeenWords, by_key


class EgressRow(SeenWords):
    """What was moved from one region to another at one price."""

    id: str
    """Which: made from the regions, the price and its currency."""
    from_region: str
    """Region of the bucket, whose price it is."""
    to_region: str
    """Region of the nodes."""
    currency: str = "USD"
    """ISO 4217 code of the price."""
    per_gi_b: Annotated[Money | None, Field(alias="perGiB")] = None
    """The price. Absent when no GPUClass of the region says it: the cost is then unknown until one does."""
    bytes: Count = 0
    """Bytes that have arrived."""


class EgressExpected(SeenWords):
    """What fetching to the nodes that lack the weights will move."""

    from_region: str
    """Region of the bucket."""
    to_region: str
    """Region of the nodes."""
    nodes: int
    """Nodes that lack the weights."""
    bytes: Count
    """Bytes for all of them."""
    cost: str | None = None
    """What that will cost. Absent while no GPUClass of the bucket's region says its price."""


class CountedDownload(SeenWords):
    """A download whose bytes are in `routes`; remembered for a while so that it is never counted twice."""

    uid: str
    """UID of the Job, or of the engine's pod, that fetched."""
    at_ms: Milliseconds
    """When it was counted."""


class EgressStatus(SeenWords):
    """Weights that were moved, or will be, between regions. Their cost is part of `spent` and of no phase."""

    cost: str | None = None
    """Cost since the endpoint's creation. Absent while a price of it is unknown."""
    bytes: Count = 0
    """Bytes that have arrived."""
    predicted: EgressExpected | None = None
    """What is still to be moved. Absent when that is nothing."""
    routes: Annotated[
        tuple[EgressRow, ...],
        Field(json_schema_extra=by_key("id")),
    ] = ()
    """The ledger of it: bytes by route and price."""
    counted: Annotated[
        tuple[CountedDownload, ...],
        Field(json_schema_extra=by_key("uid")),
    ] = ()
    """Downloads counted in the last 20 minutes, or whose Job or pod is still there."""
