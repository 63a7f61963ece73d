from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.blueprints import endpoint, objects
from torpor.manifests import names

ENDPOINT = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
SUFFIX = st.sampled_from([("engine",), ("check", "0a1b2c3d"), ("fetch", "0a1b2c3d")])
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@given(name=ENDPOINT, suffix=SUFFIX)
def test_every_childs_name_is_valid_and_short_enough(name: str, suffix: tuple[str, ...]) -> None:
    child = names.child_name(name, *suffix)
    assert len(child) <= 63
    assert DNS_LABEL.fullmatch(child)
    assert child.endswith("-" + "-".join(suffix))


@given(one=ENDPOINT, other=ENDPOINT, suffix=SUFFIX)
def test_two_endpoints_never_share_a_childs_name(
    one: str, other: str, suffix: tuple[str, ...]
) -> None:
    same = names.child_name(one, *suffix) == names.child_name(other, *suffix)
    assert same == (one == other)


def test_a_name_that_had_to_be_cut_stays_unique() -> None:
    long = "x" * 62
    cut = {names.child_name(long + last, "check", "0a1b2c3d") for last in "abc"}
    assert len(cut) == 3
    assert {len(name) for name in cut} == {63}


def test_no_object_of_any_endpoint_has_the_name_of_anothers() -> None:
    tricky = [
        "a",
        "1",
        "n-1",
        "a-direct",
        "a-engine",
        "a-check",
        "a-fetch",
        "a-engine-engine",
        "x" * 63,
        "x" * 62 + "y",
    ]
    made = {
        name: {(o["kind"], o["metadata"]["name"]) for o in objects(endpoint(name)).values()}
        for name in tricky
    }
    for one, other in combinations(tricky, 2):
        assert not made[one] & made[other], f"{one} and {other}"


@pytest.mark.parametrize("endpoint", ["a", "1", "0-b", "9" * 63, "x" * 63])
def test_the_name_of_a_service_begins_with_a_letter(endpoint: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", names.direct_name(endpoint))


def test_every_child_carries_the_labels_that_it_is_found_by() -> None:
    for kind, child in objects(endpoint()).items():
        labels = child["metadata"]["labels"]
        assert labels[names.PART_OF] == names.PART_OF_TORPOR, kind
        assert labels[names.ENDPOINT_LABEL] == "tiny", kind
        assert child["metadata"]["ownerReferences"][0]["uid"] == "uid-of-tiny", kind


def test_a_digest_depends_on_where_its_parts_end() -> None:
    assert names.digest("ab", "c") != names.digest("a", "bc")
    assert names.digest("a") == names.digest("a")
    assert re.fullmatch(r"[0-9a-f]{10}", names.digest("a", length=10))
