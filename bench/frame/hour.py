"""A scripted hour in virtual time: the same code that meters a cluster, against a truth that is known beforehand."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.domain.metered_world import (
    H100,
    L40S,
    T0,
    Controller,
    TrueGateway,
    TruePod,
    World,
)
from torpor.api.status import CostStatus
from torpor.domain.bookkeeping import ledger_words, meter_of
from torpor.domain.ledger import Meter
from torpor.domain.metering import accrue
from torpor.domain.observation import combined
from torpor.domain.phases import Phases

HOUR_MS = 3_600_000
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What the hour came to."""

    pods: int
    kills: int
    lost_writes: int
    gpu_ms: int
    difference: int
    """GPU-ms that a phase of a price has more or less than the truth."""
    estimated: int


def play(kills: int, seed: int) -> Outcome:
    """Play the hour; controllers die at random passes, gateways are silent for a while, writes are lost."""
    chance = random.Random(seed)
    world = _world(chance)
    meter, controller = Meter(), Controller(world, T0, 0)
    deaths = sorted(chance.sample(range(T0 + 1000, T0 + HOUR_MS), kills))
    lost, at = 0, T0
    while at < max(world.over, T0 + HOUR_MS) + 5_000:
        at += chance.randint(500, 3_000)
        died = bool(deaths) and deaths[0] <= at
        if died:
            deaths.pop(0)
            at += chance.randint(1_000, 20_000)
            meter, controller = _read_back(meter), Controller(world, at, chance.randint(0, 2_000))
        ending = at > world.over
        silent = frozenset({"gateway-1"}) if chance.random() < 0.1 and not ending else _NONE
        demand = controller.demand(at, silent)
        after = accrue(meter, combined(controller.pods(at), demand), demand, world.tariff, at)
        if chance.random() < 0.05 and not ending:
            lost += 1
        else:
            meter = after
    truth = {price: phases for price, phases in world.truth().items() if phases.accrued}
    found = {row.price.id: row.phases for row in meter.rows if row.phases.accrued}
    held = sum(phases.accrued for phases in truth.values())
    return Outcome(
        len(world.pods), kills, lost, held, _difference(truth, found), meter.estimated_ms
    )


def _world(chance: random.Random) -> World:
    """Wakes every two minutes: one or two replicas, now and then dearer, now and then one that never starts."""
    pods: list[TruePod] = []
    for number in range(30):
        wake = T0 + number * 115_000 + chance.randint(0, 5_000)
        gpu_class = "h100" if number % 5 == 4 else "l40s"
        for replica in range(1 + number % 2):
            scheduled = wake + replica * chance.randint(0, 4_000)
            fails = number % 7 == 6
            ready = None if fails else scheduled + chance.randint(5_000, 25_000)
            deleted = (ready or scheduled) + chance.randint(3_000, 70_000)
            finished = deleted + chance.randint(0, 15_000)
            pods.append(
                TruePod(
                    uid=f"pod-{number}-{replica}",
                    gpu_class=gpu_class,
                    gpus=1 + number % 3,
                    scheduled=scheduled,
                    ready=ready,
                    deleted=deleted,
                    finished=finished,
                    gone=finished + chance.randint(0, 3_000),
                )
            )
    gateways = tuple(
        TrueGateway(
            f"gateway-{number}",
            chance.randint(0, 2_000),
            {pod.uid: _requests(pod, chance) for pod in pods if pod.ready is not None},
        )
        for number in range(2)
    )
    dearer = replace(L40S, id="l40s#dearer", micro_per_hour=2_000_000)
    cheaper = replace(H100, id="h100#cheaper", micro_per_hour=5_000_000)
    changes = ((T0 + 1_234_567, dearer), (T0 + 2_345_678, cheaper))
    return World(tuple(pods), gateways, changes)


def _requests(pod: TruePod, chance: random.Random) -> tuple[tuple[int, int], ...]:
    at, spans = pod.ready or 0, []
    for _ in range(chance.randint(1, 6)):
        at += chance.randint(0, 8_000)
        end = at + chance.randint(1, 9_000)
        spans.append((at, end))
        at = end
    return tuple(spans)


def _read_back(meter: Meter) -> Meter:
    """What another controller reads from the status."""
    return meter_of(CostStatus.model_validate(CostStatus(**ledger_words(meter)).to_dict()))


def _difference(truth: dict[str, Phases], found: dict[str, Phases]) -> int:
    total = 0
    for price in truth.keys() | found.keys():
        apart = truth.get(price, Phases()).less(found.get(price, Phases()))
        total += sum(
            abs(value) for value in (apart.starting, apart.busy, apart.idle, apart.terminating)
        )
    return total
