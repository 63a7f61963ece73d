"""Events: what people should notice of an endpoint, posted once when it happens."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torpor import clock
from torpor.api.conditions import Condition, ConditionType, Reason
from torpor.api.quantities import format_timestamp
from torpor.api.status import EndpointStatus, WeightsNode
from torpor.cluster.objects import Objects
from torpor.domain.egresswords import said_ahead
from torpor.errors import TorporError
from torpor.manifests import names

Json = dict[str, Any]
log = logging.getLogger(__name__)


class News(NamedTuple):
    """One Event to be."""

    reason: str
    message: str
    warns: bool = False


async def post_events(
    objects: Objects, endpoint: Json, before: EndpointStatus, after: EndpointStatus, who: str
) -> None:
    """Post an Event for each condition among Ready and Awake whose reason changed, for money, and for weights."""
    news = (
        *_of_conditions(before, after),
        *_of_money(before, after),
        *_of_weights(before, after),
    )
    await post(objects, endpoint, news, who)


async def post(objects: Objects, endpoint: Json, news: Iterable[News], who: str) -> None:
    """Post *news* about an endpoint as Events in its namespace, which takes them also when the endpoint is gone."""
    for one in news:
        try:
            await objects.create(_event(endpoint, one, who), names.FIELD_MANAGER)
        except TorporError as error:
            # A namespace that is going away takes no Events; the status says it all.
            log.info("no Event for %s: %s", endpoint["metadata"]["name"], error.message)


def _of_conditions(before: EndpointStatus, after: EndpointStatus) -> Iterator[News]:
    for kind in (ConditionType.READY, ConditionType.AWAKE):
        old, new = before.condition(kind.value), after.condition(kind.value)
        if new is None or not _notable(old, new):
            continue
        message = new.message or new.reason
        if (
            new.known_reason is Reason.CAN_ANSWER
            and old is not None
            and old.known_reason is Reason.CHECKING_WEIGHTS
        ):
            message = "weights checked; the endpoint will answer"
        bad = kind is ConditionType.READY and new.status == "False"
        yield News(new.reason, message, bad)


def _of_money(before: EndpointStatus, after: EndpointStatus) -> Iterator[News]:
    """Half, most and all of a budget spent, and another month; and who is cheaper, where that turns."""
    for kind, quiet, loud in (
        (
            ConditionType.WITHIN_BUDGET,
            Reason.WITHIN_BUDGET,
            {Reason.BUDGET_NEARLY_SPENT, Reason.OVER_BUDGET},
        ),
        (ConditionType.CHEAPER_THAN_OFFER, Reason.NOTHING_TO_COMPARE, {Reason.OFFER_CHEAPER}),
    ):
        old, new = before.condition(kind.value), after.condition(kind.value)
        if new is None or (old.reason if old else quiet.value) == new.reason:
            continue
        yield News(new.reason, new.message, new.known_reason in loud)


def _of_weights(before: EndpointStatus, after: EndpointStatus) -> Iterator[News]:
    """The start, the end and the failure of each node's download."""
    states = {node.name: node.state for node in before.weights.nodes}
    if before.weights.hash != after.weights.hash:
        states = {}
    for node in after.weights.nodes:
        if states.get(node.name) != node.state:
            yield from _of_node(node, after)


def _of_node(node: WeightsNode, after: EndpointStatus) -> Iterator[News]:
    size = f"{(after.weights.bytes or 0) / 1e9:.2f} GB"
    match node.state:
        case "Fetching":
            said = f"{node.name} downloads {size} of weights"
            moving = said_ahead(after.cost)
            yield News(Reason.WEIGHTS_FETCHING, f"{said}; {moving}" if moving else said)
        case "Ready":
            proof = f", verified by {node.verified}" if node.verified else ""
            yield News(Reason.WEIGHTS_ON_NODES, f"{node.name} has {size} of weights{proof}")
        case "Failed":
            found = after.condition(ConditionType.WEIGHTS_READY.value)
            told = found is not None and found.known_reason is not Reason.WEIGHTS_FETCHING
            reason = found.reason if found is not None and told else Reason.WEIGHTS_INTERNAL
            yield News(reason, f"{node.name}: {node.message or 'the download failed'}", warns=True)
        case _:
            return


def _notable(old: Condition | None, new: Condition) -> bool:
    """Whether people should hear of it: Serving and KeepingWarm take turns with every lull."""
    if old is None or old.status != new.status:
        return True
    quiet = {Reason.SERVING.value, Reason.KEEPING_WARM.value}
    return old.reason != new.reason and not {old.reason, new.reason} <= quiet


def _event(endpoint: Json, news: News, who: str) -> Json:
    metadata = endpoint["metadata"]
    now = clock.now()
    mark = names.digest(metadata["uid"], news.reason, news.message, now.isoformat(), length=16)
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
        "type": "Warning" if news.warns else "Normal",
        "reason": news.reason,
        "message": news.message[:1024],
        "source": {"component": "torpor"},
        "reportingComponent": "torpor.dev/controller",
        "reportingInstance": who,
        "firstTimestamp": format_timestamp(now),
        "lastTimestamp": format_timestamp(now),
        "count": 1,
    }
