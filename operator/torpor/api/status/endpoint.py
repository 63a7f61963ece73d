"""The status of an InferenceEndpoint as a whole."""

from typing import Annotated

from pydantic import Field

from torpor.api.conditions import Condition
from torpor.api.quantities import Count
from torpor.api.status.cost import CostStatus, TokensStatus
from torpor.api.status.parts import (
    DirectStatus,
    Display,
    FailureStatus,
    KeepAliveStatus,
    PlacementStatus,
    WakesStatus,
    WeightsStatus,
)
from torpor.api.words import SeenWords, by_key


class EndpointStatus(SeenWords):
    """What is. Written by the controller only; unknown fields of a newer torpor are ignored."""

    observed_generation: Count | None = None
    """The `metadata.generation` that the whole status was decided on."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(json_schema_extra=by_key("type")),
    ] = ()
    """Ready, Awake, Placed, WeightsReady; WithinBudget and CheaperThanOffer where the spec asks; Reconciling and
    Stalled only while true."""
    replicas: int = 0
    """Pods of the endpoint that exist."""
    ready_replicas: int = 0
    """Pods that are ready."""
    selector: str | None = None
    """Label selector of the pods, for `kubectl scale` and autoscalers."""
    url: str | None = None
    """Base URL of the OpenAI API inside the cluster: the gateways', or of a direct endpoint that of its own Service."""
    access: str | None = None
    """Who may ask: the names of the keys, or that there are none and whoever reaches the gateway may."""
    direct: DirectStatus | None = None
    """How its own Service leads to it. Absent: it has none."""
    display: Display = Field(default_factory=Display)
    """Texts for the columns of `kubectl get`."""
    placement: PlacementStatus = Field(default_factory=PlacementStatus)
    """Where the endpoint runs, or would run."""
    weights: WeightsStatus = Field(default_factory=WeightsStatus)
    """The weights: what they are and where."""
    wakes: WakesStatus = Field(default_factory=WakesStatus)
    """How often the endpoint woke, and how long it took."""
    keep_alive: KeepAliveStatus = Field(default_factory=KeepAliveStatus)
    """How long an idle replica is kept now."""
    cost: CostStatus = Field(default_factory=CostStatus)
    """What the endpoint costs and has cost."""
    tokens: TokensStatus = Field(default_factory=TokensStatus)
    """Tokens delivered."""
    failure: FailureStatus | None = None
    """The failure that keeps the endpoint from waking. Absent when there is none."""

    def condition(self, kind: str) -> Condition | None:
        """Give the condition of this type, or None."""
        return next((found for found in self.conditions if found.type == kind), None)
