from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torpor.api.conditions import Reason
from torpor.api.status import CostStatus, EndpointStatus, TokensStatus, WeightsStatus
from torpor.domain.bookkeeping import ledger_words, meter_of, window_words, windows_of
from torpor.domain.egress import Egress, Route
from torpor.domain.failing import Failure
from torpor.domain.ledger import (
    WHOLE,
    Cost,
    LivePod,
    Meter,
    NodeStay,
    Price,
    Row,
    Segment,
    Settled,
    Tenant,
)
from torpor.domain.money import lowest
from torpor.domain.observation import Demand, GatewayReport, Tokens
from torpor.domain.phases import Phases
from torpor.domain.prewarmjobs import Weights
from torpor.domain.remembering import (
    UNHEARD,
    epoch_ms,
    failure_of,
    failure_words,
    moment,
    tokens_counted,
    weights_of,
)
from torpor.domain.windows import Mark, Reading, Windows

NOW = 1_800_000_000_000
INSTANT = st.integers(0, 4_000_000_000_000)
GPU_MS = st.integers(0, 10**15)
MAYBE = st.none() | INSTANT
NAME = st.from_regex(r"[a-z0-9][-a-z0-9]{0,8}", fullmatch=True)
PRICE = st.builds(
    Price,
    id=NAME,
    gpu_class=NAME,
    capacity_type=st.sampled_from(["on-demand", "spot"]),
    currency=st.sampled_from(["USD", "EUR"]),
    micro_per_hour=st.none() | st.integers(0, 10**9),
    granularity_s=st.sampled_from([0, 60]),
    minimum_s=st.sampled_from([0, 60]),
    fraction=st.sampled_from([WHOLE, Fraction(1, 7), Fraction(3, 64)]),
    whole_node=st.booleans(),
)
EXACT = GPU_MS | st.builds(Fraction, GPU_MS, st.integers(1, 64)).map(lowest)


ROUTE = st.builds(
    Route, NAME, NAME, st.sampled_from(["USD", "EUR"]), st.none() | st.integers(0, 10**9), GPU_MS
)
EGRESS = st.builds(
    Egress,
    st.lists(ROUTE, max_size=3, unique_by=lambda route: route.id).map(tuple),
    st.lists(st.tuples(NAME, INSTANT), max_size=3).map(tuple),
)


@st.composite
def meters(draw: st.DrawFn) -> Meter:
    """Any meter whose live pods' prices have rows, as from its first pass after a write."""
    prices = draw(st.lists(PRICE, min_size=1, max_size=4, unique_by=lambda price: price.id))
    phases = st.builds(Phases, GPU_MS, GPU_MS, GPU_MS, GPU_MS, GPU_MS)
    segment = st.builds(Segment, st.sampled_from(prices), INSTANT, INSTANT)
    segments = st.lists(segment, min_size=1, max_size=3).map(tuple)
    cost = st.builds(Cost, EXACT, EXACT, EXACT, EXACT, EXACT, EXACT, unused=EXACT, node=EXACT)
    tenant = st.builds(
        Tenant, NAME, st.integers(1, 8), INSTANT, MAYBE, st.booleans(), st.booleans()
    )
    priced = st.builds(Segment, st.sampled_from(prices), INSTANT)
    stay = st.builds(
        NodeStay, NAME, NAME, st.integers(1, 16), INSTANT,
        st.lists(priced, min_size=1, max_size=3).map(tuple),
        MAYBE, st.lists(tenant, max_size=3).map(tuple),
    )  # fmt: skip
    settled = st.builds(
        Settled,
        st.integers(1, 99),
        phases,
        GPU_MS,
        GPU_MS,
        st.just("EUR"),
        cost,
        EXACT,
        GPU_MS,
        GPU_MS,
    )
    row = st.builds(Row, st.just(prices[0]), phases, GPU_MS, GPU_MS, GPU_MS, GPU_MS)
    live = st.builds(
        LivePod, NAME, NAME, st.integers(1, 8), INSTANT, segments,
        MAYBE, MAYBE, MAYBE, INSTANT,
    )  # fmt: skip
    return Meter(
        rows=tuple(replace(draw(row), price=price) for price in prices),
        live=tuple(draw(st.lists(live, max_size=4, unique_by=lambda pod: pod.uid))),
        closed=tuple(draw(st.lists(st.tuples(NAME, INSTANT), max_size=3))),
        always_on_ms=draw(MAYBE),
        estimated_ms=draw(GPU_MS),
        settled=draw(st.just(Settled()) | settled),
        egress=draw(EGRESS),
        nodes=tuple(draw(st.lists(stay, max_size=2, unique_by=lambda node: node.uid))),
    )


def stored(meter: Meter) -> CostStatus:
    """The meter as the API server keeps it: written as JSON, and read again by another process."""
    cost = CostStatus.model_validate(ledger_words(meter))
    words = json.loads(json.dumps(EndpointStatus(cost=cost).to_dict()))
    return EndpointStatus.model_validate(words).cost


@given(meter=meters())
def test_a_meter_survives_the_status_unchanged(meter: Meter) -> None:
    assert meter_of(stored(meter)) == meter


READING = st.builds(
    Reading,
    st.builds(Phases, GPU_MS, GPU_MS, GPU_MS, GPU_MS, GPU_MS),
    st.none() | st.integers(0, 10**22) | EXACT,
    GPU_MS,
    GPU_MS,
)
MARK = st.builds(Mark, INSTANT, READING)


@given(st.builds(Windows, st.lists(MARK, max_size=3).map(tuple), st.none() | MARK))
def test_marks_survive_the_status_unchanged(windows: Windows) -> None:
    cost = CostStatus.model_validate(window_words(windows))
    words = json.loads(json.dumps(EndpointStatus(cost=cost).to_dict()))
    assert windows_of(EndpointStatus.model_validate(words).cost) == windows


@settings(max_examples=30)
@given(meter=meters())
def test_a_price_that_only_live_pods_have_is_kept_in_a_row_that_adds_nothing(meter: Meter) -> None:
    bare = Meter(live=meter.live)
    again = meter_of(stored(bare))
    assert again.live == bare.live
    assert {row.price for row in again.rows} == {
        segment.price for pod in bare.live for segment in pod.segments
    }
    assert all(row == Row(row.price) for row in again.rows)
    assert meter_of(stored(again)) == again


def test_no_status_is_an_empty_meter() -> None:
    assert meter_of(CostStatus()) == Meter()


def test_a_live_pod_whose_row_is_gone_keeps_its_price_id_and_its_class() -> None:
    words = {
        "live": [
            {"uid": "a", "prices": [{"priceId": "l40s@1", "fromMs": 5}], "gpus": 2, "startMs": 5}
        ]
    }
    assert meter_of(CostStatus.model_validate(words)).live == (
        LivePod("a", "", 2, 5, (Segment(Price("l40s@1", "l40s"), 5),)),
    )


@given(at=INSTANT)
def test_an_instant_survives_to_the_millisecond(at: int) -> None:
    assert epoch_ms(moment(at)) == at
    assert moment(at).tzinfo is UTC


@given(
    failure=st.builds(
        Failure,
        reason=st.sampled_from(list(Reason)).map(str),
        message=st.text(max_size=40),
        count=st.integers(1, 99),
        at_ms=INSTANT,
        retry_at_ms=st.integers(1, 4_000_000_000_000),
        generation=st.integers(0, 99),
        pod=NAME,
    )
)
def test_a_failure_survives_the_status_unchanged(failure: Failure) -> None:
    status = EndpointStatus(failure=failure_words(failure))
    again = EndpointStatus.model_validate(json.loads(json.dumps(status.to_dict())))
    assert failure_of(again.failure) == failure


def test_no_failure_stays_none() -> None:
    assert failure_of(failure_words(None)) is None


@given(
    weights=st.builds(
        Weights,
        spec=NAME,
        hash=NAME | st.just(""),
        bytes=GPU_MS,
        files=st.integers(0, 999),
        verified=st.sampled_from(["", "crc64nvme"]),
        attempt=st.integers(1, 99),
    )
)
def test_a_listing_survives_the_status_unchanged(weights: Weights) -> None:
    words = WeightsStatus(
        hash=weights.hash or None,
        spec=weights.spec,
        attempt=weights.attempt,
        bytes=weights.bytes or None,
        files=weights.files or None,
        verified=weights.verified or None,
    )
    assert weights_of(words) == weights
    assert weights_of(WeightsStatus()) == Weights()


def report(
    name: str, prompt: int, completion: int, started: int = 1, cached: int = 0
) -> GatewayReport:
    return GatewayReport(name, NOW, started, tokens=Tokens(prompt, completion, cached))


def counted(*demands: Demand) -> TokensStatus:
    tokens = TokensStatus()
    for demand in demands:
        tokens = TokensStatus.model_validate(tokens_counted(tokens, demand).to_dict())
    return tokens


@pytest.mark.parametrize(
    ("demands", "prompt", "completion"),
    [
        pytest.param([Demand((report("a", 10, 5),))], 10, 5, id="first seen"),
        pytest.param([Demand((report("a", 10, 5),))] * 3, 10, 5, id="the same again"),
        pytest.param([Demand((report("a", 10, 5),)), Demand((report("a", 12, 9),))], 12, 9,
                     id="grown"),
        pytest.param([Demand((report("a", 10, 5), report("b", 1, 1)))], 11, 6, id="two gateways"),
        pytest.param([Demand((report("a", 10, 5),)), Demand((report("a", 2, 1, started=9),))],
                     12, 6, id="restarted under its name"),
        pytest.param([Demand((report("a", 10, 5),)), Demand((report("b", 2, 1),))], 12, 6,
                     id="replaced by another"),
        pytest.param([Demand((report("a", 10, 5),)), Demand()], 10, 5, id="gone, none is left"),
        pytest.param(
            [Demand((report("a", 10, 5), report("b", 1, 1))), Demand((report("b", 2, 2),)),
             Demand((report("a", 11, 6), report("b", 2, 2)))],
            13, 8, id="out of sight and back: counted on, not anew",
        ),
        pytest.param([Demand((report("a", 10, 5),)), Demand((report("a", 7, 5),))], 10, 5,
                     id="an older word adds nothing"),
        pytest.param(
            [Demand((report("a", 10, 5),)), Demand((report("a", 7, 3),)),
             Demand((report("a", 11, 6),))],
            11, 6, id="an older word in between is not counted from",
        ),
        pytest.param(
            [Demand((report("a", 10, 5),)), Demand((report("a", 0, 0),)),
             Demand((report("a", 10, 5),))],
            10, 5, id="for a moment it says nothing of the endpoint",
        ),
        pytest.param([Demand((report("a", 10, 5),)), Demand((report("a", 9, 8),))], 10, 8,
                     id="each of the two counters by itself"),
        pytest.param([Demand((report("a", 10, 5),)), Demand((), ("a",)),
                      Demand((report("a", 11, 5),))], 11, 5, id="unreachable and back"),
    ],
)  # fmt: skip
def test_every_token_is_counted_once(demands: list[Demand], prompt: int, completion: int) -> None:
    tokens = counted(*demands)
    assert (tokens.prompt, tokens.completion) == (prompt, completion)


def test_what_engines_had_cached_is_counted_once_too_and_absent_while_nobody_says_it() -> None:
    assert counted(Demand((report("a", 10, 5),))).cached is None
    first = Demand((report("a", 10, 5, cached=4),))
    more = Demand((report("a", 30, 9, cached=20), report("b", 5, 1, cached=1)))
    assert counted(first).cached == 4
    assert counted(first, first, more, more).cached == 21
    anew = Demand((report("a", 3, 1, started=9, cached=2),))
    assert counted(first, more, anew).cached == 23


def test_gateways_long_gone_do_not_fill_the_status() -> None:
    many = [Demand((report(f"gw-{n:03}", 1, 0, started=n),)) for n in range(100)]
    tokens = counted(*many)
    assert tokens.prompt == 100
    assert len(tokens.sources) == UNHEARD + 1
    assert tokens.sources[-1].gateway == "gw-099"


def test_the_instants_are_those_of_the_clock() -> None:
    assert moment(NOW + 123) == datetime(2027, 1, 15, 8, 0, 0, 123_000, tzinfo=UTC)
    assert epoch_ms(None) is None
