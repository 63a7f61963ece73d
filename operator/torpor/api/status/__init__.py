"""The status of an InferenceEndpoint; everything is imported from here."""

from torpor.api.status.cost import (
    CostStatus,
    CostWindow,
    PhaseCosts,
    TokenPrices,
    TokenSource,
    TokensStatus,
)
from torpor.api.status.egress import (
    CountedDownload,
    EgressExpected,
    EgressRow,
    EgressStatus,
)
from torpor.api.status.endpoint import EndpointStatus
from torpor.api.status.ledger import (
    ClosedPod,
    GpuMs,
    LedgerRow,
    LiveNode,
    LivePod,
    LivePrice,
    Mark,
    NodePrice,
    NodeTenant,
    SettledCost,
    SettledRows,
)
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
from torpor.api.status.spending import BudgetStatus, ComparisonStatus

__all__ = [
    "BudgetStatus",
    "ClosedPod",
    "ComparisonStatus",
    "CostStatus",
    "CostWindow",
    "CountedDownload",
    "Display",
    "EgressExpected",
    "EgressRow",
    "EgressStatus",
    "EndpointStatus",
    "FailureStatus",
    "GpuMs",
    "KeepAliveStatus",
    "LedgerRow",
    "LiveNode",
    "LivePod",
    "LivePrice",
    "Mark",
    "NodePrice",
    "NodeTenant",
    "PhaseCosts",
    "PlacementStatus",
    "Rejected",
    "SettledCost",
    "SettledRows",
    "TokenPrices",
    "TokenSource",
    "TokensStatus",
    "Wake",
    "WakesStatus",
    "WeightsNode",
    "WeightsStatus",
]
