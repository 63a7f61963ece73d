"""One pass for one endpoint: observe → decide → apply → scale → status. Idempotent, whatever woke it up.

Decisions are made in `torpor.domain`; this module only carries values there and orders back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from torpor import clock
from torpor.api.conditions import Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import EndpointStatus
from torpor.cluster.objects import Conflict, Missing, Objects
from torpor.controller import observe, provisioning
from torpor.controller.account import standing_of
from torpor.controller.children import Children
from torpor.controller.composing import compose_status, invalid_status
from torpor.controller.counters import CounterPoller
from torpor.controller.demand import DemandPoller
from torpor.controller.doors import Doors
from torpor.controller.engines import Engines
from torpor.controller.habits import floor_now, memory_now, scaling_spec
from torpor.controller.labelling import label_nodes
from torpor.controller.lastwords import explained
from torpor.controller.loads import LoadPoller
from torpor.controller.marking import mark_pods
from torpor.controller.picture import Picture
from torpor.controller.progress import ProgressPoller
from torpor.controller.seen import Key, Seen
from torpor.controller.statuswriter import StatusWriter
from torpor.controller.tenancy import tenancies
from torpor.controller.wanting import children_wanted, held_back
from torpor.controller.yielding import contested
from torpor.domain import failing, prewarming
from torpor.domain.leading import held
from torpor.domain.leaving import SHORTEST_GRACE_SECONDS, with_nothing_to_finish
from torpor.domain.observation import Fault, Workload
from torpor.domain.placement import place
from torpor.domain.prewarmjobs import JobKind, NodeNeeds
from torpor.domain.remembering import epoch_ms, failure_of, weights_fault_of, weights_of
from torpor.domain.scaling import decide
from torpor.domain.scalingview import Decision, Needed
from torpor.domain.shrinking import need_of
from torpor.errors import Stalled
from torpor.manifests.prewarmjobs import Room
from torpor.manifests.setting import Installation
from torpor.manifests.weights import weights_digest

Json = dict[str, Any]
log = logging.getLogger(__name__)

REFUSED_MS = 30_000
"""How soon to try again what the API server refused, or whose name was taken: no event tells when that heals."""
CONTESTED_MS = 1_000
"""How soon to look again while somebody waits for such a GPU as this endpoint holds: who gives one may change."""
SAID_FIRST = frozenset({Reason.FAILED, Reason.SUSPENDED})
"""Taken down while requests may wait: the status says why before `replicas` is 0, or a gateway would wake it again."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pass works with."""

    seen: Seen
    demand: DemandPoller
    engines: Engines
    objects: Objects
    children: Children
    installation: Installation
    statuses: StatusWriter
    progress: ProgressPoller
    loads: LoadPoller
    counters: CounterPoller
    doors: Doors


class Reconciler:
    """Runs passes; keeps nothing between them but the tools, and when replicas beyond the first were last needed."""

    def __init__(self, tools: Tools) -> None:
        """Work with *tools*."""
        self._t = tools
        self._needed: dict[Key, Needed] = {}

    async def run(self, key: Key) -> int | None:
        """Run one pass and return when to look again without any event (epoch ms), None if only events matter."""
        obj = self._t.seen.endpoints.get(key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return None
        try:
            endpoint = InferenceEndpoint.model_validate(obj)
        except ValidationError as error:
            before = EndpointStatus.model_validate(obj.get("status") or {})
            await self._t.statuses.write(obj, before, invalid_status(obj, error, clock.now()))
            return None
        now_ms = clock.now_ms()
        picture = await self._look(key, endpoint, now_ms)
        picture = await self._settle(key, endpoint, picture)
        standing = standing_of(endpoint, picture, clock.now())
        picture = contested(self._t.seen, self._t.demand.demand, key, endpoint, picture)
        picture = replace(picture, standing=standing)
        decision, picture = self._decided(key, endpoint, picture, now_ms)
        if decision.reason in SAID_FIRST and decision.replicas not in (
            None,
            picture.workload.replicas,
        ):
            said_first = self._compose(endpoint, picture, decision)
            await self._t.statuses.write_now(obj, endpoint.status, said_first)
            await self._scale(key, endpoint, picture, decision)
            return clock.now_ms() + 100
        turn_ms, picture = await self._t.doors.lead(key, endpoint, picture, decision)
        decision, picture = await self._scale(key, endpoint, picture, decision)
        await mark_pods(self._t.objects, key, scaling_spec(endpoint, picture), picture)
        await label_nodes(self._t.seen, self._t.objects, picture.plan)
        for pod in with_nothing_to_finish(picture.pods, picture.demand):
            await self._t.objects.hurry_pod(key[0], pod.name, pod.uid, SHORTEST_GRACE_SECONDS)
        status = self._compose(endpoint, picture, decision)
        asleep = not picture.workload.replicas
        said = await self._t.statuses.write(obj, endpoint.status, status, wait=asleep)
        if picture.jobs_kept is not None and said.stored:
            await self._t.children.clear_jobs(key, picture.jobs_kept)
        refused = clock.now_ms() + REFUSED_MS if picture.refused else None
        times = (
            decision.look_again_ms,
            picture.plan.look_again_ms,
            picture.pulls.look_again_ms,
            picture.retry_at_ms,
            picture.stalls_ms,
            refused,
            standing.resets_ms if standing else None,
            floor_now(endpoint, now_ms).until_ms,
            said.due_ms,
            turn_ms,
            clock.now_ms() + CONTESTED_MS if picture.contested else None,
        )
        return min((at for at in times if at is not None), default=None)

    def _compose(
        self, endpoint: InferenceEndpoint, picture: Picture, decision: Decision
    ) -> EndpointStatus:
        return compose_status(endpoint, picture, decision, self._t.installation, clock.now())

    async def _look(self, key: Key, endpoint: InferenceEndpoint, now_ms: int) -> Picture:
        """Gather and judge everything that the number of replicas does not depend on."""
        seen, spec = self._t.seen, observe.placement_spec(endpoint)
        generation, failed = endpoint.metadata.generation, failure_of(endpoint.status.failure)
        pods = await explained(
            self._t.objects, key, seen.engine_pods(key, now_ms), failed.pod if failed else ""
        )
        failure = failing.assess(failed, pods, generation, now_ms)
        known, digest = weights_of(endpoint.status.weights), weights_digest(endpoint)
        if failure is not None and failure != failed:
            known = prewarming.after_failed_wake(known, failure.reason)
        jobs = provisioning.seen_jobs(seen, self._t.progress, endpoint, key, now_ms)
        listed = prewarming.plan(digest, known, jobs, NodeNeeds(), now_ms).weights
        classes, unread = observe.class_views(seen.classes.values(), now_ms)
        nodes = [observe.node_view(obj, now_ms) for obj in seen.nodes.values()]
        placement = place(spec, classes, nodes, listed.bytes)
        placement = replace(placement, rejected=(*placement.rejected, *unread))
        needs = provisioning.node_needs(seen, endpoint, placement, pods, listed.hash, jobs, now_ms)
        install = self._t.installation
        plan = prewarming.plan(digest, known, jobs, needs, now_ms, install.recheck_ms)
        plan = prewarming.still_wrong(plan, weights_fault_of(endpoint.status.conditions))
        demand = self._t.demand.demand(key)
        return Picture(
            placement=placement,
            plan=plan,
            pulls=provisioning.pulls(seen, endpoint, plan.nodes_wanted, jobs, install, now_ms),
            loading=provisioning.loading(pods, self._t.progress.heard),
            pods=pods,
            failure=failure,
            stalls_ms=min((j.stalls_ms for j in jobs if j.stalls_ms is not None), default=None),
            engine_fault=failing.fault_of(failure, now_ms),
            demand=demand,
            engines=self._t.loads.asking(key),
            memory=memory_now(endpoint, demand, pods),
            workload=self._workload(key),
            tenancies=tenancies(seen, key, endpoint, classes, nodes, now_ms),
            classes=tuple(classes),
            nodes=tuple(nodes),
            now_ms=now_ms,
            last_activity_ms=epoch_ms(endpoint.status.keep_alive.last_activity),
        )

    def _decided(
        self, key: Key, endpoint: InferenceEndpoint, picture: Picture, now_ms: int
    ) -> tuple[Decision, Picture]:
        """Decide, and note how many replicas are needed now; a controller that has just started begins to count."""
        spec, replicas = scaling_spec(endpoint, picture), picture.workload.replicas
        known, need = self._needed.get(key, Needed()), need_of(spec, picture.view())
        picture = replace(picture, needed=known.seen(need, replicas, clock.now_ms()))
        if replicas > 1:
            self._needed[key] = picture.needed
        else:
            self._needed.pop(key, None)
        return decide(spec, picture.view(), now_ms), picture

    def _workload(self, key: Key) -> Workload:
        return observe.workload_of(self._t.seen.deployments.get(key))

    def _rooms(self, endpoint: InferenceEndpoint, picture: Picture) -> dict[str, Room]:
        """What each fetch that is wanted may do to make room; asked for only while there is one."""
        nodes = {job.node for job in picture.plan.jobs if job.kind is JobKind.FETCH}
        alive = any(pod.gone_ms is None for pod in picture.pods)
        return {
            node: provisioning.room_on(
                self._t.seen, endpoint, picture.placement, node, alive, picture.now_ms
            )
            for node in nodes
        }

    async def _settle(self, key: Key, endpoint: InferenceEndpoint, picture: Picture) -> Picture:
        """Write the children; note why the API server refused one, or whose name is taken."""
        refused, kept_back, jobs = None, False, None
        direct = endpoint.status.direct if endpoint.spec.access.direct else None
        try:
            wanted = children_wanted(
                endpoint,
                picture.plan,
                picture.placement,
                self._t.installation,
                picture.pulls.jobs,
                self._rooms(endpoint, picture),
            )
            kept_back = held_back(endpoint, picture, wanted)
            await self._t.children.settle(key, wanted, kept_back)
            jobs = wanted.job_names
            await self._t.doors.keep_service(key, endpoint)
            direct = self._t.doors.given(key, endpoint)
        except Missing:
            log.info("%s/%s: its namespace is going away", *key)
        except Stalled as error:
            refused = Fault(error.reason, error.message, retryable=False)
        return replace(
            picture,
            refused=refused,
            held_back=kept_back,
            jobs_kept=jobs,
            direct=direct,
            workload=self._workload(key),
        )

    async def _scale(
        self, key: Key, endpoint: InferenceEndpoint, picture: Picture, decision: Decision
    ) -> tuple[Decision, Picture]:
        """Carry the decision out; before anything goes because nobody needs it, ask everybody once more."""
        to = decision.replicas
        if to is None or to == picture.workload.replicas:
            return decision, picture
        if to < picture.workload.replicas and decision.reason in (Reason.IDLE, Reason.SERVING):
            decision, picture = await self._asked_again(key, endpoint, picture)
        if picture.direct is not None:
            decision = held(decision, picture.view(), picture.way, clock.now_ms())
        to = decision.replicas
        if to is None or to == picture.workload.replicas:
            return decision, picture
        try:
            await self._t.objects.scale(*key, to, picture.workload.resource_version)
        except Conflict:
            await self._t.children.read_deployment(key)
            return replace(decision, look_again_ms=clock.now_ms() + 50), picture
        except Missing:
            return replace(decision, look_again_ms=clock.now_ms() + 50), picture
        log.info(
            "%s/%s: %d → %d replicas: %s", *key, picture.workload.replicas, to, decision.message
        )
        return decision, replace(picture, workload=replace(picture.workload, replicas=to))

    async def _asked_again(
        self, key: Key, endpoint: InferenceEndpoint, picture: Picture
    ) -> tuple[Decision, Picture]:
        """Decide on what the gateways and the engines say at this very moment."""
        _, busy, _ = await asyncio.gather(
            self._t.demand.ask(),
            self._t.engines.busy(picture.pods),
            self._t.counters.ask_of(key, clock.now_ms()),
        )
        demand, now_ms = self._t.demand.demand(key), clock.now_ms()
        memory = memory_now(endpoint, demand, picture.pods)
        picture = replace(picture, demand=demand, memory=memory)
        decision, picture = self._decided(key, endpoint, picture, now_ms)
        if busy and decision.reason is Reason.IDLE:
            message = f"the engine still runs {busy} requests that no gateway knows of"
            decision = Decision(Reason.SERVING, message, look_again_ms=now_ms + 1000)
        return decision, picture
