"""What of a status is worth a write: one patch per pass, only when something changed."""

from __future__ import annotations

from typing import Any

from torpor.api.conditions import Reason

Json = dict[str, Any]

_MOVING = ("cost", "keepAlive", "tokens")
"""Parts of the status that move by themselves while an endpoint is awake; written at a slower, regular pace."""
_ARRIVING = ("percent", "bytes", "bytesPerSecond", "secondsLeft")
"""Figures of a download, which move by themselves as well."""
_TOLD_SLOWLY = frozenset(
    reason.value
    for reason in (
        Reason.WEIGHTS_FETCHING,
        Reason.WARMING_UP,
        Reason.OVER_BUDGET,
        Reason.OFFER_CHEAPER,
    )
)
"""Conditions whose message repeats those figures, or sums of money."""


def moves(status: Json) -> bool:
    """Whether figures of this status change by themselves: something runs, or is being downloaded."""
    cost = status.get("cost") or {}
    standing = any(not node.get("removedMs") for node in cost.get("nodes") or ())
    if status.get("replicas") or cost.get("live") or standing:
        return True
    nodes = (status.get("weights") or {}).get("nodes") or ()
    return any(node.get("state") == "Fetching" for node in nodes)


def patch_between(before: Json, after: Json) -> Json:
    """Return the merge patch that turns *before* into *after*: null for what is to be removed."""
    patch: Json = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            patch[key] = patch_between(old, new)
        else:
            patch[key] = new
    return patch


def matters(before: Json, after: Json) -> bool:
    """Whether the change is worth a write now: anything but figures that move by themselves with time."""
    if _still(before) != _still(after):
        return True
    return _edges(before) != _edges(after)


def _still(status: Json) -> Json:
    rest = {key: value for key, value in status.items() if key not in _MOVING}
    weights = dict(status.get("weights") or {})
    weights["nodes"] = [
        {key: value for key, value in node.items() if key not in _ARRIVING}
        for node in weights.get("nodes") or ()
    ]
    conditions = [_settled(c) for c in status.get("conditions") or ()]
    return rest | {"conditions": conditions, "weights": weights}


def _settled(condition: Json) -> Json:
    """A condition without what changes with every request: a steady client must not cause a write a request."""
    calm = {key: value for key, value in condition.items() if key != "lastTransitionTime"}
    if condition.get("status") == "True" or condition.get("reason") in _TOLD_SLOWLY:
        calm.pop("message", None)
    if condition.get("reason") == Reason.KEEPING_WARM.value:
        calm["reason"] = Reason.SERVING.value
    return calm


def _edges(status: Json) -> Json:
    """The facts of the meter: pods that came or went, first readiness, ends, the rate, downloads; no mere time."""
    cost = status.get("cost") or {}
    facts = ("uid", "startMs", "firstReadyMs", "deletedMs", "finishedMs")
    return {
        "live": [{fact: pod.get(fact) for fact in facts} for pod in cost.get("live") or ()],
        "rows": [row.get("priceId") for row in cost.get("rows") or ()],
        "rate": cost.get("perHour"),
        "closed": [pod.get("uid") for pod in cost.get("closed") or ()],
        "moved": cost.get("egress"),
        "nodes": cost.get("nodes"),
    }
