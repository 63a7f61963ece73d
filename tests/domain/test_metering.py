from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.metered_world import H100, L40S, PRICES, T0, booked, fixed, listed
from torpor.domain.costing import always_on_micro_ms, cost_of, unpriced
from torpor.domain.costing import rate_micro_per_hour as rate
from torpor.domain.ledger import Cost, Meter, Price, Row
from torpor.domain.metering import (
    BUSY_SETTLE_MS,
    GRACE_MS,
    PATIENCE_MS,
    accrue,
    noted,
    stay_on,
    totals,
)
from torpor.domain.observation import Demand, GatewayReport, PodSeen, combined
from torpor.domain.phases import Phases

POD = PodSeen(
    "pod-0",
    "engine-0",
    gpus=2,
    gpu_class="l40s",
    scheduled_ms=T0,
    first_ready_ms=T0 + 10_000,
    deleted_ms=T0 + 100_000,
    finished_ms=T0 + 105_000,
    gone_ms=T0 + 106_000,
)
TARIFF = fixed(L40S)
RUNS = replace(POD, deleted_ms=None, finished_ms=None, gone_ms=None)


def answers(at: int, *busy: tuple[int, int | None], silent: tuple[str, ...] = ()) -> Demand:
    report = GatewayReport("gateway-0", at, T0, busy={"pod-0": busy} if busy else {})
    return Demand((report,), silent)


def test_a_controller_that_comes_back_asks_the_gateways_before_it_closes_a_pod() -> None:
    busy = (T0 + 20_000, T0 + 80_000)
    meter = accrue(Meter(), [POD], answers(T0 + 105_000, busy), PRICES, T0 + 105_000)
    at = T0 + 300_000
    nobody_asked_yet = Demand((), ("gateway-0",))
    meter = accrue(meter, [POD], nobody_asked_yet, PRICES, at)
    assert [entry.uid for entry in meter.live] == ["pod-0"]
    meter = accrue(meter, [POD], answers(at, busy), PRICES, at)
    assert booked(meter)[L40S.id] == Phases(20_000, 120_000, 60_000, 10_000)
    assert meter.estimated_ms == 0


def test_a_first_ready_that_only_a_gateway_saw_counts_though_the_pod_has_ended() -> None:
    mine = replace(POD, first_ready_ms=None)
    at = T0 + 200_000
    meter = accrue(Meter(), [mine], Demand((), ("gateway-0",)), PRICES, at)
    told = GatewayReport("gateway-0", at, T0, pods=(POD,))
    demand = Demand((told,))
    meter = accrue(meter, combined([mine], demand), demand, PRICES, at)
    assert booked(meter)[L40S.id] == Phases(starting=20_000, idle=180_000, terminating=10_000)


def test_a_pending_pod_costs_nothing_and_is_not_on_the_meter() -> None:
    pending = replace(RUNS, scheduled_ms=None, first_ready_ms=None)
    assert accrue(Meter(), [pending], answers(T0 + 60_000), PRICES, T0 + 60_000) == Meter()


def test_a_pod_that_never_became_ready_is_booked_as_a_failed_start() -> None:
    crashed = replace(POD, first_ready_ms=None, deleted_ms=None, finished_ms=T0 + 30_000)
    meter = accrue(Meter(), [crashed], answers(T0 + 40_000), PRICES, T0 + 40_000)
    assert meter.rows == (Row(L40S, Phases(starting=60_000, failed_starting=60_000)),)


@pytest.mark.parametrize(("ready", "failed"), [(99_999, 0), (100_000, 0), (100_001, 200_000)])
def test_ready_only_after_it_was_told_to_end_is_a_failed_start_and_not_an_unused_one(
    ready: int, failed: int
) -> None:
    late = replace(POD, first_ready_ms=T0 + ready)
    meter = accrue(Meter(), [late], answers(T0 + 300_000), PRICES, T0 + 300_000)
    (row,) = meter.rows
    assert row.phases.failed_starting == failed
    assert row.unused == (0 if failed else 200_000)


def test_a_pod_that_was_ready_and_answered_nobody_is_booked_as_an_unused_start() -> None:
    at = T0 + 300_000
    meter = accrue(Meter(), [POD], answers(at), PRICES, at)
    phases = Phases(starting=20_000, idle=180_000, terminating=10_000)
    assert meter.rows == (Row(L40S, phases, unused=200_000),)
    asked = accrue(Meter(), [POD], answers(at, (T0 + 20_000, T0 + 20_001)), PRICES, at)
    assert asked.rows[0].unused == 0
    assert accrue(meter, [POD], answers(at), PRICES, at) == meter


def test_while_it_runs_no_start_is_unused() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 60_000), PRICES, T0 + 60_000)
    assert all(row.unused == 0 for row in meter.rows)


def test_a_pod_that_leaves_with_no_finish_time_ends_when_it_was_seen_to_leave_and_is_estimated() -> (
    None
):
    left = replace(POD, finished_ms=None)
    meter = accrue(Meter(), [left], answers(T0 + 107_000), PRICES, T0 + 107_000)
    assert booked(meter)[L40S.id] == Phases(starting=20_000, idle=180_000, terminating=12_000)
    assert meter.estimated_ms == 2 * 6_000


def test_a_pod_that_vanished_unseen_while_being_deleted_ends_after_its_grace_period() -> None:
    going = replace(RUNS, deleted_ms=T0 + 50_000)
    meter = accrue(Meter(), [going], answers(T0 + 51_000), PRICES, T0 + 51_000)
    for at in (T0 + 400_000, T0 + 401_000):
        meter = accrue(meter, [], answers(at), PRICES, at)
    assert booked(meter)[L40S.id] == Phases(starting=20_000, idle=80_000, terminating=2 * GRACE_MS)
    assert meter.estimated_ms == 2 * GRACE_MS


def test_a_pod_that_vanished_unseen_in_a_long_outage_is_billed_until_found_missing_all_estimated() -> (
    None
):
    meter = accrue(Meter(), [RUNS], answers(T0 + 65_000), PRICES, T0 + 65_000)
    found_missing = T0 + 1_260_000
    meter = accrue(meter, [], answers(found_missing), PRICES, found_missing)
    meter = accrue(meter, [], answers(found_missing + 1_000), PRICES, found_missing + 1_000)
    assert booked(meter)[L40S.id].accrued == 2 * 1_260_000
    assert meter.estimated_ms == 2 * (1_260_000 - 60_000), "alive at T0 + 60 s by all accounts"


def test_nobody_is_given_up_as_vanished_while_a_gateway_may_still_tell() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 65_000), PRICES, T0 + 65_000)
    for demand in (Demand(), answers(T0 + 65_000, silent=("gateway-1",))):
        assert accrue(meter, [], demand, PRICES, T0 + 300_000).live == meter.live


def test_busy_time_that_all_gateways_have_forgotten_counts_as_idle_and_shows_as_estimated() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 65_000), PRICES, T0 + 65_000)
    at = T0 + 1_000_000
    meter = accrue(meter, [RUNS], answers(at, (T0 + 900_000, None)), PRICES, at)
    assert meter.estimated_ms == 2 * (400_000 - 60_000), "of T0 + 60 s … at - 10 min nobody knows"
    assert totals(meter, answers(at, (T0 + 900_000, None)), at)[0].phases == Phases(
        starting=20_000, busy=200_000, idle=2 * 890_000
    )


def test_a_stream_open_through_a_long_outage_is_busy_and_nothing_is_estimated() -> None:
    stream = (T0 + 10_000, None)
    meter = accrue(Meter(), [RUNS], answers(T0 + 65_000, stream), PRICES, T0 + 65_000)
    at = T0 + 2_000_000
    meter = accrue(meter, [RUNS], answers(at, stream), PRICES, at)
    assert meter.estimated_ms == 0
    assert totals(meter, answers(at, stream), at)[0].phases.busy == 2 * 1_990_000


def test_what_the_other_gateways_say_is_kept_before_they_forget_it_though_one_never_answers() -> (
    None
):
    busy = (T0 + 20_000, T0 + 40_000)
    meter, at = Meter(), T0
    while at < T0 + 1_500_000:
        at += 30_000
        told = (busy,) if at - 600_000 <= busy[1] and at > busy[0] else ()
        meter = accrue(meter, [RUNS], answers(at, *told, silent=("gateway-1",)), PRICES, at)
    phases = totals(meter, answers(at), at)[0].phases
    assert phases.busy == 2 * 20_000
    assert meter.estimated_ms == 2 * (1_500_000 - PATIENCE_MS - 10_000 - 20_000)


def test_a_pod_whose_gateway_never_answers_is_booked_after_nine_minutes_its_idle_time_estimated() -> (
    None
):
    busy, silent = (T0 + 20_000, T0 + 40_000), ("gateway-1",)
    meter = accrue(Meter(), [POD], answers(T0 + 110_000, busy, silent=silent), PRICES, T0 + 110_000)
    at = T0 + 105_000 + PATIENCE_MS
    demand = answers(at, busy, silent=silent)
    assert accrue(meter, [POD], demand, PRICES, at).rows == ()
    meter = accrue(meter, [POD], demand, PRICES, at + 1)
    assert meter.live == ()
    assert booked(meter)[L40S.id] == Phases(20_000, 40_000, 140_000, 10_000)
    assert meter.estimated_ms == 140_000


def test_a_pod_of_which_no_gateway_says_anything_is_idle_and_all_of_it_estimated() -> None:
    nobody, at = Demand((), ("gateway-0",)), T0 + 105_000 + PATIENCE_MS
    meter = accrue(Meter(), [POD], nobody, PRICES, at)
    assert meter.rows == ()
    meter = accrue(meter, [POD], nobody, PRICES, at + 1)
    assert booked(meter)[L40S.id] == Phases(20_000, 0, 180_000, 10_000)
    assert meter.estimated_ms == 180_000


def test_what_a_silent_gateway_had_open_is_busy_up_to_its_last_word_only() -> None:
    last_word = GatewayReport("gateway-1", T0 + 50_000, T0, busy={"pod-0": ((T0 + 20_000, None),)})
    at = T0 + 90_000
    demand = Demand((*answers(at).reports, last_word), ("gateway-1",))
    meter = accrue(Meter(), [RUNS], demand, PRICES, at)
    assert totals(meter, demand, at)[0].phases == Phases(starting=20_000, busy=60_000, idle=100_000)


def test_requests_held_before_ready_and_drained_after_deletion_are_not_busy() -> None:
    spans = ((T0 - 5_000, T0 + 20_000), (T0 + 95_000, T0 + 104_000))
    meter = accrue(Meter(), [POD], answers(T0 + 106_000, *spans), PRICES, T0 + 106_000)
    assert booked(meter)[L40S.id] == Phases(20_000, 30_000, 150_000, 10_000)


def test_a_later_ready_of_a_flapping_pod_does_not_move_its_first() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 20_000), PRICES, T0 + 20_000)
    flapped = replace(RUNS, first_ready_ms=T0 + 60_000)
    meter = accrue(meter, [flapped], answers(T0 + 70_000), PRICES, T0 + 70_000)
    assert meter.live[0].first_ready_ms == T0 + 10_000


def test_a_clock_that_went_backwards_never_makes_a_phase_negative() -> None:
    twisted = replace(POD, first_ready_ms=T0 - 9_000, deleted_ms=T0 - 5_000, finished_ms=T0 - 1)
    meter = accrue(Meter(), [twisted], answers(T0 + 1_000), PRICES, T0 + 1_000)
    assert meter.live == ()
    assert booked(meter) == {}


DEARER = Price("l40s@2000000USD", "l40s", "on-demand", "USD", 2_000_000)


def test_an_edited_price_holds_from_when_it_is_seen_and_nothing_before_it_changes() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 20_000), PRICES, T0 + 20_000)
    newer = replace(RUNS, uid="pod-1", gpus=1, scheduled_ms=T0 + 30_000, first_ready_ms=None)
    seen, edited = [RUNS, newer], listed(DEARER)
    meter = accrue(meter, seen, answers(T0 + 40_000), edited, T0 + 40_000)
    assert accrue(meter, seen, answers(T0 + 40_000), edited, T0 + 40_000) == meter
    meter = accrue(meter, seen, answers(T0 + 70_000), edited, T0 + 70_000)
    rows = {row.price.id: row.phases.accrued for row in totals(meter, Demand(), T0 + 70_000)}
    assert rows == {L40S.id: 2 * 40_000, DEARER.id: 2 * 30_000 + 40_000}
    assert rate(meter) == 3 * 2_000_000


def test_a_class_that_is_deleted_while_in_use_loses_nothing_and_goes_on_at_its_price() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 20_000), PRICES, T0 + 20_000)
    meter = accrue(meter, [POD], answers(T0 + 200_000), listed(), T0 + 200_000)
    assert booked(meter) == {
        L40S.id: Phases(starting=20_000, idle=180_000, terminating=10_000),
    }
    cost = cost_of(meter.rows)
    assert cost is not None
    assert cost.spent == 210_000 * 1_861_000


def test_a_pod_woken_as_its_class_was_deleted_is_billed_at_the_price_it_was_placed_at() -> None:
    """The Deployment still names the class when the gateway wakes it: with no price all of `spent` would be unknown."""
    placed = stay_on(Meter(always_on_ms=T0), TARIFF, 1, T0 + 1_000)
    woken = noted(placed, [RUNS], listed(), T0 + 20_000)
    assert woken.live[0].price == L40S


def test_a_price_that_was_written_down_late_does_not_reach_into_settled_busy_time() -> None:
    """What was folded cannot be told apart any more; it stays at the price it was folded at."""
    busy = (T0 + 20_000, None)
    meter = accrue(Meter(), [RUNS], answers(T0 + 60_000, busy), PRICES, T0 + 60_000)
    late = replace(fixed(L40S), rows=((0, L40S), (T0 + 30_000, DEARER)))
    meter = accrue(meter, [RUNS], answers(T0 + 70_000, busy), lambda *_: late, T0 + 70_000)
    found = {
        row.price.id: row.phases for row in totals(meter, answers(T0 + 70_000, busy), T0 + 70_000)
    }
    settled = 60_000 - BUSY_SETTLE_MS
    assert found[L40S.id] == Phases(20_000, 2 * (settled - 20_000), 20_000)
    assert found[DEARER.id] == Phases(busy=2 * (70_000 - settled))


@pytest.mark.parametrize(
    ("step", "least", "extra"),
    [(0, 0, 0), (1, 60, 0), (60, 0, 15_000), (60, 300, 195_000), (0, 300, 195_000), (105, 0, 0)],
)
def test_a_lifetime_is_rounded_up_once_when_it_is_over(step: int, least: int, extra: int) -> None:
    """It lasts 105 s, on two GPUs."""
    coarse = replace(L40S, granularity_s=step, minimum_s=least)
    meter = accrue(Meter(), [RUNS], answers(T0 + 60_000), listed(coarse), T0 + 60_000)
    assert meter.rows == ()
    meter = accrue(meter, [POD], answers(T0 + 200_000), listed(coarse), T0 + 200_000)
    (row,) = meter.rows
    assert (row.phases.accrued, row.rounding) == (210_000, 2 * extra)
    cost = cost_of(meter.rows)
    assert cost is not None
    assert cost.spent == (210_000 + 2 * extra) * 1_861_000


def test_a_pod_of_a_class_without_a_price_has_no_cost_instead_of_none_at_all() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 20_000), listed(), T0 + 20_000)
    assert meter.live[0].price == Price("l40s@unknown", "l40s")
    assert rate(meter) is None
    assert cost_of(totals(meter, Demand(), T0 + 20_000)) is None
    assert cost_of(meter.rows) == Cost(), "what is settled so far is known"


def test_until_a_pod_is_booked_the_meter_can_be_read_at_any_instant_of_its_life() -> None:
    """What a controller that was away over the edge of an hour needs."""
    at = T0 + 300_000
    meter = noted(Meter(), [POD], PRICES, at)
    assert meter.rows == ()
    for ms, phases in [
        (-5, Phases()),
        (4_000, Phases(starting=8_000)),
        (50_000, Phases(20_000, 0, 80_000)),
        (102_000, Phases(20_000, 0, 180_000, 4_000)),
        (200_000, Phases(20_000, 0, 180_000, 10_000)),
    ]:
        (row,) = totals(meter, answers(at), T0 + ms)
        assert row.phases == phases


def test_a_price_that_is_not_known_is_named_while_a_pod_runs_at_it() -> None:
    meter = accrue(Meter(), [RUNS], answers(T0 + 20_000), listed(), T0 + 20_000)
    assert unpriced(meter) == ("l40s@unknown",)
    priced = accrue(Meter(), [RUNS], answers(T0 + 20_000), PRICES, T0 + 20_000)
    assert unpriced(priced) == ()


def test_a_sleeping_endpoint_costs_nothing_per_hour() -> None:
    assert rate(Meter()) == 0


@pytest.mark.parametrize(
    ("pod", "per_hour"),
    [
        pytest.param(RUNS, 2 * 1_861_000, id="running"),
        pytest.param(replace(RUNS, first_ready_ms=None), 2 * 1_861_000, id="starting"),
        pytest.param(replace(RUNS, deleted_ms=T0 + 50_000), 2 * 1_861_000, id="terminating"),
        pytest.param(replace(POD, gone_ms=None), 0, id="finished and not yet booked"),
        pytest.param(replace(RUNS, gpu_class="h100", gpus=1), 6_880_000, id="another class"),
    ],
)
def test_the_rate_counts_pods_that_hold_a_gpu(pod: PodSeen, per_hour: int) -> None:
    meter = accrue(Meter(), [pod], Demand((), ("gateway-0",)), PRICES, T0 + 106_000)
    assert len(meter.live) == 1
    assert rate(meter) == per_hour


def test_the_same_pod_told_twice_in_one_pass_is_one_pod() -> None:
    meter = accrue(Meter(), [RUNS, RUNS], answers(T0 + 20_000), PRICES, T0 + 20_000)
    assert len(meter.live) == 1


def test_never_sleeping_is_counted_from_the_first_pass_on() -> None:
    meter = stay_on(Meter(), TARIFF, 4, T0)
    assert (meter.rows, meter.always_on_ms) == ((), T0)
    meter = stay_on(meter, TARIFF, 4, T0 + 3_600_000)
    assert meter.rows == (Row(L40S, always_on=4 * 3_600_000),)
    assert always_on_micro_ms(meter.rows) == 4 * 1_861_000 * 3_600_000


def test_never_sleeping_follows_the_price_of_each_stretch() -> None:
    dated = replace(TARIFF, rows=((0, L40S), (T0 + 7, DEARER)))
    meter = stay_on(stay_on(Meter(), dated, 1, T0), dated, 1, T0 + 5)
    meter = stay_on(meter, dated, 1, T0 + 9)
    meter = stay_on(meter, fixed(H100), 2, T0 + 12, before=DEARER)
    meter = stay_on(meter, fixed(H100), 2, T0 + 20, before=H100)
    found = {row.price.id: row.always_on for row in meter.rows}
    assert found == {L40S.id: 7, DEARER.id: 2 + 2 * 3, H100.id: 16}


@given(st.lists(st.integers(-5_000, 60_000), min_size=1, max_size=30))
def test_never_sleeping_moves_forward_only_however_often_it_is_counted(jumps: list[int]) -> None:
    meter, instants = stay_on(Meter(), TARIFF, 3, T0), [T0]
    for jump in jumps:
        instants.append(instants[-1] + jump)
        meter = stay_on(meter, TARIFF, 3, instants[-1])
        assert stay_on(meter, TARIFF, 3, instants[-1]) == meter
    assert sum(row.always_on for row in meter.rows) == 3 * (max(instants) - T0)
    assert meter.always_on_ms == max(instants)
