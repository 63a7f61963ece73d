"""The kind InferenceEndpoint and its spec."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from torpor.api.endpoint.cost import Cost
from torpor.api.endpoint.door import Access, Queue
from torpor.api.endpoint.engine import Engine
from torpor.api.endpoint.model import Model
from torpor.api.endpoint.placement import Placement
from torpor.api.endpoint.prewarm import Prewarm
from torpor.api.endpoint.scaling import Scaling
from torpor.api.meta import ObjectMeta
from torpor.api.status import EndpointStatus
from torpor.api.words import Rule, SeenWords, Words

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_Parts = dict[Literal["metadata", "spec"], dict[str, Any]]
PodTemplate = Annotated[
    _Parts,
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "metadata": _OPEN | {"description": "Labels and annotations of the pod."},
                "spec": _OPEN | {"description": "Any part of a pod's spec."},
            },
        }
    ),
]


def own_name(namespace: str, name: str) -> str:
    """Return the model name by which only this endpoint's engines are asked; no name or alias can be spelled so."""
    return f"@{namespace}/{name}"


class InferenceEndpointSpec(Words):
    """What is served, where, for whom and for how much. Only `model.source` is required."""

    model: Model
    """The weights and the names they are served under."""
    engine: Engine = Field(default_factory=Engine)
    """The server that runs the model."""
    placement: Placement = Field(default_factory=Placement)
    """On which GPUs, where, and for how much the endpoint may run."""
    scaling: Scaling = Field(default_factory=Scaling)
    """How many replicas, and how long an idle one is kept."""
    prewarm: Prewarm = Field(default_factory=Prewarm)
    """What is put on nodes before anybody asks, so that waking is quick."""
    access: Access = Field(default_factory=Access)
    """Who may ask."""
    queue: Queue = Field(default_factory=Queue)
    """How long requests wait at the gateway, and how many."""
    cost: Cost | None = None
    """What the endpoint may cost, and what it is compared with."""
    template: PodTemplate = Field(default_factory=_Parts)
    """Part of a pod template (`metadata`, `spec`) that is merged into the engine's pod last: tolerations,
    volumes, a service account and so on. Lists with names merge by name, as in kubectl."""


class InferenceEndpoint(SeenWords):
    """An OpenAI-compatible endpoint that costs nothing while nobody asks.

    torpor runs it as a GPU Deployment, holds requests while the engine wakes, and puts the GPU back when nobody asks.
    """

    rules = (
        Rule(
            "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"
            " && size(self.metadata.name) <= 63",
            "metadata.name must be at most 63 characters: lower-case letters, digits and hyphens (the"
            " Deployment and its pods carry the same name)",
        ),
        Rule(
            "has(self.spec.model.name) || !has(self.spec.model.aliases)"
            " || !(self.metadata.name in self.spec.model.aliases)",
            "spec.model.aliases must not repeat the endpoint's name, which is the model's name by default",
        ),
    )

    api_version: Literal["torpor.dev/v1alpha1"] = "torpor.dev/v1alpha1"
    kind: Literal["InferenceEndpoint"] = "InferenceEndpoint"
    metadata: ObjectMeta
    spec: InferenceEndpointSpec
    """What is wanted."""
    status: EndpointStatus = Field(default_factory=EndpointStatus)
    """What is. Written by the controller only."""

    @property
    def key(self) -> str:
        """Give `namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def model_name(self) -> str:
        """Give what clients send as `model`, default applied."""
        return self.spec.model.name or self.metadata.name

    @property
    def served_names(self) -> tuple[str, ...]:
        """Give the model's name and its aliases, the name first."""
        return (self.model_name, *self.spec.model.aliases)

    @property
    def own_name(self) -> str:
        """Give the model name by which only this endpoint's engines are asked."""
        return own_name(self.metadata.namespace or "", self.metadata.name)

    @property
    def engine_names(self) -> tuple[str, ...]:
        """Give the names that the engine serves the model by: those of clients, and the endpoint's own."""
        return (*self.served_names, self.own_name)

    @property
    def asked_names(self) -> tuple[str, ...]:
        """Give every name that a request to the engine may carry: those of the model, then those of its adapters."""
        return (*self.engine_names, *(adapter.name for adapter in self.spec.model.adapters))
