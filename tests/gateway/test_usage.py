"""Tokens are read and the own usage chunk is taken out, however the network cuts the stream."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.engines import DONE, FIXED_CHUNKS, USAGE_CHUNK
from torpor.gateway.usage import LONGEST_EVENT, WINDOW, BodyUsage, StreamUsage, Used

STREAM = b"".join([b": warming\n\n", *FIXED_CHUNKS, USAGE_CHUNK, DONE])
WITHOUT = STREAM.replace(USAGE_CHUNK, b"")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(
    places=st.lists(st.integers(0, 10_000), max_size=20), strip=st.booleans(), crlf=st.booleans()
)
def test_any_cut_gives_the_same_bytes_and_tokens(
    places: list[int], strip: bool, crlf: bool
) -> None:
    data, wanted = STREAM, WITHOUT if strip else STREAM
    if crlf:
        data, wanted = data.replace(b"\n", b"\r\n"), wanted.replace(b"\n", b"\r\n")
    meter = StreamUsage(strip)
    got = b"".join(meter.feed(chunk) for chunk in cut(data, places)) + meter.finish()
    assert got == wanted
    assert meter.used == Used(7, 3)


def test_whole_events_are_never_held_back() -> None:
    meter = StreamUsage(strip=True)
    assert meter.feed(FIXED_CHUNKS[0] + b"data: {") == FIXED_CHUNKS[0]
    assert meter.feed(b"}\n\n") == b"data: {}\n\n"


def test_an_event_without_end_is_passed_on_unread() -> None:
    meter = StreamUsage(strip=True)
    long = b"data: " + b"x" * (LONGEST_EVENT + 1)
    assert meter.feed(long) == long


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 3}}, 3),
        ({"input_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens_details": None}, None),
        ({"prompt_tokens_details": {"cached_tokens": None}}, None),
        ({"prompt_tokens_details": {"audio_tokens": 3}}, None),
        ({}, None),
    ],
    ids=["chat", "responses", "none", "null", "not said", "absent"],
)
def test_what_the_engine_had_cached_is_known_only_where_it_says_so(
    details: dict[str, object], cached: int | None
) -> None:
    usage = {"prompt_tokens": 4, "completion_tokens": 9} | details
    meter = BodyUsage()
    meter.feed(json.dumps({"usage": usage}).encode())
    assert meter.used == Used(4, 9, cached)
    stream = StreamUsage(strip=False)
    for event in ({"usage": usage}, {"usage": {"prompt_tokens": 4, "completion_tokens": 9}}):
        stream.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert stream.used == Used(4, 9, cached)


def test_a_chunk_with_choices_and_usage_is_counted_and_kept() -> None:
    event = b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":4,"completion_tokens":9}}\n\n'
    meter = StreamUsage(strip=True)
    assert meter.feed(event) == event
    assert meter.used == Used(4, 9)


STATS = [
    b'data: {"choices":[{"delta":{"content":"a,\\"usage\\":{}"}}],"usage":{"prompt_tokens":7,'
    b'"total_tokens":8,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4}},"x":null}\n\n',
    b'data: {"choices":[{"delta":{"content":"b"}}], "usage": {"prompt_tokens":7,"completion_tokens":2}}\n\n',
    b'data: {"choices":[{"delta":{"content":"c,\\"usage\\":{}}"}}],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n',
]
BARE = [
    b'data: {"choices":[{"delta":{"content":"a,\\"usage\\":{}"}}],"x":null}\n\n',
    b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"c,\\"usage\\":{}}"}}]}\n\n',
]


@given(places=st.lists(st.integers(0, 10_000), max_size=20), strip=st.booleans())
def test_the_usage_of_each_chunk_is_taken_out_and_counts(places: list[int], strip: bool) -> None:
    meter = StreamUsage(strip, stats=True)
    data = b"".join([*STATS, USAGE_CHUNK, DONE])
    got = b"".join(meter.feed(chunk) for chunk in cut(data, places)) + meter.finish()
    assert got == b"".join([*BARE, b"" if strip else USAGE_CHUNK, DONE])
    assert meter.used == Used(7, 3)


@pytest.mark.parametrize("together", [1, 2, 3])
def test_events_that_come_whole_lose_their_usage_however_many_come_at_once(together: int) -> None:
    meter, events = StreamUsage(strip=True, stats=True), 2 * STATS
    for at in range(0, len(events), together):
        passed = meter.feed(b"".join(events[at : at + together]))
        assert passed == b"".join((2 * BARE)[at : at + together])
    assert meter.feed(USAGE_CHUNK) == b""
    assert meter.used == Used(7, 3)


@pytest.mark.parametrize(("chunks", "completion"), [(1, 1), (2, 2)])
def test_what_had_come_when_the_client_left_is_known(chunks: int, completion: int) -> None:
    meter = StreamUsage(strip=True, stats=True)
    for chunk in STATS[:chunks]:
        meter.feed(chunk)
    assert meter.used[:2] == (7, completion)
    assert meter.used[:2] == (7, completion)


def test_usage_that_the_client_wants_in_each_chunk_stays() -> None:
    meter = StreamUsage(strip=False)
    assert b"".join(map(meter.feed, STATS)) == b"".join(STATS)
    assert meter.used[:2] == (7, 2)


@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "response.completed",
            "response": {"usage": {"input_tokens": 4, "output_tokens": 9}},
        },
        {"type": "message_start", "message": {"usage": {"input_tokens": 4, "output_tokens": 9}}},
        {"usage": {"prompt_tokens": 4, "completion_tokens": 9}, "choices": [1]},
    ],
    ids=["responses", "messages", "chat"],
)
def test_every_api_has_its_own_place_for_usage(event: dict[str, object]) -> None:
    meter = StreamUsage(strip=False)
    meter.feed(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n")
    assert meter.used == Used(4, 9)


@given(
    places=st.lists(st.integers(0, 10_000_000), max_size=5), padding=st.sampled_from([0, WINDOW])
)
def test_the_usage_of_a_body_is_found_at_its_end(places: list[int], padding: int) -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 22, "details": {"usage": 1}}
    body = json.dumps({"text": 'the "usage": {}' + "x" * padding, "usage": usage}).encode()
    meter = BodyUsage()
    assert b"".join(meter.feed(chunk) for chunk in cut(body, places)) == body
    assert meter.used in (Used(11, 22), Used(0, 0))
    plain = BodyUsage()
    plain.feed(
        json.dumps(
            {"text": '"usage": {"prompt_tokens": 9}', "usage": {"prompt_tokens": 3}}
        ).encode()
    )
    assert plain.used == Used(3, 0)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"usage"', b'{"usage": 3}', b'{"usage": {"a": "b"}}']
)
def test_a_body_without_usage_counts_nothing(body: bytes) -> None:
    meter = BodyUsage()
    meter.feed(body)
    assert meter.used == Used(0, 0)
