"""A small world with pods, gateways and a controller that dies, and what its GPUs really did.

Everything that observers are told follows from the truth and their own delays; nothing here knows how the meter works.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import strategies as st

from torpor.domain.ledger import Meter, Price
from torpor.domain.metering import Tariffs
from torpor.domain.observation import Demand, GatewayReport, PodSeen
from torpor.domain.phases import Phases
from torpor.domain.pricing import Tariff

T0 = 1_800_000_000_000
MEMORY = 600_000
L40S = Price("l40s@1861000USD", "l40s", "on-demand", "USD", 1_861_000)
H100 = Price("h100@6880000USD", "h100", "spot", "USD", 6_880_000)
BASE = {"l40s": L40S, "h100": H100}


def fixed(price: Price) -> Tariff:
    """A price that never changes."""
    unknown = replace(price, id=f"{price.gpu_class}@unknown", micro_per_hour=None)
    return Tariff(unknown, ((0, price),))


def listed(*prices: Price) -> Tariffs:
    """Prices that never change, by class."""
    by_class = {price.gpu_class: fixed(price) for price in prices}
    return lambda pod, _billed: by_class.get(pod.gpu_class)


PRICES = listed(L40S, H100)


@dataclass(frozen=True)
class TruePod:
    """A pod's whole life, in epoch ms. `ready` None: it never became Ready; `deleted` None: it ended by itself."""

    uid: str
    gpu_class: str
    gpus: int
    scheduled: int
    ready: int | None
    deleted: int | None
    finished: int
    gone: int
    flapped: int | None = None
    """When it became Ready again; its condition no longer says when it first did."""

    def seen(self, at: int, since: int = T0) -> PodSeen | None:
        """Return what somebody who has watched *since* then knows of it at that instant.

        Who came after it was Ready again, or after the kubelet deleted it for the last time, knows only those.
        """
        if at < self.scheduled - 500:
            return None
        ready, deleted = self.ready, self.deleted
        if self.flapped is not None and self.flapped <= since:
            ready = self.flapped
        if deleted is not None and self.finished <= since:
            deleted = self.finished
        return PodSeen(
            uid=self.uid,
            name=f"engine-{self.uid}",
            gpus=self.gpus,
            gpu_class=self.gpu_class,
            scheduled_ms=_known(self.scheduled, at),
            first_ready_ms=_known(ready, at),
            ready=self.ready is not None and self.ready <= at < (self.deleted or self.finished),
            deleted_ms=_known(deleted, at),
            finished_ms=_known(self.finished, at),
            gone_ms=_known(self.gone, at),
        )


@dataclass(frozen=True)
class TrueGateway:
    """A gateway: when it had requests on which pod, and how late it hears of pods."""

    name: str
    lag: int
    busy: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def report(self, pods: tuple[TruePod, ...], at: int) -> GatewayReport:
        """Return its word at that instant, by what it still remembers."""
        heard = [pod.seen(at - self.lag) for pod in pods]
        busy = {
            uid: tuple(
                (start, end if end <= at else None)
                for start, end in spans
                if start <= at and end >= at - MEMORY
            )
            for uid, spans in self.busy.items()
        }
        return GatewayReport(
            gateway=self.name,
            as_of_ms=at,
            started_ms=T0 - 1000,
            pods=tuple(p for p in heard if p and (p.gone_ms is None or p.gone_ms >= at - MEMORY)),
            busy={uid: spans for uid, spans in busy.items() if spans},
        )


@dataclass(frozen=True)
class World:
    """The truth."""

    pods: tuple[TruePod, ...]
    gateways: tuple[TrueGateway, ...]
    changes: tuple[tuple[int, Price], ...] = ()
    """Dated prices, ascending; each holds for its class from then on."""

    def tariff(self, pod: PodSeen, billed: Price | None) -> Tariff | None:
        """What the price list says, which everybody knows at any time."""
        base = fixed(BASE[pod.gpu_class])
        own = (row for row in self.changes if row[1].gpu_class == pod.gpu_class)
        return replace(base, rows=(*base.rows, *own))

    @property
    def over(self) -> int:
        """When the last pod is gone and everybody has heard of it."""
        return max(pod.gone for pod in self.pods) + 5_000

    def truth(self) -> dict[str, Phases]:
        """Return the GPU-ms by price id: each stretch between two edges is looked at once, at its beginning."""
        found: dict[str, Phases] = {}
        for pod in self.pods:
            spans = [span for gateway in self.gateways for span in gateway.busy.get(pod.uid, ())]
            edges = {pod.scheduled, pod.finished, pod.ready, pod.deleted}
            edges |= {edge for span in spans for edge in span}
            edges |= {at for at, _ in self.changes}
            inside = sorted(e for e in edges if e and pod.scheduled <= e <= pod.finished)
            for start, end in pairwise(inside):
                price = self._price(pod, start)
                found[price] = found.get(price, Phases()) + self._stretch(pod, spans, start, end)
        return found

    def _price(self, pod: TruePod, at: int) -> str:
        held = BASE[pod.gpu_class]
        for start, price in self.changes:
            if start <= at and price.gpu_class == pod.gpu_class:
                held = price
        return held.id

    @staticmethod
    def _stretch(pod: TruePod, spans: list[tuple[int, int]], start: int, end: int) -> Phases:
        lasts = (end - start) * pod.gpus
        if pod.deleted is not None and start >= pod.deleted:
            return Phases(terminating=lasts)
        if pod.ready is None:
            return Phases(starting=lasts, failed_starting=lasts)
        if start < pod.ready:
            return Phases(starting=lasts)
        if any(a <= start < b for a, b in spans):
            return Phases(busy=lasts)
        return Phases(idle=lasts)


class Controller:
    """What one controller process knows: what it watches, what it has seen leave, what gateways last said."""

    def __init__(self, world: World, born: int, lag: int) -> None:
        """Start watching at *born*, hearing of everything *lag* ms late."""
        self._world, self._born, self._lag = world, born, lag
        self._last: dict[str, GatewayReport] = {}

    def pods(self, now: int) -> tuple[PodSeen, ...]:
        """Return the pods that live, and those it saw leave within ten minutes."""
        found = (pod.seen(now - self._lag, since=self._born) for pod in self._world.pods)
        return tuple(
            pod
            for pod in found
            if pod and (pod.gone_ms is None or max(self._born, now - MEMORY) <= pod.gone_ms)
        )

    def demand(self, now: int, silent: frozenset[str]) -> Demand:
        """Ask all gateways; of a silent one its last word is kept, and its name."""
        for gateway in self._world.gateways:
            if gateway.name not in silent:
                self._last[gateway.name] = gateway.report(self._world.pods, now)
        names = tuple(sorted(g.name for g in self._world.gateways if g.name in silent))
        return Demand(tuple(self._last.values()), names)


@dataclass(frozen=True)
class Step:
    """One pass: how long after the one before, by a new controller or not, and what goes wrong in it."""

    after: int
    reborn: bool = False
    lag: int = 0
    silent: frozenset[str] = frozenset()
    twice: bool = False
    lost: bool = False
    """Its status is not written: the next pass begins from the ledger before."""


def _known(instant: int | None, at: int) -> int | None:
    return instant if instant is not None and instant <= at else None


@st.composite
def pods(draw: st.DrawFn, uid: str) -> TruePod:
    """A pod that starts within a minute and lives for at most three."""
    scheduled = T0 + draw(st.integers(0, 60_000))
    ready = draw(st.none() | st.integers(0, 40_000).map(lambda ms: scheduled + ms))
    lives = draw(st.integers(0, 90_000))
    ended = (ready or scheduled) + lives
    deleted = draw(st.sampled_from([ended, ended, None]))
    finished = ended + (draw(st.integers(0, 60_000)) if deleted is not None else 0)
    return TruePod(
        uid=uid,
        gpu_class=draw(st.sampled_from(sorted(BASE))),
        gpus=draw(st.integers(1, 8)),
        scheduled=scheduled,
        ready=ready,
        deleted=deleted,
        finished=finished,
        gone=finished + draw(st.integers(0, 20_000)),
        flapped=ready + draw(st.integers(0, lives)) if ready and draw(st.booleans()) else None,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """One to three pods, one to three gateways with requests before, in and after the pods' serving phases."""
    living = tuple(draw(pods(uid=f"pod-{n}")) for n in range(draw(st.integers(1, 3))))
    span = st.tuples(st.integers(0, 150_000), st.integers(0, 60_000))
    gateways = []
    for n in range(draw(st.integers(1, 3))):
        busy = {
            pod.uid: tuple(
                (pod.scheduled + at, pod.scheduled + at + lasts)
                for at, lasts in draw(st.lists(span, max_size=5))
            )
            for pod in living
        }
        gateways.append(TrueGateway(f"gateway-{n}", draw(st.integers(0, 3_000)), busy))
    dates = draw(st.lists(st.integers(T0, T0 + 200_000), max_size=3, unique=True))
    changes = tuple((at, draw(prices(number=n))) for n, at in enumerate(sorted(dates)))
    return World(living, tuple(gateways), changes)


@st.composite
def prices(draw: st.DrawFn, number: int) -> Price:
    """Another price of one of the classes."""
    base = draw(st.sampled_from([L40S, H100]))
    return replace(base, id=f"{base.gpu_class}#{number}", micro_per_hour=number)


def steps(gateways: int = 3) -> st.SearchStrategy[list[Step]]:
    """Passes in any rhythm, with dead controllers, gateways that do not answer, and lost writes."""
    names = [f"gateway-{n}" for n in range(gateways)]
    usual, outage = st.integers(1, 3_000), st.integers(3_000, 60_000)
    return st.lists(
        st.builds(
            Step,
            after=usual | outage,
            reborn=st.booleans(),
            lag=st.integers(0, 3_000),
            silent=st.just(frozenset()) | st.frozensets(st.sampled_from(names)),
            twice=st.booleans(),
            lost=st.booleans(),
        ),
        max_size=40,
    )


def cut(steps: list[Step], before: int) -> list[Step]:
    """Return the steps that end before that many ms, so that nothing is forgotten by anybody meanwhile."""
    kept, at = [], 0
    for step in steps:
        at += step.after
        if at >= before:
            break
        kept.append(replace(step))
    return kept


def booked(meter: Meter) -> dict[str, Phases]:
    return {row.price.id: row.phases for row in meter.rows if row.phases.accrued}


def existing(truth: dict[str, Phases]) -> dict[str, Phases]:
    return {price: phases for price, phases in truth.items() if phases.accrued}
