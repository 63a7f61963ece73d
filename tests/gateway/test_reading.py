"""Bodies, names, keys and counts: values in, values out."""

from __future__ import annotations

import dataclasses
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


@pytest.mark.parametrize(
    ("options", "own", "each"),
    [
        ({}, True, True),
        ({"include_usage": False}, True, True),
        ({"include_usage": True}, False, True),
        ({"include_usage": True, "continuous_usage_stats": True}, False, False),
    ],
)
def test_an_engine_is_asked_for_usage_in_each_chunk_unless_the_client_did(
    options: dict[str, bool], own: bool, each: bool
) -> None:
    body = json.dumps({"model": "m", "stream": True, "stream_options": options}).encode()
    ask = read_ask(CHAT, "application/json", body)
    assert isinstance(ask, Ask)
    assert (ask.adds_usage, ask.adds_stats) == (own, each)
    sent = json.loads(write_body(ask, "m"))["stream_options"]
    assert sent == {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        b'{"a": [{"model": "n"}], "model" : "m" }',
        b'{"a": {"model": "m"}, "mod\\u0065l": "m"}',
        b'{"a": "\\"model\\": \\"m\\"", "model": "m"}',
        b'{"a": "\\\\", "model": "m", "stop": ["model"]}',
        b'{"model": "\\u006d"}',
        b'{"\xc3\xa9": "\xc3\xa9", "model":\n"m", "b": "model"}',
        b'{"model": "x", "model": "m"}',
    ],
)
def test_only_the_model_of_the_request_itself_gets_another_name(body: bytes) -> None:
    ask = read_ask(CHAT, "application/json", body)
    assert isinstance(ask, Ask)
    written = write_body(ask, "@a/m")
    assert json.loads(written) == json.loads(body) | {"model": "@a/m"}


def test_strange_stream_options_are_left_to_the_engine() -> None:
    body = b'{"model":"m","stream":true,"stream_options":7}'
    ask = read_ask(CHAT, "application/json", body)
    assert isinstance(ask, Ask)
    assert write_body(ask, "m") == body


def entry(key: str, *names: str, keys: tuple[str, ...] = (), born: int = 0, uid: str = "") -> Entry:
    namespace, name = key.split("/")
    digests = tuple(hashlib.sha256(k.encode()).digest() for k in keys)
    known = names or (name,)
    return Entry(namespace, name, uid or key, 1, born, known, digests, Terms(key), 1.0, 1.0)


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


def test_a_bare_name_of_several_is_the_oldest_ones_unless_a_key_decides() -> None:
    found = directory(
        entry("a/m", born=9),
        entry("b/m", born=3),
        entry("c/m", born=5, keys=("c1",)),
        entry("d/m", born=4, keys=("d1", "both")),
        entry("e/m", born=7, keys=("both",)),
    )
    assert means(found, "m") == "b/m"
    assert means(found, "a/m") == "a/m"
    assert means(found, "m", "c1") == "c/m"
    assert means(found, "m", "both") == "d/m"
    assert means(found, "c/m") == 401
    assert means(found, "c/m", "d1") == 401
    assert means(found, "m", "nobody's") == "b/m"


def test_of_endpoints_made_in_the_same_second_the_smaller_uid_is_first() -> None:
    assert means(directory(entry("a/m", uid="2"), entry("b/m", uid="1")), "m") == "b/m"
    assert means(directory(entry("a/m", uid="1"), entry("b/m", uid="2")), "m") == "a/m"


def test_a_later_open_namesake_does_not_unlock_the_name_of_a_keyed_one() -> None:
    found = directory(entry("late/m", born=2), entry("first/m", born=1, keys=("right",)))
    assert means(found, "m") == 401
    assert means(found, "m", "wrong") == 401
    assert means(found, "m", "right") == "first/m"
    assert means(found, "late/m") == "late/m"
    refusal = found.resolve("m", None)
    assert isinstance(refusal, Refusal)
    assert "late/m" in refusal.message
    assert "first" not in refusal.message
    assert [name for name, _ in found.listing(None)] == ["late/m"]


def test_an_endpoint_that_is_made_again_is_the_youngest() -> None:
    found = directory(entry("a/m", born=1), entry("b/m", born=2))
    found.put(entry("a/m", born=3, uid="new"))
    assert means(found, "m") == "b/m"
    found.drop("b/m")
    assert means(found, "m") == "a/m"


def test_who_may_use_nothing_at_all_is_known_without_a_name() -> None:
    def welcome(key: str | None) -> bool:
        return found.welcomes(read_digest(f"Bearer {key}" if key else None))

    found = directory()
    assert welcome(None)  # nothing is known yet: a model that is not there is 404 or 503
    found.put(entry("a/m", keys=("a1", "both")))
    found.put(entry("b/m", keys=("both",)))
    assert [welcome(key) for key in (None, "x", "a1", "both")] == [False, False, True, True]
    found.put(entry("c/m"))
    assert welcome(None)
    found.put(entry("c/m", keys=("c1",)))
    assert [welcome(key) for key in (None, "c1")] == [False, True]
    found.put(entry("a/m", keys=("a2",)))
    assert [welcome(key) for key in ("a1", "a2", "both")] == [False, True, True]
    found.drop("b/m")
    assert not welcome("both")


def test_an_alias_that_spells_out_its_own_namespace_comes_and_goes() -> None:
    found = directory(entry("a/m", "a/big", "big"))
    assert means(found, "a/big") == "a/m"
    found.drop("a/m")
    assert means(found, "a/big") == 404


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
    [
        ("big", "@a/m"),
        ("a/big", "@a/m"),
        ("alias", "@a/m"),
        ("a/alias", "@a/m"),
        ("a/m", "@a/m"),
        ("legal", "legal"),
        ("a/legal", "legal"),
    ],
)
def test_the_engine_hears_a_name_that_is_its_own_or_an_adapter_s(asked: str, known: str) -> None:
    adapted = dataclasses.replace(entry("a/m", "big", "alias", "legal"), adapters=("legal",))
    assert engine_name(adapted, asked) == known


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


def form_of(*parts: tuple[str, str]) -> bytes:
    return (
        "".join(f"--B\r\n{head}\r\n\r\n{value}\r\n" for head, value in parts).encode()
        + b"--B--\r\n"
    )


FORM = "multipart/form-data; boundary=B"
DISPOSITION = "Content-Disposition: form-data"


@pytest.mark.parametrize(
    "head",
    [
        f'{DISPOSITION}; name="model"',
        f"{DISPOSITION}; name=model",
        "content-disposition:form-data;name=model",
        f'{DISPOSITION}; filename="a; name=file"; name="model"',
        f'Content-Type: text/plain\r\n{DISPOSITION}; name="model"; x=1',
    ],
)
def test_a_form_names_its_model_however_it_is_written(head: str) -> None:
    asked = read_ask("/v1/audio/transcriptions", FORM, form_of((head, "llama")))
    assert isinstance(asked, Ask)
    assert asked.model == "llama"
    other = write_body(asked, "other")
    assert b"\r\n\r\nother\r\n--B--" in other


@pytest.mark.parametrize(
    "head",
    [
        f'{DISPOSITION}; name="file"; filename="x; name=model"',
        f'{DISPOSITION}; name="file"; filename="x\\"; name=model"',
        f'{DISPOSITION}; name="models"',
        'X-Note: form-data; name="model"',
        "content-disposition:" * 200_000,
        "content-disposition: form-data" + "; name=" * 300_000,
    ],
    ids=["in-a-file-name", "behind-an-escape", "longer", "another-header", "repeated", "endless"],
)
def test_what_only_looks_like_the_model_s_field_is_none(head: str) -> None:
    """The last two would take minutes if a line were looked at anew from each of its characters."""
    asked = read_ask("/v1/audio/transcriptions", FORM, form_of((head, "llama")))
    assert isinstance(asked, Refusal)
    assert asked.code == "model_missing"


def test_json_of_any_depth_is_rewritten_or_refused() -> None:
    """What could be read can be written anew: the parser's own limit of depth is met only once."""
    outcomes = set()
    for depth in range(900, 1100):
        inner = "[" * depth + "]" * depth
        body = f'{{"stream": true, "x": {inner}, "model": "shop/llama"}}'.encode()
        asked = read_ask(CHAT, "application/json", body)
        outcomes.add(type(asked))
        if isinstance(asked, Ask):
            assert inner.encode() in write_body(asked, "llama")
        else:
            assert asked.code == "invalid_json"
    assert outcomes == {Ask, Refusal}
