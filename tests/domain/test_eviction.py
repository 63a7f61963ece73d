"""What goes when a node's cache is full, decided from values alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.eviction import (
    SKEW_SECONDS,
    Entry,
    Need,
    Stay,
    Terms,
    may_collect,
    plan_eviction,
    stay,
)
from torpor.domain.fetching import FetchReason, Refusal

GIB = 1024**3
NOW = 1_000_000
AS_OF = NOW - 100
SOURCE = "s3://models/llama/"
FRESH = "used or fetched since the list of who runs was made"
TERMS = Terms(10 * GIB, last_use=NOW - 5_000, keep=frozenset(), keep_as_of=AS_OF)
NEED = Need(SOURCE, total_bytes=4 * GIB, own_bytes=0, other_bytes=0, free_bytes=None)


def copy(name: str, gib: int, used: int, *, published: int = 1) -> Entry:
    return Entry(name, "models", gib * GIB, used, published)


def dead(name: str, gib: int, written: int) -> Entry:
    return Entry(name, "partial", gib * GIB, written)


def names(outcome: tuple[Entry, ...] | Refusal) -> list[str]:
    assert not isinstance(outcome, Refusal), outcome
    return [entry.hash for entry in outcome]


def sentence(outcome: tuple[Entry, ...] | Refusal) -> str:
    assert isinstance(outcome, Refusal)
    assert outcome.reason in (FetchReason.TOO_LARGE, FetchReason.CACHE_FULL)
    return outcome.message


@pytest.mark.parametrize(
    ("entries", "victims"),
    [
        ([copy("a", 3, 10), copy("b", 3, 20)], []),
        ([copy("a", 4, 30), copy("b", 4, 10)], ["b"]),
        ([copy("a", 2, 10), copy("b", 2, 20), copy("c", 6, 30)], ["a", "b"]),
        ([copy("a", 1, 10), copy("b", 3, 20), copy("c", 4, 30)], ["b"]),
        ([copy("a", 4, 10), dead("p", 3, 900), dead("q", 2, 800)], ["q", "p"]),
        ([copy("a", 7, 10), dead("p", 1, 900)], ["p", "a"]),
        ([dead("p", 5, 900), dead("q", 5, 800)], ["q"]),
    ],
    ids=[
        "there is room", "the oldest", "the oldest two", "not the small one that would not have been enough",
        "downloads that died before any copy", "then copies", "the older download",
    ],
)  # fmt: skip
def test_dead_downloads_go_first_then_the_least_recently_used(
    entries: list[Entry], victims: list[str]
) -> None:
    assert names(plan_eviction(NEED, TERMS, entries)) == victims


@pytest.mark.parametrize(
    ("entry", "terms", "why"),
    [
        (copy("a", 8, 10), replace(TERMS, keep=frozenset({"a"})), "running or pinned"),
        (dead("a", 8, 10), replace(TERMS, keep=frozenset({"a"})), "running or pinned"),
        (copy("a", 8, 10), replace(TERMS, keep_as_of=0), "possibly running"),
        (copy("a", 8, AS_OF), TERMS, FRESH),
        (copy("a", 8, AS_OF - 5_000 - SKEW_SECONDS), replace(TERMS, keep_as_of=AS_OF - 5_000), FRESH),
        (copy("a", 8, 10, published=AS_OF - SKEW_SECONDS), TERMS, FRESH),
        (copy("a", 8, NOW - 5_000), TERMS, "used as recently as this model"),
        (copy("a", 8, 10), replace(TERMS, last_use=0), "used as recently as this model"),
        (replace(copy("a", 8, 10), busy=True), TERMS, "being fetched or checked"),
        (replace(dead("a", 8, 10), busy=True), TERMS, "being fetched or checked"),
    ],
    ids=[
        "kept", "kept download", "no list", "used since the list", "used within the skew before the list",
        "published since the list", "used at the same time as the model", "rank 0",
        "locked", "locked download",
    ],
)  # fmt: skip
def test_what_may_not_go_is_said_with_its_size_and_why(
    entry: Entry, terms: Terms, why: str
) -> None:
    said = sentence(plan_eviction(NEED, terms, [entry]))
    assert said.startswith(
        "s3://models/llama/ has 4.0 GiB, but other models use 8.0 GiB of the node's cache budget of 10.0 GiB"
    )
    assert "may not be evicted: 8.0 GiB in 1 " in said
    assert said.endswith(why)


def test_reasons_of_several_are_added_up() -> None:
    terms = replace(TERMS, keep=frozenset({"a", "b"}))
    entries = [copy("a", 2, 1), copy("b", 3, 1), replace(dead("c", 4, 1), busy=True)]
    assert sentence(plan_eviction(NEED, terms, entries)).endswith(
        "of that may not be evicted: 4.0 GiB in 1 being fetched or checked, 5.0 GiB in 2 running or pinned"
    )


def test_a_model_larger_than_the_budget_is_refused_for_good() -> None:
    outcome = plan_eviction(replace(NEED, total_bytes=11 * GIB), TERMS, [copy("a", 8, 10)])
    assert sentence(outcome) == (
        "s3://models/llama/ has 11.0 GiB, the cache budget of a node is 10.0 GiB"
    )
    assert isinstance(outcome, Refusal)
    assert not outcome.retryable


def test_without_a_budget_the_disk_is_the_limit() -> None:
    terms = replace(TERMS, budget_bytes=0)
    need = replace(NEED, free_bytes=GIB)
    assert names(plan_eviction(need, terms, [copy("a", 3, 10), copy("b", 90, 20)])) == ["a"]
    said = sentence(plan_eviction(need, terms, [copy("a", 2, 10)]))
    assert said == (
        "s3://models/llama/ has 4.0 GiB, but the node's cache disk has 1.0 GiB free; there is nothing to evict"
    )


def test_the_disk_limits_even_where_the_budget_would_do() -> None:
    assert names(plan_eviction(replace(NEED, free_bytes=2 * GIB), TERMS, [copy("a", 2, 10)])) == [
        "a"
    ]


def test_what_an_earlier_try_holds_is_not_needed_again() -> None:
    need = replace(NEED, own_bytes=4 * GIB, free_bytes=0)
    assert plan_eviction(need, TERMS, [copy("a", 6, 10)]) == ()


def test_what_is_no_model_counts_but_does_not_go() -> None:
    need = replace(NEED, other_bytes=7 * GIB)
    assert "other models use 7.0 GiB" in sentence(plan_eviction(need, TERMS, []))


entries_of = st.lists(
    st.builds(
        Entry,
        hash=st.text("abcdefgh", min_size=1, max_size=3),
        kind=st.just("models"),
        bytes=st.integers(0, 8 * GIB),
        last_used=st.integers(0, NOW),
        published=st.none() | st.integers(0, NOW),
        busy=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda entry: entry.hash,
)
terms_of = st.builds(
    Terms,
    budget_bytes=st.just(10 * GIB),
    last_use=st.integers(0, NOW),
    keep=st.frozensets(st.text("abcdefgh", min_size=1, max_size=1)),
    keep_as_of=st.just(0) | st.integers(0, NOW),
)


@given(entries_of, terms_of)
def test_enough_goes_nothing_that_must_stay_and_no_copy_too_many(
    entries: list[Entry], terms: Terms
) -> None:
    outcome = plan_eviction(NEED, terms, entries)
    movable = [entry for entry in entries if stay(entry, terms) is None]
    used = sum(entry.bytes for entry in entries)
    over = NEED.total_bytes + used - terms.budget_bytes
    if isinstance(outcome, Refusal):
        assert sum(entry.bytes for entry in movable) < over
        return
    assert all(entry in movable for entry in outcome)
    freed = sum(entry.bytes for entry in outcome)
    assert freed >= over
    if any(entry.published is not None for entry in outcome):
        assert all(entry in outcome for entry in movable if entry.published is None)
    for entry in outcome:
        if entry.published is not None:
            assert freed - entry.bytes < over


@given(st.lists(st.integers(1, AS_OF - 2 * SKEW_SECONDS), min_size=2, max_size=6))
def test_models_that_want_one_place_do_not_evict_each_other_in_turns(ranks: list[int]) -> None:
    """Each asks again and again; whoever has the place keeps it unless a later use asks."""
    place = copy("0", 10, ranks[0])
    changes = 0
    for number, rank in list(enumerate(ranks)) * 3:
        terms = replace(TERMS, last_use=rank)
        outcome = plan_eviction(replace(NEED, total_bytes=10 * GIB), terms, [place])
        if str(number) != place.hash and not isinstance(outcome, Refusal):
            place = copy(str(number), 10, rank)
            changes += 1
    assert place.last_used == max(ranks)
    assert changes < len(ranks)


@pytest.mark.parametrize(
    ("entry", "keep_as_of", "goes"),
    [
        (copy("a", 1, NOW), 0, True),
        (copy("a", 1, 10), AS_OF, True),
        (copy("a", 1, AS_OF), AS_OF, False),
        (copy("a", 1, 10, published=NOW), AS_OF, False),
        (dead("a", 1, NOW), AS_OF, True),
        (replace(copy("a", 1, 10), busy=True), AS_OF, False),
        (copy("kept", 1, 10), AS_OF, False),
        (dead("kept", 1, 10), AS_OF, False),
    ],
    ids=[
        "list of now", "older than the list", "used since", "published since", "dead download", "locked", "kept",
        "download of a kept one",
    ],
)  # fmt: skip
def test_what_no_endpoint_has_is_collected_unless_it_is_newer_than_the_list(
    entry: Entry, keep_as_of: int, goes: bool
) -> None:
    assert may_collect(entry, frozenset({"kept"}), keep_as_of) is goes


def test_each_reason_continues_a_sentence() -> None:
    assert all(why[0].islower() and not why.endswith(".") for why in Stay)


def test_a_cache_is_full_of_others_or_too_small_for_anything() -> None:
    other = copy("a", 8, NOW - 5_000)
    for terms in (TERMS, replace(TERMS, keep=frozenset({"a"})), replace(TERMS, keep_as_of=0)):
        full = plan_eviction(NEED, terms, [other])
        assert isinstance(full, Refusal)
        assert (full.reason, full.retryable) == (FetchReason.CACHE_FULL, True)
    strange = replace(NEED, other_bytes=8 * GIB)
    small = plan_eviction(strange, TERMS, [])
    assert isinstance(small, Refusal)
    assert (small.reason, small.retryable) == (FetchReason.TOO_LARGE, True)
