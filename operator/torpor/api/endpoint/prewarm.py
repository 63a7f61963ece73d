"""`spec.prewarm`: what is put on nodes before anybody asks."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from torpor.api.bounds import MoreThanZero
from torpor.api.endpoint.model import ObjectName
from torpor.api.quantities import Bytes
from torpor.api.words import Rule, Words, in_code, rules_of

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


class CompileCache(StrEnum):
    """Where what the engine compiles is kept."""

    NODE = "node"
    S3 = "s3"
    NONE = "none"


class Cache(Words):
    """Where weights are kept on a node."""

    rules = (
        Rule(
            "(has(self.kind) && self.kind == 'pvc') == has(self.claim)",
            "claim names the PersistentVolumeClaim of kind pvc, and belongs to that kind alone",
            field=".claim",
        ),
    )

    kind: CacheKind = CacheKind.HOST_PATH
    """What holds the weights: hostPath, a folder of the node that all its endpoints share; pvc, a claim of the
    endpoint's namespace; ephemeral, the engine's pod itself, which then fetches at every start."""
    claim: ObjectName | None = None
    """The PersistentVolumeClaim that holds the weights, for kind pvc. One that many nodes may mount
    (ReadWriteMany) is filled once for all of them; with ReadWriteOnce the endpoint runs where it is mounted."""
    budget: Annotated[Bytes, MoreThanZero()] | None = None
    """Most bytes that the cache may hold on one node, such as 500Gi. What has not been used for longest makes room;
    weights that would still not fit are refused before the first byte is fetched. Default: what the disk has free."""


class Prewarm(Words):
    """What is put on nodes before anybody asks, so that waking is quick."""

    nodes: PrewarmNodes = "all"
    """Nodes that get the weights: all that the placement allows, none (each fetches when it is first
    used), or a number of them."""
    pin: bool | None = None
    """Never evict these weights from the cache to make room for others. Default: false."""
    image: bool = Field(default=True, json_schema_extra=in_code())
    """Pull the engine's image on the same nodes. Default: true."""
    compile_cache: CompileCache = Field(default=CompileCache.NODE, json_schema_extra=in_code())
    """Keep what the engine compiles, so that the next start need not compile again: on the node (the first replica
    that is ready gives it), in the bucket beside the weights as well (s3), or not at all (none). Default: node."""
    cache: Cache = Field(default_factory=Cache)
    """Where weights are kept on a node."""
