"""Put together what a pass saw (`Picture`) and what the user will read of it (`EndpointStatus`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from torpor.api.conditions import ConditionStatus, ConditionType, Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import EndpointStatus, KeepAliveStatus, TokensStatus
from torpor.controller.arrivals import claim_of, weights_status
from torpor.domain.bookkeeping import meter_of, windows_of
from torpor.domain.catalogue import Catalogue, tariff_of
from torpor.domain.costfigures import read_meter
from torpor.domain.failing import Failure
from torpor.domain.figures import cost_words, display_words, placement_words
from torpor.domain.ledger import Meter, unpriced
from torpor.domain.metering import booked, noted, stay_on
from torpor.domain.observation import Demand, Fault, PodSeen, Workload, combined
from torpor.domain.placement import GPUClassView, NodeView, Placement
from torpor.domain.prewarmjobs import Progress, WeightsPlan
from torpor.domain.pulling import NO_PULLS, Pulls
from torpor.domain.remembering import epoch_ms, failure_words, moment, tokens_counted
from torpor.domain.scaling import Decision, ScalingView, idle_since
from torpor.domain.status import Outcome, conditions, kept
from torpor.domain.waking import count_wakes
from torpor.domain.windows import Windows
from torpor.domain.windows import kept as windows_kept
from torpor.manifests.setting import Installation
from torpor.manifests.workload import pod_selector

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that one pass looks at, judged as far as it does not depend on the number of replicas."""

    placement: Placement
    plan: WeightsPlan
    pods: tuple[PodSeen, ...]
    failure: Failure | None
    engine_fault: Fault | None
    demand: Demand
    workload: Workload
    classes: tuple[GPUClassView, ...]
    nodes: tuple[NodeView, ...]
    now_ms: int
    last_activity_ms: int | None
    refused: Fault | None = None
    """What the API server refused, or a name that is not ours."""
    stalls_ms: int | None = None
    """When a prewarm Job that has not started will count as failed."""
    held_back: bool = False
    """A change of the spec waits until the endpoint is idle."""
    pulls: Pulls = NO_PULLS
    """Which nodes have the engine's image, and which still pull it."""
    loading: Mapping[str, Progress] = field(default_factory=dict[str, Progress])
    """How far engines' pods are that fetch for themselves, by node."""

    @property
    def fault(self) -> Fault | None:
        """The first reason why nothing can work now, the most fundamental first."""
        return (
            self.refused
            or self.plan.fault
            or self.placement.fault
            or self._pods_refused()
            or self.engine_fault
        )

    def _pods_refused(self) -> Fault | None:
        """The Deployment's pods are not let in; that holds no GPU, and heals by an event of the Deployment."""
        said = self.workload.pods_refused
        if not said or not self.workload.replicas or any(pod.gone_ms is None for pod in self.pods):
            return None
        return Fault(Reason.DEPLOYMENT_REFUSED, f"no pod of it may be created: {said}")

    @property
    def retry_at_ms(self) -> int | None:
        """When a failed wake may be tried again."""
        return self.failure.retry_at_ms if self.failure and self.engine_fault else None

    def view(self) -> ScalingView:
        """Return what scaling looks at."""
        return ScalingView(self.workload, self.pods, self.demand, self.fault, self.last_activity_ms)


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
    tokens = tokens_counted(before.tokens, picture.demand)
    since = before.cost.since or endpoint.metadata.creation_timestamp or now
    meter, windows = _metered(endpoint, picture, pods, tokens, since, now)
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
        unpriced=unpriced(meter),
    )
    chosen = picture.placement.gpu_class
    cost = cost_words(
        meter,
        windows,
        picture.demand,
        tokens,
        chosen.currency if chosen else before.cost.currency or "USD",
        since,
        now,
    )
    return EndpointStatus(
        observed_generation=endpoint.metadata.generation,
        conditions=conditions(outcome, before.conditions, endpoint.metadata.generation, now),
        replicas=len([pod for pod in living if pod.deleted_ms is None]),
        ready_replicas=sum(pod.ready for pod in living),
        selector=pod_selector(endpoint.metadata.name),
        url=installation.gateway_url or None,
        display=display_words(
            picture.placement, picture.pods, spec.scaling.max_replicas, endpoint.model_name, cost
        ),
        placement=placement_words(picture.placement),
        weights=weights_status(
            endpoint, picture.plan, picture.pulls, picture.loading, installation, picture.now_ms
        ),
        wakes=count_wakes(before.wakes, picture.demand, pods, picture.now_ms),
        keep_alive=_keep_alive_words(endpoint, picture, decision),
        cost=cost,
        tokens=tokens,
        failure=failure_words(picture.failure),
    )


def invalid_status(obj: Json, error: ValidationError, now: datetime) -> EndpointStatus:
    """Return the status of an endpoint whose stored spec this version cannot read; its meter is kept."""
    before = EndpointStatus.model_validate(obj.get("status") or {})
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    generation = int(obj["metadata"].get("generation") or 0)
    message = f"{where}: {first['msg']}; correct it and apply again"
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


def _metered(
    endpoint: InferenceEndpoint,
    picture: Picture,
    pods: tuple[PodSeen, ...],
    tokens: TokensStatus,
    since: datetime,
    now: datetime,
) -> tuple[Meter, Windows]:
    """Bring the meter and its windows up to date."""
    before, chosen, now_ms = endpoint.status, picture.placement.gpu_class, picture.now_ms
    tariffs = Catalogue(picture.classes, picture.nodes).tariff
    demand = picture.demand
    unbooked = noted(meter_of(before.cost), pods, tariffs, now_ms)
    windows = windows_kept(
        windows_of(before.cost),
        lambda at_ms: read_meter(unbooked, demand, tokens, at_ms),
        epoch_ms(since) or 0,
        epoch_ms(now) or now_ms,  # as `asOf` says it: an edge in between is read now or never
        epoch_ms(before.cost.as_of),
    )
    meter = booked(unbooked, pods, demand, now_ms)
    if chosen is None:
        return meter, windows
    if meter.always_on_ms is None:  # an endpoint that never sleeps would have run since it was made
        created = epoch_ms(endpoint.metadata.creation_timestamp)
        meter = replace(meter, always_on_ms=created)
    replicas = max(1, endpoint.spec.scaling.min_replicas)
    held = next((r.price for r in meter.rows if r.price.id == before.placement.price_id), None)
    gpus = picture.placement.gpus * replicas
    return stay_on(meter, tariff_of(chosen), gpus, now_ms, held), windows


def _keep_alive_words(
    endpoint: InferenceEndpoint, picture: Picture, decision: Decision
) -> KeepAliveStatus:
    after = int(endpoint.spec.scaling.keep_alive.after.total_seconds())
    activity = [
        ms for ms in (idle_since(picture.view()), picture.last_activity_ms) if ms is not None
    ]
    return KeepAliveStatus(
        seconds=after,
        why=f"fixed: {after} s after the last response, as spec.scaling.keepAlive says",
        deadline=moment(decision.deadline_ms) if decision.deadline_ms is not None else None,
        last_activity=moment(max(activity)) if activity else None,
    )
