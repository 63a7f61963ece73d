"""`spec.prewarm`: what is put on nodes before anybody asks."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from torpor.api.bounds import MoreThanZero
from torpor.api.quantities import Bytes
from torpor.api.words import Rule, Words, not_yet, rules_of

PrewarmNodes = Annotated[
    int | Literal["all", "none"],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules_of(
                Rule(
                    "type(self) == int ? (self >= 1 && self <= 1000) : self in ['all', 'none']",
                    "must be all, none or a number of nodes from 1 to 1000",
                )
            ),
        }
    ),
]


class CacheKind(StrEnum):
    """What holds the weights on a node."""

    HOST_PATH = "hostPath"
    PVC = "pvc"
    EPHEMERAL = "ephemeral"


class Cache(Words):
    """Where weights are kept on a node."""

    kind: Annotated[CacheKind, Field(json_schema_extra=not_yet("pvc", "ephemeral"))] = (
        CacheKind.HOST_PATH
    )
    """What holds the weights: hostPath, a folder of the node. (pvc and ephemeral are not supported yet.)"""
    budget: Annotated[Bytes, MoreThanZero()] | None = None
    """Most bytes that the cache may hold on one node, such as 500Gi. Weights that would not fit are refused
    before the first byte is fetched. Default: what the disk has free."""


class Prewarm(Words):
    """What is put on nodes before anybody asks, so that waking is quick."""

    nodes: PrewarmNodes = "all"
    """Nodes that get the weights: all that the placement allows, none (each fetches when it is first
    used), or a number of them."""
    pin: bool | None = Field(default=None, json_schema_extra=not_yet())
    """Never evict these weights from the cache."""
    image: bool | None = Field(default=None, json_schema_extra=not_yet())
    """Pull the engine's image on the same nodes."""
    compile_cache: bool | None = Field(default=None, json_schema_extra=not_yet())
    """Keep what the engine compiles, so that the next start need not compile again."""
    cache: Cache = Field(default_factory=Cache)
    """Where weights are kept on a node."""
