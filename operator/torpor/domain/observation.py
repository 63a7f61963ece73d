"""What decisions may look at: plain, frozen values gathered once per pass.

All instants are integer milliseconds since the epoch (UTC), all durations say their unit in their name. Nothing here
reads anything; `torpor.controller.observe` fills it in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot work, in the words that the user will read.

    `retryable` says whether waiting may heal it (a wrong key can be corrected, an invalid spec cannot by itself).
    """

    reason: str
    message: str
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class PodSeen:
    """One engine pod: identity, the timestamps that money is counted by, and what is wrong with it."""

    uid: str
    name: str
    gpus: int
    gpu_class: str
    node: str | None = None
    ip: str | None = None
    template_hash: str = ""
    created_ms: int = 0
    scheduled_ms: int | None = None
    ready: bool = False
    first_ready_ms: int | None = None
    deleted_ms: int | None = None
    """When its deletion was asked for: deletionTimestamp less its grace period, as first seen.

    The kubelet's last step deletes again with a grace of zero and moves both.
    """
    grace_seconds: int = 0
    """What it is given to end, once its deletion was asked for."""
    finished_ms: int | None = None
    """Last `finishedAt` of its containers, once every container has terminated for good."""
    gone_ms: int | None = None
    """When somebody saw the object leave the API server."""
    restarts: int = 0
    fault: Fault | None = None
    unschedulable: str | None = None
    """The scheduler's own message while it finds no node."""
    weights_done_ms: int | None = None
    weights_bytes: int = 0
    """What it has fetched of its weights by itself, over the network."""
    image_pulled_ms: int | None = None
    engine_started_ms: int | None = None
    spare_ms: int | None = None
    """Since when it is marked as one that goes as soon as its requests have ended."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Cumulative token counts of one source."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Part of the prompts: what engines had in their caches, as far as they say so."""


@dataclass(frozen=True, slots=True)
class WakeReport:
    """One wake as the gateway that wrote `replicas` saw it; epoch ms, None for what has not happened."""

    at_ms: int
    patched_ms: int | None = None
    pod_seen_ms: int | None = None
    healthy_ms: int | None = None
    first_byte_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What one gateway says of one endpoint at `as_of_ms`."""

    gateway: str
    as_of_ms: int
    started_ms: int
    waiting: int = 0
    in_flight: int = 0
    last_byte_ms: int | None = None
    tokens: Tokens = Tokens()
    wakes: tuple[WakeReport, ...] = ()
    on_pods: dict[str, int] = field(default_factory=dict[str, int])
    """Pod uid → requests in flight there."""
    pods: tuple[PodSeen, ...] = ()
    """Engine pods as this gateway watched them, those gone within ten minutes included."""
    busy: dict[str, tuple[tuple[int, int | None], ...]] = field(
        default_factory=dict[str, tuple[tuple[int, int | None], ...]]
    )
    """Pod uid → merged intervals [start, end) with requests in flight; an open one ends with None."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What one engine's own counters say, where clients reach it past the gateways (`torpor.domain.counting`)."""

    uid: str
    """uid of its pod."""
    name: str
    """Name of its pod."""
    started_ms: int
    """When the engine started; its counters began at 0 then."""
    as_of_ms: int = 0
    requests: int = 0
    """Requests that it runs or queues."""
    finished: int = 0
    tokens: Tokens = Tokens()
    last_active_ms: int | None = None
    """When it was last seen to have done anything; None if not since this controller began to look."""
    busy: tuple[tuple[int, int | None], ...] = ()
    """Intervals in which it had requests; an open one ends with None."""
    over: bool = False
    """Its pod takes no requests any more: this was its last word."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What all gateways together say of one endpoint, and of a direct one also its engines.

    `unreachable` names gateways that exist but did not answer, `silent` pods whose engines did not: while there is one,
    nobody knows that the endpoint is idle, and unknown never sleeps.
    """

    reports: tuple[GatewayReport, ...] = ()
    unreachable: tuple[str, ...] = ()
    direct: bool = False
    """Clients reach the engines past the gateways: their own counters count."""
    engines: tuple[EngineReport, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether every gateway that exists has answered; before the first is even heard of, nobody has."""
        return bool(self.reports) and not self.unreachable and not self.silent

    @property
    def waiting(self) -> int:
        """Requests held in waiting rooms, all gateways together."""
        return sum(r.waiting for r in self.reports)

    @property
    def in_flight(self) -> int:
        """Requests being answered by an engine, all gateways together, and those that came past them."""
        past = (e.requests - self._by_gateways(e.uid) for e in self.engines if not e.over)
        return sum(r.in_flight for r in self.reports) + sum(max(0, more) for more in past)

    @property
    def last_byte_ms(self) -> int | None:
        """When the last byte of the last response passed any gateway, or was made by an engine; None if none was."""
        instants = [r.last_byte_ms for r in self.reports] + [e.last_active_ms for e in self.engines]
        return max((at for at in instants if at is not None), default=None)

    @property
    def as_of_ms(self) -> int | None:
        """The instant up to which all answers are complete: the oldest report's."""
        engines = (e.as_of_ms for e in self.engines if not e.over)
        return min((*(r.as_of_ms for r in self.reports), *engines), default=None)

    @property
    def answered_ms(self) -> int | None:
        """The same for those that answer; None while no gateway does."""
        gateways = [r.as_of_ms for r in self.reports if r.gateway not in self.unreachable]
        engines = [e.as_of_ms for e in self.engines if not e.over and e.name not in self.silent]
        return min((*gateways, *engines)) if gateways else None

    def in_flight_on(self, uid: str) -> int:
        """Requests in flight on one pod, all gateways together, or by its engine's own word if that has more."""
        own = [e.requests for e in self.engines if e.uid == uid and not e.over]
        return max(self._by_gateways(uid), *own, 0)

    def _by_gateways(self, uid: str) -> int:
        return sum(report.on_pods.get(uid, 0) for report in self.reports)

    def busy(self, uid: str) -> list[tuple[int, int | None]]:
        """Return the busy intervals of pod *uid* from every gateway and from its engine, unmerged.

        What a gateway or an engine that no longer answers had open is known up to its last word and no further.
        """
        told = [
            (start, report.as_of_ms if end is None and report.gateway in self.unreachable else end)
            for report in self.reports
            for start, end in report.busy.get(uid, ())
        ]
        return told + [
            (start, engine.as_of_ms if end is None and engine.name in self.silent else end)
            for engine in self.engines
            if engine.uid == uid
            for start, end in engine.busy
        ]


@dataclass(frozen=True, slots=True)
class Workload:
    """The Deployment as it stands: what was asked for and what runs."""

    exists: bool = False
    replicas: int = 0
    resource_version: str = ""
    template_hash: str = ""
    served_names: str = ""
    """The names that its template's engine answers to, joined by spaces."""
    pods_refused: str = ""
    """Why the API server lets none of its pods be made (a quota, Pod Security), if so."""


def combined(pods: Iterable[PodSeen], demand: Demand) -> tuple[PodSeen, ...]:
    """Return the controller's pods completed by what the gateways remember of them.

    A controller that was dead has missed a pod's first Ready, its end, or the whole pod; every gateway watches engine
    pods too and remembers them for ten minutes after they are gone.
    """
    known = {pod.uid: pod for pod in pods}
    for report in demand.reports:
        for told in report.pods:
            mine = known.get(told.uid)
            known[told.uid] = told if mine is None else _completed(mine, told)
    return tuple(known.values())


def _completed(mine: PodSeen, told: PodSeen) -> PodSeen:
    return replace(
        mine,
        scheduled_ms=told.scheduled_ms if mine.scheduled_ms is None else mine.scheduled_ms,
        first_ready_ms=earliest(mine.first_ready_ms, told.first_ready_ms),
        deleted_ms=earliest(mine.deleted_ms, told.deleted_ms),
        finished_ms=told.finished_ms if mine.finished_ms is None else mine.finished_ms,
        gone_ms=told.gone_ms if mine.gone_ms is None else mine.gone_ms,
    )


def earliest(*instants: int | None) -> int | None:
    """Return the earliest instant that is known, None if none is."""
    return min((instant for instant in instants if instant is not None), default=None)
