"""How long an endpoint's idle replicas are kept by the adaptive policy: what is learned, and the answer.

The policy itself is `torpor.domain.keepalive`. Here it is fed: with the gaps that ended (`returning`), and with how
long each start took, from the moment a GPU was reserved to first readiness, which is what is billed. Also an endpoint
whose keep-alive is fixed learns, so that it can be asked what another policy would have cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from torpor.api.endpoint.scaling import KeepAlive, Profile
from torpor.domain.keepalive import (
    WEIGHTS,
    Bounds,
    Keep,
    Learned,
    choose,
    cold_start,
    keep,
    learn,
    learn_cold_start,
    told,
)
from torpor.domain.observation import Demand, PodSeen
from torpor.domain.prewake import Price
from torpor.domain.returning import gaps_since

UNSEEN_START_S = 60.0
"""What a cold start is taken to last before the first was seen."""
_HOUR_MS, _HOURS = 3_600_000, 24


@dataclass(frozen=True, slots=True)
class Memory:
    """What the status keeps for the next pass."""

    learned: Learned = field(default_factory=Learned)
    idle_since_ms: int | None = None
    """The end of the last activity that is known."""
    started_ms: int | None = None
    """The first readiness of the last start that is known."""


@dataclass(frozen=True, slots=True)
class Adaptive:
    """What the spec says of the adaptive policy."""

    weight: float
    """What a second of waiting is worth, in GPU-seconds."""
    bounds: Bounds
    most_s: float | None = None
    """The longest time that the spec itself names; None if only the usual bound holds."""

    @property
    def yields_ms(self) -> int:
        """How long replicas must have been idle to leave for somebody who needs their GPUs: the shortest time."""
        return round(self.bounds.least_s * 1000)


class Kept(NamedTuple):
    """How long idle replicas are kept, and when they are started again ahead of demand (epoch ms, from and until)."""

    ms: int | None
    """None: until somebody else needs the GPUs."""
    why: str
    ahead_ms: tuple[int, int] | None = None
    yields_ms: int | None = None
    """How long they must have been idle to leave for somebody who needs the GPUs; None: they do not."""


def adaptive_policy(keep_alive: KeepAlive) -> Adaptive | None:
    """Return the adaptive policy as the spec wants it; None if it wants a fixed time."""
    if keep_alive.fixed_seconds is not None:
        return None
    least = keep_alive.min.total_seconds() if keep_alive.min else None
    most = keep_alive.max.total_seconds() if keep_alive.max else None
    usual = Bounds()
    bounds = Bounds(
        min(usual.least_s, most or usual.least_s) if least is None else least,
        max(usual.most_s, least or usual.most_s) if most is None else most,
    )
    return Adaptive(WEIGHTS[(keep_alive.profile or Profile.BALANCED).value], bounds, most)


def remembered(
    memory: Memory, policy: Adaptive | None, demand: Demand, pods: Iterable[PodSeen]
) -> Memory:
    """Return the memory with all that has come in since; the same values give the same memory.

    Args:
        memory: What the status holds.
        policy: By what it was decided how long to keep; None for a fixed time, which is not judged.
        demand: What all gateways say of the endpoint.
        pods: Its engine pods, those that are gone included.
    """
    gaps, idle_since = gaps_since(demand, memory.idle_since_ms)
    learned = memory.learned
    for gap in gaps:
        price, hour = _price(learned, policy), _hour(gap.start_ms)
        kept = choose(learned, price, hour, policy.bounds) if policy else None
        learned = learn(learned, gap.seconds, hour, price, kept)
    learned, started = _with_starts(learned, memory.started_ms, pods)
    return Memory(learned, idle_since, started)


def kept_for(memory: Memory, policy: Adaptive, idle_since_ms: int) -> Kept:
    """Return for how long replicas that have been idle since that instant are kept, and whether one starts again ahead.

    The same for as long as they are idle, since nothing is learned meanwhile.
    """
    learned = memory.learned
    chosen = keep(learned, _price(learned, policy), _hour(idle_since_ms), policy.bounds)
    return Kept(round(chosen.seconds * 1000), chosen.why, _ahead(chosen, memory.idle_since_ms))


def kept_for_nothing(policy: Adaptive, gpu_class: str) -> Kept:
    """Return for how long replicas are kept on GPUs that cost the same whether or not anybody uses them.

    Nothing is started ahead of demand there: a replica that has left, left for somebody who needed its GPUs.
    """
    most, least = policy.most_s, policy.yields_ms
    why = f"{gpu_class} costs nothing more while it idles: kept until another endpoint needs it"
    if most is None:
        return Kept(None, why, yields_ms=least)
    return Kept(round(most * 1000), f"{why}, or for {told(most)}", yields_ms=least)


def _ahead(chosen: Keep, gap_began_ms: int | None) -> tuple[int, int] | None:
    if chosen.prewake is None or gap_began_ms is None:
        return None
    start, until = chosen.prewake.start_s, chosen.prewake.until_s
    return gap_began_ms + round(start * 1000), gap_began_ms + round(until * 1000)


def _price(learned: Learned, policy: Adaptive | None) -> Price:
    return Price(cold_start(learned, UNSEEN_START_S), policy.weight if policy else 0.0)


def _with_starts(
    learned: Learned, started_ms: int | None, pods: Iterable[PodSeen]
) -> tuple[Learned, int | None]:
    """Learn from the pods that became Ready since, in that order."""
    ready = sorted(
        (pod.first_ready_ms, pod.scheduled_ms)
        for pod in pods
        if pod.first_ready_ms is not None and pod.scheduled_ms is not None
    )
    for at, scheduled in ready:
        if started_ms is None or at > started_ms:
            learned = learn_cold_start(learned, (at - scheduled) / 1000)
            started_ms = at
    return learned, started_ms


def _hour(at_ms: int) -> float:
    return at_ms / _HOUR_MS % _HOURS
