"""Write the status: one patch per pass, only when something changed, and Events for what people should notice."""

from __future__ import annotations

import logging
from typing import Any

from torpor import clock
from torpor.api.conditions import Condition, ConditionType, Reason
from torpor.api.quantities import format_timestamp
from torpor.api.status import EndpointStatus
from torpor.cluster.objects import Objects
from torpor.errors import TorporError
from torpor.manifests import names

Json = dict[str, Any]
log = logging.getLogger(__name__)

_MOVING = ("cost", "keepAlive", "tokens")
"""Parts of the status that move by themselves while an endpoint is awake; written at a slower, regular pace."""
_WARN = frozenset({"False"})
_ARRIVING = ("percent", "bytes", "bytesPerSecond", "secondsLeft")
"""Figures of a download, which move by themselves as well."""
_TOLD_SLOWLY = frozenset({Reason.WEIGHTS_FETCHING.value, Reason.WARMING_UP.value})
"""Conditions whose message repeats those figures."""


def moves(status: Json) -> bool:
    """Whether figures of this status change by themselves: something runs, or is being downloaded."""
    if status.get("replicas") or (status.get("cost") or {}).get("live"):
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
    """The facts of the meter: pods that came or went, first readiness, ends, the rate; not what time alone adds."""
    cost = status.get("cost") or {}
    facts = ("uid", "startMs", "firstReadyMs", "deletedMs", "finishedMs")
    return {
        "live": [{fact: pod.get(fact) for fact in facts} for pod in cost.get("live") or ()],
        "rows": [row.get("priceId") for row in cost.get("rows") or ()],
        "rate": cost.get("perHour"),
        "closed": [pod.get("uid") for pod in cost.get("closed") or ()],
    }


async def post_events(
    objects: Objects, endpoint: Json, before: EndpointStatus, after: EndpointStatus, who: str
) -> None:
    """Post an Event for each condition among Ready and Awake whose reason changed."""
    for kind in (ConditionType.READY, ConditionType.AWAKE):
        old, new = before.condition(kind.value), after.condition(kind.value)
        if new is None or not _notable(old, new):
            continue
        if (
            new.known_reason is Reason.CAN_ANSWER
            and old is not None
            and old.known_reason is Reason.CHECKING_WEIGHTS
        ):
            new = new.model_copy(update={"message": "weights checked; the endpoint will answer"})
        try:
            await objects.create(_event(endpoint, kind, new, who), names.FIELD_MANAGER)
        except TorporError as error:
            # A namespace that is going away takes no Events; the status says it all.
            log.info("no Event for %s: %s", endpoint["metadata"]["name"], error.message)


def _notable(old: Condition | None, new: Condition) -> bool:
    """Whether people should hear of it: Serving and KeepingWarm take turns with every lull."""
    if old is None or old.status != new.status:
        return True
    quiet = {Reason.SERVING.value, Reason.KEEPING_WARM.value}
    return old.reason != new.reason and not {old.reason, new.reason} <= quiet


def _event(endpoint: Json, kind: ConditionType, condition: Condition, who: str) -> Json:
    metadata = endpoint["metadata"]
    now = clock.now()
    mark = names.digest(metadata["uid"], condition.reason, now.isoformat(), length=16)
    bad = kind is ConditionType.READY and condition.status in _WARN
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{mark}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.ENDPOINT_KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": "Warning" if bad else "Normal",
        "reason": condition.reason,
        "message": condition.message or condition.reason,
        "source": {"component": "torpor"},
        "reportingComponent": "torpor.dev/controller",
        "reportingInstance": who,
        "firstTimestamp": format_timestamp(now),
        "lastTimestamp": format_timestamp(now),
        "count": 1,
    }
