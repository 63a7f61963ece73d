"""Traces as they are published, and sentences about those that are wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from torpor.simulate.formats import FORMATS, read_trace
from torpor.simulate.reading import BadTrace, text_of

DATA = Path(__file__).parents[2] / "bench" / "data"
MINUTES = ",".join(str(k) for k in range(1, 1441))


def functions(*counts: tuple[int, int], trigger: bool = True) -> str:
    """One function with so many calls in each of these minutes (from 1)."""
    cells = ["0"] * 1440
    for minute, calls in counts:
        cells[minute - 1] = str(calls)
    head = "HashOwner,HashApp,HashFunction," + ("Trigger," if trigger else "") + MINUTES
    return f"{head}\no,a,f,{'timer,' if trigger else ''}{','.join(cells)}\n"


SMALL = {
    "azure-functions": functions((2, 1), (700, 3)),
    "azure-llm": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,5000,30\n"
    "2023-11-16 18:17:04.4799600,10000,60\n",
    "servegen": "0,0.01,1.2,Gamma,0.6,55.1\n600,0,0,,0,0\n1200,0.02,2.8,Weibull,0.7,20\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,5000,30,5030,Conversation log\n7,GPT-4,0,60,60,API log\n",
    "csv": "endpoint,arrival_s,service_s\nb,10,2\na,3.5,1\nb,4,1\n",
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_known_by_its_header(form: str) -> None:
    found = read_trace(SMALL[form], "t.csv")
    assert found == read_trace(SMALL[form], "t.csv", form)
    assert found.requests > 0
    for endpoint in found.endpoints:
        assert list(endpoint.arrivals) == sorted(endpoint.arrivals)
        assert all(0 <= at <= found.length_s for at in endpoint.arrivals)
        assert all(lasts > 0 for lasts in endpoint.services)


def test_calls_fall_into_their_minute() -> None:
    found = read_trace(SMALL["azure-functions"], "t.csv")
    assert (found.length_s, found.requests) == (86_400, 4)
    assert [int(at // 60) + 1 for at in found.endpoints[0].arrivals] == [2, 700, 700, 700]
    other = functions((2, 1)).replace("HashFunction,Trigger,1,", "HashFunction,Trigger,minute_1,")
    assert read_trace(other, "t.csv").requests == 1


def test_tokens_become_seconds_and_the_clock_the_hour() -> None:
    found = read_trace(SMALL["azure-llm"], "t.csv")
    assert list(found.endpoints[0].arrivals) == [0.0, pytest.approx(0.5)]
    assert list(found.endpoints[0].services) == [pytest.approx(2.0), pytest.approx(4.0)]
    assert found.start_hour == pytest.approx(18 + 17 / 60)


def test_arrivals_are_drawn_by_window() -> None:
    found = read_trace(SMALL["servegen"], "t.csv")
    (client,) = found.endpoints
    assert (found.length_s, len(client.arrivals)) == (86_400, 6 + 12)
    assert all(at < 600 or 1200 <= at < 1800 for at in client.arrivals)


def test_a_model_is_an_endpoint_and_elapsed_time_counts_if_it_is_told() -> None:
    found = read_trace(SMALL["burstgpt"], "t.csv")
    assert {e.name: list(e.services) for e in found.endpoints} == {
        "ChatGPT": [pytest.approx(2.0)],
        "GPT-4": [pytest.approx(2.0)],
    }
    newer = (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,1,12.5,ChatGPT,10,20,30,Conversation log\n"
    )
    assert list(read_trace(newer, "t.csv").endpoints[0].services) == [12.5]


def test_ones_own_trace_may_leave_out_how_long_answers_take() -> None:
    found = read_trace("endpoint,arrival_s\na,3\n", "t.csv")
    assert len(found.endpoints[0].services) == 1
    sorted_ones = read_trace(SMALL["csv"], "t.csv")
    assert [(e.name, list(e.arrivals)) for e in sorted_ones.endpoints] == [
        ("b", [4.0, 10.0]),
        ("a", [3.5]),
    ]


@pytest.mark.parametrize(
    ("form", "text", "sentence"),
    [
        ("auto", "a,b\n1,2\n", "t.csv line 1: no known form; expected one of azure-functions: columns"),
        ("auto", "", "t.csv line 1: no known form"),
        ("csv", "a,b\n1,2\n", "t.csv line 1: not csv; expected columns endpoint, arrival_s and"),
        ("auto", "endpoint,arrival_s\n", "t.csv: has no request"),
        (
            "auto",
            "endpoint,arrival_s\na,1\n\na,soon\n",
            "t.csv line 4: arrival_s 'soon': expected a number of at least 0",
        ),
        ("auto", "endpoint,arrival_s\na,-1\n", "t.csv line 2: arrival_s '-1': expected a number"),
        ("auto", "endpoint,arrival_s\na,nan\n", "t.csv line 2: arrival_s 'nan': expected a number"),
        ("auto", "endpoint,arrival_s\na\n", "t.csv line 2: arrival_s '': expected a number"),
        ("auto", 'endpoint,arrival_s\n"a,1\n', "t.csv line 2: unexpected end of data; expected CSV"),
        ("auto", functions((3, 1)).replace(",1,", ",x,").replace(",x,2", ",1,2", 1),
         "t.csv line 2: 3 'x': expected a number of at least 0"),
        ("auto", "0,0.1,1,Pareto,1,1\n", "t.csv line 1: pattern 'Pareto': expected Gamma or Weibull"),
        ("auto", "0,0.1,1,Gamma,0,1\n", "t.csv line 1: shape '0.0': expected a number above 0"),
        (
            "auto",
            "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n",
            "t.csv line 2: TIMESTAMP 'yesterday': expected an instant such as 2023-11-16",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(form: str, text: str, sentence: str) -> None:
    with pytest.raises(BadTrace) as caught:
        read_trace(text, "t.csv", form)
    assert str(caught.value).startswith(sentence)


def test_a_compressed_file_is_unpacked_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(SMALL["csv"].encode()))
    assert text_of(path) == SMALL["csv"]
    path.write_bytes(gzip.compress(SMALL["csv"].encode())[:-9])
    with pytest.raises(BadTrace, match="cannot be read"):
        text_of(path)
    with pytest.raises(BadTrace, match=r"none\.csv cannot be read"):
        text_of(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("file", "endpoints", "requests"),
    [
        ("azure-functions-2019.csv.gz", 528, 121_861),
        ("servegen-2025.csv.gz", 27, 309_656),
        ("azure-llm-2023-code.csv.gz", 1, 8_819),
        ("azure-llm-2023-conv.csv.gz", 1, 19_366),
    ],
)
def test_the_shipped_traces_are_whole(file: str, endpoints: int, requests: int) -> None:
    found = read_trace(text_of(DATA / file), file)
    assert (len(found.endpoints), found.requests) == (endpoints, requests)
