from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.domain.metered_world import (
    PRICES,
    T0,
    Controller,
    Step,
    TrueGateway,
    TruePod,
    World,
    booked,
    cut,
    existing,
    steps,
    worlds,
)
from torpor.api.status import CostStatus
from torpor.domain.bookkeeping import ledger_words, meter_of
from torpor.domain.ledger import Meter
from torpor.domain.metering import accrue, totals
from torpor.domain.observation import Demand, combined

thorough = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def restarted(meter: Meter) -> Meter:
    return meter_of(CostStatus.model_validate(CostStatus(**ledger_words(meter)).to_dict()))


def play(world: World, passes: list[Step], meter: Meter | None = None, at: int = T0) -> Meter:
    """Run the passes one after the other and return the ledger that was written last."""
    meter, controller = meter or Meter(), Controller(world, at, 0)
    for step in passes:
        at += step.after
        if step.reborn:
            meter, controller = restarted(meter), Controller(world, at, step.lag)
        demand = controller.demand(at, step.silent)
        found = combined(controller.pods(at), demand)
        after = accrue(meter, found, demand, world.tariff, at)
        if step.twice:
            assert accrue(after, found, demand, world.tariff, at) == after
        shown = [row.phases for row in totals(after, demand, at)]
        assert all(
            min(p.starting, p.busy, p.idle, p.terminating, p.failed_starting) >= 0 for p in shown
        )
        meter = meter if step.lost else after
    return meter


def closing(world: World, began: list[Step]) -> list[Step]:
    """Passes in which everybody answers again, until all is told."""
    at = T0 + sum(step.after for step in began)
    return [Step(max(1000, world.over - at)), *[Step(1000) for _ in range(5)]]


@given(worlds(), steps())
@thorough
def test_whatever_the_passes_the_ledger_ends_at_the_truth(world: World, passes: list[Step]) -> None:
    passes = cut(passes, 400_000)
    meter = play(world, [*passes, *closing(world, passes)])
    assert meter.live == ()
    assert booked(meter) == existing(world.truth())
    assert meter.estimated_ms == 0


@given(worlds(), steps())
@thorough
def test_the_phases_add_up_to_the_time_the_gpus_were_held(world: World, passes: list[Step]) -> None:
    passes = cut(passes, 400_000)
    meter = play(world, [*passes, *closing(world, passes)])
    held = sum(pod.gpus * (pod.finished - pod.scheduled) for pod in world.pods)
    assert sum(row.phases.accrued for row in meter.rows) == held


@given(worlds(), steps(), st.lists(st.integers(1_000, 400_000), max_size=12), st.data())
@thorough
def test_a_pod_is_never_booked_twice_however_long_somebody_remembers_it(
    world: World, passes: list[Step], later: list[int], data: st.DataObject
) -> None:
    passes = cut(passes, 400_000)
    silent = st.frozensets(st.sampled_from(["gateway-0", "gateway-1", "gateway-2"]))
    began = [*passes, *closing(world, passes)]
    after = [Step(ms, reborn=data.draw(st.booleans()), silent=data.draw(silent)) for ms in later]
    assert booked(play(world, [*began, *after])) == existing(world.truth())


def test_a_gateway_that_did_not_answer_for_half_an_hour_does_not_bring_a_booked_pod_back() -> None:
    world = World(
        (TruePod("pod-0", "l40s", 1, T0, T0 + 1_000, T0 + 9_000, T0 + 10_000, T0 + 11_000),),
        (TrueGateway("gateway-0", 0), TrueGateway("gateway-1", 0)),
    )
    deaf = frozenset({"gateway-1"})
    passes = [Step(1_000) for _ in range(13)] + [
        Step(60_000, silent=deaf, reborn=n == 2) for n in range(31)
    ]
    meter = play(world, passes)
    assert booked(meter) == existing(world.truth())
    at = T0 + sum(step.after for step in passes) + 1_000
    still_remembers = replace(
        world.gateways[1].report(world.pods, T0 + 9_500), as_of_ms=at
    )  # its watch broke with the network: to it the pod lives
    demand = Demand((world.gateways[0].report(world.pods, at), still_remembers))
    meter = accrue(meter, combined((), demand), demand, PRICES, at)
    assert meter.live == ()
    assert booked(meter) == existing(world.truth())
