"""The status of an InferenceEndpoint; everything is imported from here."""

from torpor.api.status.cost import (
    ClosedPod,
    CostStatus,
    GpuMs,
    LedgerRow,
    LivePod,
    LivePrice,
    PhaseCosts,
    SettledCost,
    SettledRows,
    TokenSource,
    TokensStatus,
)
from torpor.api.status.endpoint import EndpointStatus
from torpor.api.status.parts import (
    Display,
    FailureStatus,
    KeepAliveStatus,
    PlacementStatus,
    Rejected,
    Wake,
    WakesStatus,
    WeightsNode,
    WeightsStatus,
)

__all__ = [
    "ClosedPod",
    "CostStatus",
    "Display",
    "EndpointStatus",
    "FailureStatus",
    "GpuMs",
    "KeepAliveStatus",
    "LedgerRow",
    "LivePod",
    "LivePrice",
    "PhaseCosts",
    "PlacementStatus",
    "Rejected",
    "SettledCost",
    "SettledRows",
    "TokenSource",
    "TokensStatus",
    "Wake",
    "WakesStatus",
    "WeightsNode",
    "WeightsStatus",
]
