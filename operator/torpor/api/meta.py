"""The part of every Kubernetes object that torpor reads but does not define."""

from pydantic import Field

from torpor.api.quantities import Timestamp
from torpor.api.words import SeenWords

GROUP = "torpor.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ObjectMeta(SeenWords):
    """Name, owner and age of an object; everything else of `metadata` is ignored."""

    name: str
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
