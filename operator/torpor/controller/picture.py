"""Everything that one pass looks at, in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torpor.api.conditions import Reason
from torpor.api.status import DirectStatus
from torpor.domain.budget import Standing
from torpor.domain.engineload import NOBODY, Asking
from torpor.domain.failing import Failure
from torpor.domain.keeping import Memory
from torpor.domain.leading import Way
from torpor.domain.nodestays import NodeSeen
from torpor.domain.observation import Demand, Fault, PodSeen, Workload
from torpor.domain.placement import GPUClassView, NodeView, Placement
from torpor.domain.prewarmjobs import Progress, WeightsPlan
from torpor.domain.pulling import NO_PULLS, Pulls
from torpor.domain.scalingview import Needed, ScalingView


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
    memory: Memory = field(default_factory=Memory)
    """How the endpoint's users come back, as far as it is known."""
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

    jobs_kept: frozenset[str] | None = None
    """Names of the prewarm Jobs that stay; None while that is not known."""
    needed: Needed = field(default_factory=Needed)
    """When each number of replicas was last needed."""
    engines: Asking = NOBODY
    """How many replicas the engines' own counters ask for."""
    needed_by: str = ""
    """Who waits for the GPUs that its idle replicas hold, and gets them; empty while nobody does."""
    contested: bool = False
    """Whether anybody waits for a GPU such as it holds, whoever gives it."""
    tenancies: tuple[NodeSeen, ...] = ()
    """Nodes paid for as a whole that a pod of it is or was on, and all pods that were on them."""
    standing: Standing | None = None
    """How the month's budget stands; None without one."""
    direct: DirectStatus | None = None
    """The gateways' port for a direct endpoint, and since when it is one; None if it is not."""
    way: Way = field(default_factory=Way)
    """Where a direct endpoint's Service leads."""

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
        refused = self.standing is not None and self.standing.refuses
        return ScalingView(
            self.workload,
            self.pods,
            self.demand,
            self.fault,
            self.last_activity_ms,
            self.needed,
            over_budget=self.standing.sentence if self.standing and refused else "",
            engines=self.engines,
            needed_by=self.needed_by,
        )
