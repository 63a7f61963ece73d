"""A statement says what the status says, exactly, and a sentence for whatever it cannot say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.metered_world import TruePod
from tests.report.world import (
    EURO,
    HOUR,
    L40S,
    MINUTE,
    ROUNDED,
    UNPRICED,
    at,
    endpoint,
    every,
    pod,
    used,
    written,
)
from torpor.api.status import CostStatus, TokensStatus
from torpor.domain import money
from torpor.domain.monthly import Month, Reach, month_named
from torpor.report.statement import metered_of, state

MADE = at("2026-10-31T05:20")
OCTOBER, NOVEMBER, DECEMBER = (month_named(f"2026-{number}") for number in (10, 11, 12))


@st.composite
def lives(draw: st.DrawFn) -> list[TruePod]:
    """Pods of one endpoint, at most three at once, over about three days around the turn of a month."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        start = MADE + draw(st.integers(0, 4_000)) * 60_000 + draw(st.integers(0, 59)) * 1000
        lasts = draw(st.integers(60, 30_000)) * 1000
        ready = draw(st.integers(5, 50)) * 1000
        found.append(pod(f"p{number}", start, ready, lasts, draw(st.integers(1, 3))))
    return found


PAUSES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


def instants(pauses: list[int]) -> list[int]:
    found, now = [], MADE
    for pause in pauses:
        now += pause * MINUTE
        found.append(now)
    return found


@settings(deadline=None, max_examples=60)
@given(lives(), PAUSES)
def test_the_month_is_exact_and_agrees_with_the_status(
    pods: list[TruePod], pauses: list[int]
) -> None:
    passes = instants(pauses)
    now = passes[-1]
    cost, tokens = written(pods, MADE, passes)
    (line,) = state([endpoint("x", cost, tokens)], month_of_last(now), now).lines
    total = line.use.total
    assert cost.month is not None
    assert money.amount(total.spent) == cost.month.spent
    assert total.phases.accrued == cost.month.gpu_ms.total
    assert (total.prompt, total.completion) == (cost.month.prompt, cost.month.completion)
    begin = max(MADE, month_of_last(now).start_ms)
    assert total.spent == used(pods, begin, now) * 1_861_000
    for piece in line.use.slices:
        assert piece.use.spent == used(pods, piece.start_ms, piece.end_ms) * 1_861_000


def month_of_last(now: int) -> Month:
    return OCTOBER if now < OCTOBER.end_ms else NOVEMBER


@settings(deadline=None, max_examples=40)
@given(lives(), PAUSES)
def test_slices_add_up_where_the_provider_rounds_lifetimes_up(
    pods: list[TruePod], pauses: list[int]
) -> None:
    passes = instants(pauses)
    cost, tokens = written(pods, MADE, passes, ROUNDED)
    metered = metered_of(cost, tokens)
    assert metered is not None
    assert money.amount(metered.total.spent) == cost.spent
    lines = state([endpoint("x", cost, tokens)], month_of_last(passes[-1]), passes[-1]).lines
    use = lines[0].use
    assert sum(piece.use.spent or 0 for piece in use.slices) == use.total.spent


def test_figures_rounded_to_a_millisecond_that_as_of_is_cut_from_are_still_exact() -> None:
    now = MADE + HOUR
    cost, tokens = written([pod("p", MADE, 9_000, 2 * HOUR, gpus=3)], MADE, [now])
    cut = cost.model_copy(update={"as_of": cost.as_of and cost.as_of.replace(microsecond=0)})
    late = CostStatus.model_validate(
        cut.to_dict() | {"gpuMs": cut.gpu_ms.to_dict() | {"idle": cut.gpu_ms.idle + 3}}
    )
    metered = metered_of(late, tokens)
    assert metered is not None
    assert metered.total.spent == 3 * (HOUR + 1) * 1_861_000


def test_a_status_that_was_never_written_is_told_and_has_no_line() -> None:
    obj = endpoint("new", CostStatus(), TokensStatus())
    statement = state([obj], NOVEMBER, at("2026-11-26T12:00"))
    assert statement.lines == ()
    assert statement.notes == (
        "team-a/new has no figures yet: the controller has not written its status.",
    )


def test_an_object_that_cannot_be_read_is_named_and_the_others_are_counted() -> None:
    good = endpoint("good", *written([], MADE, [MADE + HOUR]))
    bad = endpoint("bad", *written([], MADE, [MADE + HOUR]))
    bad["status"]["cost"]["asOf"] = "yesterday"
    statement = state([bad, good], OCTOBER, MADE + HOUR)
    assert [line.endpoint for line in statement.lines] == ["good"]
    assert statement.faults == (
        "team-a/bad is left out: cost.asOf: 'yesterday' is not a time such as 2026-11-23T21:10:30Z",
    )


def test_an_unknown_price_leaves_the_cost_unknown_and_names_the_class() -> None:
    now = MADE + 3 * HOUR
    pods = [pod("p", MADE + HOUR, 9_000, HOUR, kind="b200")]
    cost, tokens = written(pods, MADE, every(10, MADE, now), UNPRICED)
    statement = state([endpoint("x", cost, tokens)], OCTOBER, now)
    assert statement.lines[0].use.total.spent is None
    assert statement.lines[0].use.total.phases.accrued == HOUR
    assert statement.notes == (
        "team-a/x: what it spent is unknown: GPUClass b200 has, or had, no price while a pod ran on it.",
    )


def test_two_currencies_of_one_endpoint_are_not_added() -> None:
    now = MADE + 5 * HOUR
    pods = [
        pod("a", MADE + HOUR, 9_000, HOUR),
        pod("b", MADE + 3 * HOUR, 9_000, HOUR, kind="l4"),
    ]
    cost, tokens = written(pods, MADE, every(10, MADE, now), L40S, EURO)
    statement = state([endpoint("x", cost, tokens)], OCTOBER, now)
    assert statement.lines[0].use.total.spent is None
    assert statement.notes == (
        "team-a/x: what it spent is unknown: its prices are in EUR and USD, and none is converted.",
    )


def test_a_month_of_which_only_the_last_hours_are_known_says_from_when() -> None:
    now = at("2026-12-01T06:00")
    cost, tokens = written(
        [pod("p", at("2026-11-20T00:00"), 9_000, 11 * 24 * HOUR)], MADE, every(240, MADE, now)
    )
    statement = state([endpoint("x", cost, tokens)], NOVEMBER, now)
    assert statement.lines[0].use.reach is Reach.PART
    assert statement.lines[0].use.total.spent == 18 * HOUR * 1_861_000
    assert statement.notes == (
        "team-a/x: only what it used after 2026-11-30T06:00:00Z is counted: readings before that are gone.",
    )
    assert state([endpoint("x", cost, tokens)], month_named("2026-09"), now).lines == ()


def test_an_endpoint_that_slept_since_tells_its_older_months_too() -> None:
    now, made = at("2026-12-05T06:00"), at("2026-10-05T00:00")
    cost, tokens = written([pod("p", made, 9_000, 24 * HOUR)], made, every(240, made, now))
    for month, spent in ((OCTOBER, 24 * HOUR * 1_861_000), (NOVEMBER, 0), (DECEMBER, 0)):
        (line,) = state([endpoint("x", cost, tokens)], month, now).lines
        assert (line.use.reach, line.use.total.spent) == (Reach.WHOLE, spent)


def test_a_month_that_no_reading_reaches_is_unknown_and_says_why() -> None:
    now, made = at("2026-12-05T06:00"), at("2026-10-05T00:00")
    pods = [pod("p", made, 9_000, 24 * HOUR), pod("q", now - 30 * HOUR, 9_000, 29 * HOUR)]
    cost, tokens = written(pods, made, every(240, made, now))
    statement = state([endpoint("x", cost, tokens)], OCTOBER, now)
    assert statement.lines[0].use.reach is Reach.NONE
    assert statement.lines[0].use.total.spent is None
    assert statement.notes == (
        "team-a/x: nothing is known of 2026-10: its status has readings of the day before "
        "2026-12-05T06:00:00Z and of the beginning of that month only.",
    )


@pytest.mark.parametrize(
    ("month", "note"),
    [
        (
            OCTOBER,
            "team-a/x: counted up to 2026-10-31T06:20:00Z, when its status was last written; a pod ran then. "
            "Is the controller running?",
        ),
        (
            NOVEMBER,
            "team-a/x: nothing is known of 2026-11: its status is of 2026-10-31T06:20:00Z, and a pod ran then.",
        ),
    ],
    ids=str,
)
def test_a_status_that_nobody_writes_any_more_is_told(month: Month, note: str) -> None:
    cost, tokens = written([pod("p", MADE, 9_000, 9 * HOUR)], MADE, [MADE + HOUR])
    statement = state([endpoint("x", cost, tokens)], month, at("2026-11-03T00:00"))
    assert statement.notes == (note,)
