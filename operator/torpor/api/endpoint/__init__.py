"""InferenceEndpoint: one file per part of the spec; everything is imported from here."""

from torpor.api.endpoint.cost import Budget, BudgetAction, Cost, Offer
from torpor.api.endpoint.door import Access, Key, Queue
from torpor.api.endpoint.engine import Engine, EngineKind, EnvSource, EnvVar, FieldRef, KeyRef
from torpor.api.endpoint.kind import InferenceEndpoint, InferenceEndpointSpec, own_name
from torpor.api.endpoint.model import (
    S3,
    Adapter,
    CaKind,
    CaRef,
    Draft,
    DraftMethod,
    Hub,
    Model,
    SecretRef,
    TokenRef,
)
from torpor.api.endpoint.placement import Placement, Residency
from torpor.api.endpoint.prewarm import Cache, CacheKind, CompileCache, Prewarm
from torpor.api.endpoint.scaling import (
    KeepAlive,
    KeepAlivePolicy,
    Profile,
    Rollout,
    Routing,
    Scaling,
    Schedule,
)
from torpor.api.endpoint.source import ClaimSource, S3Source, normal, parse_claim, parse_s3

__all__ = [
    "S3",
    "Access",
    "Adapter",
    "Budget",
    "BudgetAction",
    "CaKind",
    "CaRef",
    "Cache",
    "CacheKind",
    "ClaimSource",
    "CompileCache",
    "Cost",
    "Draft",
    "DraftMethod",
    "Engine",
    "EngineKind",
    "EnvSource",
    "EnvVar",
    "FieldRef",
    "Hub",
    "InferenceEndpoint",
    "InferenceEndpointSpec",
    "KeepAlive",
    "KeepAlivePolicy",
    "Key",
    "KeyRef",
    "Model",
    "Offer",
    "Placement",
    "Prewarm",
    "Profile",
    "Queue",
    "Residency",
    "Rollout",
    "Routing",
    "S3Source",
    "Scaling",
    "Schedule",
    "SecretRef",
    "TokenRef",
    "normal",
    "own_name",
    "parse_claim",
    "parse_s3",
]
