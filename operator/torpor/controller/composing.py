"""Put together what the user will read of what a pass saw (`Picture`): the `EndpointStatus`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from torpor.api.conditions import ConditionStatus, ConditionType, Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.faults import first_fault
from torpor.api.status import EndpointStatus, KeepAliveStatus
from torpor.controller.account import draw_account
from torpor.controller.arrivals import claim_of, weights_status
from torpor.controller.habits import kept_now
from torpor.controller.picture import Picture
from torpor.domain import egress
from torpor.domain.costing import unpriced
from torpor.domain.egresswords import said_ahead
from torpor.domain.figures import display_words, placement_words
from torpor.domain.observation import combined
from torpor.domain.remembering import failure_words, memory_words, moment
from torpor.domain.scalingview import Decision, idle_since
from torpor.domain.status import Outcome, conditions, kept
from torpor.domain.waking import count_wakes
from torpor.manifests.direct import service_url
from torpor.manifests.setting import Installation
from torpor.manifests.workload import pod_selector

Json = dict[str, Any]


def compose_status(
    endpoint: InferenceEndpoint,
    picture: Picture,
    decision: Decision,
    installation: Installation,
    now: datetime,
) -> EndpointStatus:
    """Return the whole status as of *now*."""
    before, spec = endpoint.status, endpoint.spec
    pods = combined(picture.pods, picture.demand)
    living = tuple(pod for pod in picture.pods if pod.gone_ms is None)
    account = draw_account(endpoint, picture, now)
    outcome = Outcome(
        decision=decision,
        placement=picture.placement,
        plan=picture.plan,
        pods=picture.pods,
        fault=picture.fault,
        failure=picture.failure,
        suspended=spec.scaling.suspend,
        held_back=picture.held_back,
        deployed=picture.workload.exists,
        loading=picture.loading,
        claim=claim_of(endpoint),
        unpriced=unpriced(account.meter),
        standing=account.standing,
        comparison=account.comparison,
        moving=said_ahead(account.cost),
        unpriced_regions=egress.unpriced(account.meter.egress.routes),
    )
    return EndpointStatus(
        observed_generation=endpoint.metadata.generation,
        conditions=conditions(outcome, before.conditions, endpoint.metadata.generation, now),
        replicas=len([pod for pod in living if pod.deleted_ms is None]),
        ready_replicas=sum(pod.ready for pod in living),
        selector=pod_selector(endpoint.metadata.name),
        url=_url(endpoint, picture, installation),
        access=_access_words(endpoint),
        direct=picture.direct,
        display=display_words(
            picture.placement,
            picture.pods,
            spec.scaling.max_replicas,
            endpoint.model_name,
            account.cost,
        ),
        placement=placement_words(picture.placement),
        weights=weights_status(
            endpoint, picture.plan, picture.pulls, picture.loading, installation, picture.now_ms
        ),
        wakes=count_wakes(before.wakes, picture.demand, pods, picture.now_ms),
        keep_alive=_keep_alive_words(endpoint, picture, decision),
        cost=account.cost,
        tokens=account.tokens,
        failure=failure_words(picture.failure),
    )


def invalid_status(obj: Json, error: ValidationError, now: datetime) -> EndpointStatus:
    """Return the status of an endpoint whose stored spec this version cannot read; its meter is kept."""
    before = EndpointStatus.model_validate(obj.get("status") or {})
    generation = int(obj["metadata"].get("generation") or 0)
    message = f"{first_fault(error)}; correct it and apply again"
    kinds: tuple[tuple[ConditionType, ConditionStatus], ...] = (
        (ConditionType.READY, "False"),
        (ConditionType.STALLED, "True"),
    )
    found = tuple(
        kept(
            before.condition(kind.value),
            kind,
            status,
            Reason.INVALID_SPEC,
            message,
            generation,
            now,
        )
        for kind, status in kinds
    )
    return before.model_copy(update={"conditions": found, "observed_generation": generation})


def _url(endpoint: InferenceEndpoint, picture: Picture, installation: Installation) -> str | None:
    """The endpoint's own Service once it leads anywhere; until then, and without one, the gateways'."""
    if picture.direct is not None and picture.way.is_open:
        return service_url(endpoint)
    return installation.gateway_url or None


def _access_words(endpoint: InferenceEndpoint) -> str:
    """Say who may ask; without keys in words that are noticed before somebody leads a load balancer there."""
    access = endpoint.spec.access
    if access.keys:
        count = "1 key" if len(access.keys) == 1 else f"{len(access.keys)} keys"
        return f"{count}: {', '.join(key.name for key in access.keys)}"
    door = "its own Service" if access.direct else "the gateway"
    return f"no keys: whoever reaches {door} may ask, so lead there from inside the cluster only"


def _keep_alive_words(
    endpoint: InferenceEndpoint, picture: Picture, decision: Decision
) -> KeepAliveStatus:
    kept, now_ms = kept_now(endpoint, picture), picture.now_ms
    activity = [
        ms for ms in (idle_since(picture.view()), picture.last_activity_ms) if ms is not None
    ]
    ahead = kept.ahead_ms if decision.replicas is None and not picture.workload.replicas else None
    return KeepAliveStatus(
        seconds=None if kept.ms is None else kept.ms // 1000,
        why=kept.why,
        deadline=moment(decision.deadline_ms) if decision.deadline_ms is not None else None,
        ahead=moment(ahead[0]) if ahead and ahead[0] > now_ms else None,
        last_activity=moment(max(activity)) if activity else None,
        **memory_words(picture.memory),
    )
