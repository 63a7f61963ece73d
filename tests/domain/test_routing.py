"""Which pod gets a request: properties of the choice by prefix, and of the reading of a prompt."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.pool import Pool
from torpor.domain.routing import (
    PREFIX_BYTES,
    bound,
    emptiest,
    nearest,
    prefix_of,
    score,
    seed_of,
)
from torpor.domain.waitroom import Pod, PodFacts, Request

PREFIXES = [seed_of(f"prompt {number}") for number in range(4000)]
"""Any evenly spread numbers."""


def pod(uid: str, in_flight: int = 0) -> Pod:
    facts = PodFacts(uid, "10.0.0.1:8000", ready=True)
    return Pod(facts, serving=True, in_flight=in_flight, seed=seed_of(uid))


def fleet(number: int) -> list[Pod]:
    return [pod(f"pod-{n}") for n in range(number)]


def home(prefix: int, pods: list[Pod]) -> str:
    found = nearest(prefix, pods, 32)
    assert found is not None
    return found.facts.uid


loads = st.lists(st.integers(0, 12), min_size=1, max_size=12)


@given(st.sampled_from(PREFIXES), st.integers(1, 20), st.randoms())
def test_the_same_prefix_goes_to_the_same_pod_in_whatever_order_they_are_known(
    prefix: int, number: int, random: Any
) -> None:
    pods = fleet(number)
    found = home(prefix, pods)
    random.shuffle(pods)
    assert home(prefix, pods) == found


@given(st.sampled_from(PREFIXES), loads, st.integers(1, 12))
def test_the_pod_stays_the_same_while_it_has_room_and_the_bound_is_never_passed(
    prefix: int, in_flight: list[int], limit: int
) -> None:
    pods = [pod(f"pod-{n}", load) for n, load in enumerate(in_flight)]
    most = min(limit, bound(sum(in_flight), len(pods)))
    found = nearest(prefix, pods, limit)
    if min(in_flight) >= limit:
        assert found is None
        return
    assert found is not None
    assert found.in_flight < most
    better = [p for p in pods if score(prefix, p.seed) > score(prefix, found.seed)]
    assert all(p.in_flight >= most for p in better)


@given(loads)
def test_the_bound_is_a_quarter_and_one_above_the_average(in_flight: list[int]) -> None:
    pods, total = len(in_flight), sum(in_flight)
    exact = 1.25 * total / pods + 1
    assert exact <= bound(total, pods) < exact + 1
    assert min(in_flight) < bound(total, pods)


@pytest.mark.parametrize("number", [1, 3, 9, 40])
def test_a_pod_more_moves_its_own_share_of_the_prefixes_and_no_others(number: int) -> None:
    before, after = fleet(number), fleet(number + 1)
    moved = [p for p in PREFIXES if home(p, before) != home(p, after)]
    assert {home(prefix, after) for prefix in moved} == {f"pod-{number}"}
    share = len(PREFIXES) / (number + 1)
    assert 0.7 * share < len(moved) < 1.3 * share


def test_a_pod_less_moves_only_what_was_its_own() -> None:
    pods = fleet(8)
    for prefix in PREFIXES:
        was = home(prefix, pods)
        left = [p for p in pods if p.facts.uid != "pod-3"]
        assert home(prefix, left) == was or was == "pod-3"


def test_prefixes_are_spread_evenly() -> None:
    pods = fleet(10)
    homes = [home(prefix, pods) for prefix in PREFIXES]
    assert all(0.75 * 400 < homes.count(p.facts.uid) < 1.25 * 400 for p in pods)


def test_one_prefix_for_all_requests_spreads_over_the_pods_and_fills_them_in_the_end() -> None:
    pods = fleet(10)
    for number in range(320):
        found = nearest(PREFIXES[0], pods, 32)
        assert found is not None
        found.in_flight += 1
        assert found.in_flight <= bound(number, 10)
        if number == 99:
            assert sum(p.in_flight > 0 for p in pods) >= 8
    assert [p.in_flight for p in pods] == [32] * 10
    assert nearest(PREFIXES[0], pods, 32) is None


@given(loads, st.integers(1, 12))
def test_the_emptiest_is_one_with_room_or_none_has_any(in_flight: list[int], limit: int) -> None:
    pods = [pod(f"pod-{n}", load) for n, load in enumerate(in_flight)]
    found = emptiest(pods, limit)
    assert (found is None) == (min(in_flight) >= limit)
    assert found is None or found.in_flight == min(in_flight)


def test_gateways_do_not_all_send_their_only_request_to_the_same_pod() -> None:
    seen = [PodFacts(f"pod-{n}", "10.0.0.1:8000", ready=True) for n in range(4)]
    firsts = set()
    for salt in PREFIXES[:50]:
        pool = Pool(salt)
        pool.told(seen)
        chosen = pool.choose(Request(1, 10, 0.0), 32)
        assert chosen is not None
        firsts.add(chosen.facts.uid)
    assert firsts == {"pod-0", "pod-1", "pod-2", "pod-3"}


# Reading a prompt

words = st.text(string.ascii_letters, max_size=40)
messages = st.lists(st.fixed_dictionaries({"role": words, "content": words}), max_size=4)


def chat(*contents: Any) -> dict[str, Any]:
    roles = ["system", "user", "assistant", "user"]
    said = zip(roles, contents, strict=False)
    return {"model": "m", "messages": [{"role": role, "content": text} for role, text in said]}


def test_the_later_turns_of_a_conversation_have_its_prefix_once_it_is_long_enough() -> None:
    first = chat("You are a marmot. " * 60, "What do you do in winter?")
    later = chat("You are a marmot. " * 60, "What do you do in winter?", "Sleep.", "And then?")
    assert prefix_of("m", first) == prefix_of("m", later)


@given(messages, messages)
def test_other_beginnings_have_other_prefixes(one: list[Any], other: list[Any]) -> None:
    same = prefix_of("m", {"messages": one}) == prefix_of("m", {"messages": other})
    assert same == (one == other)


def test_models_and_adapters_are_told_apart() -> None:
    assert prefix_of("base", {"prompt": "x"}) != prefix_of("legal", {"prompt": "x"})


def test_only_the_first_bytes_count() -> None:
    start = "é" * PREFIX_BYTES
    assert prefix_of("m", {"prompt": start + "a"}) == prefix_of("m", {"prompt": start + "b"})
    assert prefix_of("m", {"prompt": "a" + start}) != prefix_of("m", {"prompt": "b" + start})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": ["a", "b"]}, {"prompt": ["a", "c"]}),
        ({"prompt": [1, 2, 3]}, {"prompt": [1, 2, 4]}),
        ({"prompt": [1, 23]}, {"prompt": [12, 3]}),
        ({"input": "a"}, {"input": "b"}),
        ({"input": "a", "instructions": "x"}, {"input": "a", "instructions": "y"}),
        ({"system": "x", "messages": []}, {"system": "y", "messages": []}),
        (chat([{"type": "text", "text": "a"}]), chat([{"type": "text", "text": "b"}])),
        (chat("ab", "c"), chat("a", "bc")),
    ],
)
def test_every_form_of_a_prompt_is_read(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert prefix_of("m", one) == prefix_of("m", {**one, "temperature": 1})
    assert prefix_of("m", one) != prefix_of("m", other)


@pytest.mark.parametrize("members", [{}, {"prompt": None}, {"messages": []}, {"query": "x"}])
def test_without_a_prompt_there_is_no_prefix(members: dict[str, Any]) -> None:
    assert prefix_of("m", members) is None


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["content", "text"]), inner),
)


@given(st.sampled_from(["messages", "prompt", "input", "system"]), json_values)
def test_whatever_a_client_sends_is_read_without_a_fault(name: str, value: Any) -> None:
    found = prefix_of("m", {name: value})
    assert found is None or 0 <= found < 1 << 64


def test_nesting_without_end_is_not_followed() -> None:
    value: Any = "x"
    for _ in range(900):
        value = [value]
    assert prefix_of("m", {"prompt": value}) is None


def test_text_that_is_no_text_is_read() -> None:
    assert prefix_of("\ud800", {"prompt": "\ud800"}) is not None
