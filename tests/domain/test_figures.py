from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from torpor.api.status import CostStatus, TokensStatus
from torpor.domain.catalogue import price_of
from torpor.domain.figures import cost_words, display_words, placement_words
from torpor.domain.ledger import LivePod, Meter, Row, Segment, folded
from torpor.domain.observation import Demand, GatewayReport, PodSeen
from torpor.domain.phases import Phases
from torpor.domain.placement import GPUClassView, Placement, Rejected
from torpor.domain.windows import Mark, Reading, Windows

NOW_MS = 1_800_000_000_000
NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
SINCE = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = 3_600_000
L40S = GPUClassView(
    "l40s", "nvidia.com/gpu", 48 * 1024**3, 8, (), "r", "DE", "on-demand", 1_800_000, "EUR"
)
POD = PodSeen("a", "a", 1, "l40s", ready=True)
LIVE = LivePod(
    "a",
    "a",
    gpus=2,
    start_ms=NOW_MS - HOUR,
    segments=(Segment(price_of(L40S), NOW_MS - HOUR),),
    first_ready_ms=NOW_MS - HOUR // 2,
    busy_through_ms=NOW_MS - HOUR // 2,
)
NO_WINDOWS = Windows()
NOBODY = Demand((GatewayReport("gw", NOW_MS, 0),))


def words(
    meter: Meter, tokens: TokensStatus | None = None, windows: Windows = NO_WINDOWS
) -> CostStatus:
    return cost_words(meter, windows, NOBODY, tokens or TokensStatus(), "EUR", SINCE, NOW)


def test_nothing_costs_nothing() -> None:
    cost = words(Meter())
    assert (cost.per_second, cost.per_hour, cost.spent, cost.saved) == ("0", "0", "0", "0")
    assert cost.per_million_tokens is None
    assert (cost.as_of, cost.since) == (NOW, SINCE)


def test_what_runs_costs_its_price_times_its_gpus_from_its_scheduling_on() -> None:
    cost = words(Meter(live=(LIVE,)), TokensStatus(prompt=1_000_000, completion=1_000_000))
    assert (cost.per_second, cost.per_hour, cost.spent) == ("0.001", "3.6", "3.6")
    assert (cost.gpu_ms.starting, cost.gpu_ms.idle, cost.gpu_ms.total) == (HOUR, HOUR, 2 * HOUR)
    assert cost.per_million_tokens == "1.8"


def test_saved_is_what_never_sleeping_would_have_cost_more() -> None:
    row = Row(price_of(L40S), Phases(idle=HOUR), always_on=10 * HOUR)
    cost = words(Meter(rows=(row,)))
    assert (cost.spent, cost.saved) == ("1.8", "16.2")
    assert words(Meter(rows=(replace(row, always_on=0),))).saved == "-1.8"


def test_an_unknown_price_is_never_shown_as_a_figure() -> None:
    free = price_of(replace(L40S, micro_per_hour=None))
    cost = words(
        Meter(live=(replace(LIVE, segments=(Segment(free, LIVE.start_ms),)),)),
        TokensStatus(prompt=9),
    )
    figures = (cost.per_second, cost.per_hour, cost.spent, cost.saved, cost.per_million_tokens)
    assert figures == (None,) * 5
    assert cost.gpu_ms.total == 2 * HOUR  # what is measured is still told


def test_what_was_spent_is_told_by_what_it_was_spent_on_folded_rows_included() -> None:
    used = Phases(
        starting=4 * HOUR, busy=3 * HOUR, idle=2 * HOUR, terminating=HOUR, failed_starting=HOUR
    )
    rows = tuple(
        Row(price_of(replace(L40S, micro_per_hour=n)), used, rounding=HOUR)
        for n in (10**6, 2 * 10**6)
    )
    for meter in (Meter(rows), folded(Meter(rows), most=1)):
        cost = words(meter)
        assert cost.by_phase is not None
        parts = cost.by_phase.to_dict()
        assert parts == {
            "starting": "12", "busy": "9", "idle": "6", "terminating": "3",
            "failedStarts": "3", "rounding": "3",
        }  # fmt: skip
        assert (cost.spent, cost.gpu_ms.total) == ("33", 20 * HOUR)


def test_a_window_is_what_came_since_its_mark() -> None:
    row = Row(price_of(L40S), Phases(idle=10 * HOUR))
    spent = 4 * HOUR * 1_800_000
    before = Reading(Phases(idle=4 * HOUR), spent, prompt=600_000, completion=400_000)
    windows = Windows((Mark(NOW_MS - 30 * HOUR, before),), Mark(NOW_MS - 300 * HOUR, Reading()))
    cost = words(Meter((row,)), TokensStatus(prompt=1_200_000, completion=800_000), windows)
    day, month = cost.last_day, cost.month
    assert day is not None
    assert month is not None
    assert (day.spent, day.per_million_tokens, day.gpu_ms.idle) == ("10.8", "10.8", 6 * HOUR)
    assert (day.prompt, day.completion) == (600_000, 400_000)
    assert day.since == datetime(2027, 1, 14, 8, 0, tzinfo=UTC)
    assert (month.spent, month.per_million_tokens) == (cost.spent, cost.per_million_tokens)


def test_a_million_tokens_are_also_counted_in_other_ways() -> None:
    row = Row(price_of(L40S), Phases(starting=HOUR, busy=5 * HOUR, idle=4 * HOUR))
    cost = words(Meter((row,)), TokensStatus(prompt=6_000_000, completion=3_000_000))
    assert (cost.spent, cost.per_million_tokens) == ("18", "2")
    prices = cost.token_prices
    assert prices is not None
    assert (prices.busy, prices.answer, prices.input, prices.output) == ("1", "6", "1", "4")
    assert prices.method == "an answer token costs as much as 4 prompt tokens"


def test_without_answers_or_without_tokens_there_is_nothing_to_divide_by() -> None:
    meter = Meter((Row(price_of(L40S), Phases(idle=HOUR)),))
    assert words(meter).token_prices is None
    prices = words(meter, TokensStatus(prompt=1_000_000)).token_prices
    assert prices is not None
    assert (prices.answer, prices.input) == (None, "1.8")


def test_amounts_in_two_currencies_are_never_added() -> None:
    rows = [Row(price_of(replace(L40S, currency=c)), Phases(idle=HOUR)) for c in ("EUR", "USD")]
    cost = words(Meter(tuple(rows)))
    assert (cost.spent, cost.saved, cost.by_phase) == (None, None, None)
    assert words(Meter((rows[0], replace(rows[1], phases=Phases())))).spent == "1.8"


def test_a_pod_that_has_ended_costs_nothing_more() -> None:
    ended = replace(LIVE, deleted_ms=NOW_MS - 60_000, finished_ms=NOW_MS - 30_000)
    cost = words(Meter(live=(ended,)))
    assert cost.per_hour == "0"
    assert cost.gpu_ms.terminating == 2 * 30_000


@pytest.mark.parametrize(
    "other",
    [
        replace(L40S, name="h100"),
        replace(L40S, micro_per_hour=1_800_001),
        replace(L40S, micro_per_hour=None),
        replace(L40S, capacity_type="spot"),
        replace(L40S, currency="USD"),
        replace(L40S, granularity_s=60),
        replace(L40S, minimum_s=60),
    ],
    ids=["class", "price", "no price", "capacity type", "currency", "step", "least"],
)
def test_another_price_is_another_row(other: GPUClassView) -> None:
    assert price_of(other).id != price_of(L40S).id
    assert price_of(replace(L40S, vram=1, region="x")) == price_of(L40S)


@pytest.mark.parametrize(
    ("placement", "pods", "replicas", "gpu"),
    [
        (Placement(L40S, 1), (), "0/3", "l40s"),
        (Placement(L40S, 4), (POD, replace(POD, uid="b")), "2/3", "4×l40s"),
        (Placement(L40S, 1), (replace(POD, ready=False),), "0/3", "l40s"),
        (Placement(L40S, 1), (replace(POD, gone_ms=NOW_MS),), "0/3", "l40s"),
        (Placement(None), (), "0/3", None),
    ],
    ids=["asleep", "two replicas of four GPUs", "starting", "gone", "not placed"],
)
def test_the_columns_say_what_runs_and_on_what(
    placement: Placement, pods: tuple[PodSeen, ...], replicas: str, gpu: str | None
) -> None:
    cost = CostStatus(per_second="0.0005169444")
    shown = display_words(placement, pods, 3, "llama", cost)
    assert (shown.replicas, shown.gpu, shown.model) == (replicas, gpu, "llama")
    assert shown.cost_per_second == "0.000517"


def test_the_placement_names_what_was_passed_over() -> None:
    rejected = (Rejected("t4", "needs 41.2 GiB, has 14.4 GiB"),)
    placed = placement_words(Placement(L40S, 2, 44 * 1024**3, ("n",), rejected))
    assert placed.to_dict() == {
        "class": "l40s",
        "gpus": 2,
        "needBytes": 44 * 1024**3,
        "priceId": "l40s/on-demand@1800000EUR",
        "rejected": [{"class": "t4", "why": "needs 41.2 GiB, has 14.4 GiB"}],
    }
    assert placement_words(Placement(None)).to_dict() == {"rejected": []}
