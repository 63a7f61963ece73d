"""Bodies, names, keys and counts: values in, values out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.waitroom import Refusal, Terms
from torpor.gateway.asking import Ask, read_ask, rewrite, write_body
from torpor.gateway.catalogue import Entry
from torpor.gateway.directory import Directory, engine_name, read_digest
from torpor.gateway.tally import KEPT_MS, MOST_INTERVALS, Busy, Tally

CHAT = "/v1/chat/completions"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    members=st.dictionaries(st.text(max_size=6), json_values, max_size=5),
    name=st.sampled_from(["model", "stream_options", "é"]),
    value=json_values,
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_rewriting_sets_one_member_and_touches_no_other_byte(
    members: dict[str, Any], name: str, value: Any, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(members, indent=indent, ensure_ascii=ascii_only).encode() + b" \n"
    new = rewrite(body, members, {name: value})
    assert json.loads(new) == members | {name: value}
    if name in members and json.dumps(members[name], ensure_ascii=ascii_only) not in ("", None):
        old = json.dumps(members[name], indent=indent, ensure_ascii=ascii_only)
        if indent is None:
            assert len(new) == len(body) - len(old.encode()) + len(json.dumps(value).encode())


def test_a_repeated_member_is_set_everywhere() -> None:
    body = b'{"model":"a","x":{"model":"b"},"model":"c"}'
    assert rewrite(body, json.loads(body), {"model": "n"}) == (
        b'{"model":"n","x":{"model":"b"},"model":"n"}'
    )


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "multipart/form-data"):
        assert isinstance(read_ask(CHAT, kind, body), (Ask, Refusal))


@pytest.mark.parametrize(
    ("path", "stream", "streams", "adds"),
    [
        (CHAT, True, True, True),
        (CHAT, False, False, False),
        (CHAT, "true", False, False),
        ("/v1/responses", True, True, False),
        ("/v1/embeddings", True, False, False),
    ],
)
def test_what_streams_and_what_gets_a_usage_chunk(
    path: str, stream: object, streams: bool, adds: bool
) -> None:
    body = json.dumps({"model": "m", "stream": stream}).encode()
    ask = read_ask(path, "application/json", body)
    assert isinstance(ask, Ask)
    assert (ask.streams, ask.adds_usage) == (streams, adds)
    assert (write_body(ask, "m") == body) is not adds


def test_strange_stream_options_are_left_to_the_engine() -> None:
    body = b'{"model":"m","stream":true,"stream_options":7}'
    ask = read_ask(CHAT, "application/json", body)
    assert isinstance(ask, Ask)
    assert write_body(ask, "m") == body


def entry(key: str, *names: str, keys: tuple[str, ...] = ()) -> Entry:
    namespace, name = key.split("/")
    digests = tuple(hashlib.sha256(k.encode()).digest() for k in keys)
    return Entry(namespace, name, key, 1, 0, names or (name,), digests, Terms(key), 1.0, 1.0)


def directory(*entries: Entry) -> Directory:
    found = Directory()
    for one in entries:
        found.put(one)
    return found


def means(found: Directory, model: str, key: str | None = None) -> str | int:
    answer = found.resolve(model, read_digest(f"Bearer {key}" if key else None))
    return answer.status if isinstance(answer, Refusal) else answer.key


def test_a_bare_name_means_the_one_endpoint_that_has_it() -> None:
    found = directory(entry("a/llama"), entry("b/qwen", "Qwen/Qwen3-8B", "qwen"))
    assert means(found, "llama") == "a/llama"
    assert means(found, "Qwen/Qwen3-8B") == "b/qwen"
    assert means(found, "b/Qwen/Qwen3-8B") == "b/qwen"
    assert means(found, "b/qwen") == "b/qwen"
    assert means(found, "none") == 404


def test_a_name_of_several_is_ambiguous_until_a_key_decides() -> None:
    found = directory(
        entry("a/m"), entry("b/m"), entry("c/m", keys=("c1",)), entry("d/m", keys=("d1",))
    )
    assert means(found, "m") == 400
    assert means(found, "b/m") == "b/m"
    assert means(found, "m", "c1") == "c/m"
    assert means(found, "c/m") == 401
    assert means(found, "c/m", "d1") == 401
    assert means(found, "m", "nobody's") == 400


def test_no_alias_stands_in_front_of_a_qualified_name() -> None:
    found = directory(entry("evil/x", "team/llama", "team/gpt"), entry("team/llama", "gpt"))
    assert means(found, "team/llama") == "team/llama"


def test_names_come_and_go_with_their_endpoint() -> None:
    found = directory(entry("a/m", "one", "two"))
    found.put(entry("a/m", "two", "three"))
    assert [means(found, n) for n in ("one", "two", "three")] == [404, "a/m", "a/m"]
    found.drop("a/m")
    found.drop("a/m")
    assert means(found, "three") == 404
    assert means(found, "a/m") == 404


@pytest.mark.parametrize(
    ("asked", "known"),
    [("big", "big"), ("a/big", "big"), ("alias", "alias"), ("a/alias", "alias"), ("a/m", "big")],
)
def test_the_engine_hears_the_name_it_knows(asked: str, known: str) -> None:
    assert engine_name(entry("a/m", "big", "alias"), asked) == known


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "token"])
def test_what_is_no_bearer_token_is_no_key(header: str | None) -> None:
    assert read_digest(header) is None


def test_busy_intervals_are_merged_bounded_and_forgotten() -> None:
    busy = Busy()
    busy.begin(100)
    busy.begin(110)
    busy.end(120)
    assert list(busy.intervals) == [[100, None]]
    busy.end(130)
    busy.begin(130)
    assert list(busy.intervals) == [[100, None]]
    busy.end(140)
    for n in range(MOST_INTERVALS + 5):
        busy.begin(1000 + 10 * n)
        busy.end(1005 + 10 * n)
    assert len(busy.intervals) == MOST_INTERVALS
    assert busy.intervals[0][0] == 100
    assert busy.intervals[-1] == [1000 + 10 * (n), 1005 + 10 * n]
    assert not busy.forget(10**9)


def test_a_pod_is_reported_for_ten_minutes_after_its_last_request() -> None:
    tally = Tally()
    tally.begin("a", 1000)
    assert tally.report(0, 10**9)["pods"]["a"] == {"inFlight": 1, "busy": [[1000, None]]}
    tally.end("a", 2000)
    assert "a" in tally.report(0, 2000 + KEPT_MS)["pods"]
    assert "a" not in tally.report(0, 2001 + KEPT_MS)["pods"]


def test_a_clock_that_steps_back_makes_no_negative_interval() -> None:
    busy = Busy()
    busy.begin(1000)
    busy.end(900)
    assert list(busy.intervals) == [[1000, 1000]]
