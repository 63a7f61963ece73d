"""What to fetch, decided from values alone."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.checkpoint import refuse_config, refuse_index
from torpor.domain.fetching import (
    MOST_FILES,
    FetchReason,
    Part,
    RemoteFile,
    checkpoint_files,
    format_bytes,
    listing_hash,
    plan_fetch,
    refuse_listing,
    refuse_size,
)
from torpor.domain.safetensors import header_end, header_fault

GIB = 1024**3
SOURCE = "s3://models/llama/"
STORE = "https://s3:9000/models"
MIB = 1024**2


def file(key: str, size: int = 10, etag: str = "e") -> RemoteFile:
    return RemoteFile(key, size, etag)


CHECKPOINT = (file("config.json"), file("model.safetensors", 20 * MIB), file("tokenizer.json"))

files = st.lists(
    st.builds(
        RemoteFile,
        key=st.text("abc/", min_size=1, max_size=6),
        size=st.integers(0, 10_000),
        etag=st.text("0123456789abcdef", min_size=1, max_size=4),
    ),
    max_size=8,
    unique_by=lambda remote: remote.key,
)


def test_the_hash_is_sha256_over_sorted_lines_cut_to_128_bits() -> None:
    lines = b"https://s3:9000/models\na\x001\x00x\nb\x002\x00y\n"
    found = listing_hash([file("b", 2, "y"), file("a", 1, "x")], "https://s3:9000/models")
    assert found == hashlib.sha256(lines).hexdigest()[:32]


@given(files, st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_the_listing(
    listing: list[RemoteFile], random: Any
) -> None:
    shuffled = list(listing)
    random.shuffle(shuffled)
    assert listing_hash(shuffled, STORE) == listing_hash(listing, STORE)


@pytest.mark.parametrize(
    "other",
    [file("a", 1, "y"), file("a", 2, "x"), file("b", 1, "x")],
    ids=["another etag", "another size", "another key"],
)
def test_the_hash_changes_with_every_part_of_an_entry(other: RemoteFile) -> None:
    assert listing_hash([other], STORE) != listing_hash([file("a", 1, "x")], STORE)


def test_the_same_listing_of_another_store_has_another_name() -> None:
    """Else a server of one's own, that lists what another's bucket holds, could put other bytes there."""
    listing = [file("a", 1, "x")]
    assert listing_hash(listing, "http://own/models") != listing_hash(listing, STORE)


def test_folder_marks_and_our_own_folder_are_no_files_of_the_model() -> None:
    listing = [file("", 0), file("sub/", 0), file(".torpor/READY"), file("b"), file("a")]
    assert checkpoint_files(listing) == (file("a"), file("b"))


@given(files, st.integers(1, 4000))
def test_the_parts_cover_every_byte_once_and_in_order(
    listing: list[RemoteFile], part_bytes: int
) -> None:
    plan = plan_fetch(listing, None, part_bytes, STORE)
    for remote in listing:
        parts = [part for part in plan.parts if part.key == remote.key]
        assert sum(part.length for part in parts) == remote.size
        assert [part.offset for part in parts] == list(range(0, remote.size, part_bytes))
        assert all(0 < part.length <= part_bytes for part in parts)
    assert plan.total_bytes == sum(remote.size for remote in listing)


def test_small_files_go_first_then_each_shard_from_front_to_back() -> None:
    listing = [file("b.safetensors", 25), file("a.safetensors", 11), file("z.json", 10)]
    assert plan_fetch(listing, None, 10, STORE).parts == (
        Part("z.json", 0, 10),
        Part("a.safetensors", 0, 10),
        Part("a.safetensors", 10, 1),
        Part("b.safetensors", 0, 10),
        Part("b.safetensors", 10, 10),
        Part("b.safetensors", 20, 5),
    )


@pytest.mark.parametrize(
    ("on_node", "hit"),
    [
        (None, False),
        ({}, False),
        ({"a": 1, "b": 2}, True),
        ({"a": 1}, False),
        ({"a": 1, "b": 3}, False),
        ({"a": 1, "b": 2, "c": 3}, False),
    ],
    ids=["no copy", "empty copy", "same", "a file less", "another size", "a file more"],
)
def test_only_the_same_files_in_the_same_sizes_are_a_hit(
    on_node: dict[str, int] | None, hit: bool
) -> None:
    plan = plan_fetch([file("a", 1), file("b", 2)], on_node, 10, STORE)
    assert plan.hit is hit
    assert bool(plan.parts) is not hit


@pytest.mark.parametrize(
    "listing",
    [
        CHECKPOINT,
        (file("config.json"), file("pytorch_model.bin")),
        (file("config.json"), file("model.gguf")),
        (file("config.json"), file("model.safetensors"), file("sub/config.json")),
    ],
    ids=["safetensors", "bin", "gguf", "with a folder"],
)
def test_a_checkpoint_is_accepted(listing: tuple[RemoteFile, ...]) -> None:
    assert refuse_listing(SOURCE, listing) is None


@pytest.mark.parametrize(
    ("listing", "reason", "words"),
    [
        ((), FetchReason.EMPTY, "s3://models/llama/ holds no object"),
        ((file("model.safetensors"),), FetchReason.NOT_A_CHECKPOINT, "1 objects include no config.json"),
        ((file("x/config.json"),), FetchReason.NOT_A_CHECKPOINT, "there is one at s3://models/llama/x/config.json"),
        ((file("config.json"), file("sub/model.safetensors")), FetchReason.NOT_A_CHECKPOINT, ".safetensors, .bin"),
        ((*CHECKPOINT, file("../etc/passwd")), FetchReason.NOT_A_CHECKPOINT, "'../etc/passwd'"),
        ((*CHECKPOINT, file("/etc/passwd")), FetchReason.NOT_A_CHECKPOINT, "'/etc/passwd'"),
        ((*CHECKPOINT, file("a//b")), FetchReason.NOT_A_CHECKPOINT, "'a//b'"),
        ((*CHECKPOINT, file("a/./b")), FetchReason.NOT_A_CHECKPOINT, "'a/./b'"),
        ((*CHECKPOINT, file("a\0b")), FetchReason.NOT_A_CHECKPOINT, "cannot be a file"),
        ((*CHECKPOINT, file("ü" * 128)), FetchReason.NOT_A_CHECKPOINT, "cannot be a file"),
        ((*CHECKPOINT, file("config.json/x")), FetchReason.NOT_A_CHECKPOINT, "'config.json/x'"),
        ((*CHECKPOINT, file("x", 1, "")), FetchReason.NOT_A_CHECKPOINT, "llama/x without an ETag"),
        (tuple(file(str(n)) for n in range(MOST_FILES + 1)), FetchReason.NOT_A_CHECKPOINT, "more than 20000"),
    ],
    ids=[
        "nothing", "no config", "config below", "weights below", "leaves the folder", "absolute", "empty segment",
        "dot segment", "zero byte", "long name", "file and folder", "no etag", "a whole bucket",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_with_the_reason(
    listing: tuple[RemoteFile, ...], reason: FetchReason, words: str
) -> None:
    refusal = refuse_listing(SOURCE, listing)
    assert refusal is not None
    assert (refusal.reason, refusal.retryable) == (reason, False)
    assert words in refusal.message


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff"], ids=repr)
def test_a_config_that_is_no_json_object_is_refused(text: bytes) -> None:
    refusal = refuse_config(SOURCE, text)
    assert refusal is not None
    assert refusal.reason is FetchReason.CORRUPT


def test_an_index_must_name_only_files_that_are_there() -> None:
    index = json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode()
    name = "model.safetensors.index.json"
    assert refuse_index(SOURCE, name, index, {"1.safetensors", "2.safetensors"}) is None
    refusal = refuse_index(SOURCE, name, index, {"1.safetensors"})
    assert refusal is not None
    assert "names 2 files, of which 1 are missing, first '2.safetensors'" in refusal.message
    assert refuse_index(SOURCE, name, b"{}", set()) is not None


@pytest.mark.parametrize(
    ("need", "budget", "used", "free", "words", "retryable"),
    [
        (10 * GIB, 0, 99 * GIB, None, None, False),
        (10 * GIB, 10 * GIB, 0, 10 * GIB, None, False),
        (10 * GIB, 9 * GIB, 0, None, "has 10.0 GiB, the cache budget of a node is 9.0 GiB", False),
        (10 * GIB, 30 * GIB, 21 * GIB, None, "other models use 21.0 GiB", True),
        (10 * GIB, 0, 0, 9 * GIB, "cache disk has 9.0 GiB free", True),
    ],
    ids=["no limit", "just fits", "larger than the budget", "budget used by others", "disk"],
)
def test_what_does_not_fit_is_refused_with_both_numbers(
    need: int, budget: int, used: int, free: int | None, words: str | None, retryable: bool
) -> None:
    refusal = refuse_size(SOURCE, need, budget, used, free)
    if words is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert words in refusal.message
        assert refusal.retryable is retryable


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (16_000_000_000, "14.9 GiB"), (2**41, "2.0 TiB")],
)  # fmt: skip
def test_bytes_are_said_as_people_do(count: int, said: str) -> None:
    assert format_bytes(count) == said


def shard(header: object, data_bytes: int, *, text: bytes | None = None) -> tuple[bytes, int]:
    body = json.dumps(header).encode() if text is None else text
    head = len(body).to_bytes(8, "little") + body
    return head, len(head) + data_bytes


def tensor(begin: int, end: int, **changed: Any) -> dict[str, Any]:
    return {"dtype": "F16", "shape": [(end - begin) // 2], "data_offsets": [begin, end], **changed}


def test_a_header_that_describes_its_file_has_no_fault() -> None:
    head, size = shard({"__metadata__": {}, "b": tensor(4, 10), "a": tensor(0, 4)}, 10)
    assert header_end(head, size) == len(head)
    assert header_fault(head, size) is None


def test_empty_tensors_scalars_and_unknown_dtypes_are_accepted() -> None:
    header = {
        "empty": tensor(0, 0, shape=[0, 7]),
        "scalar": tensor(0, 2, shape=[]),
        "new": tensor(2, 5, dtype="Q3_NEW", shape=[9]),
        "half bytes": tensor(5, 9, dtype="F4", shape=[2, 4]),
    }
    head, size = shard(header, 9)
    assert header_fault(head, size) is None


BAD_SHARDS = {
    "shorter than described": (shard({"a": tensor(0, 10)}, 7), "but its header describes"),
    "longer than described": (shard({"a": tensor(0, 10)}, 12), "2 bytes more than its header describes"),
    "gap": (shard({"a": tensor(0, 4), "b": tensor(6, 10)}, 10), "a gap or an overlap at byte 4"),
    "overlap": (shard({"a": tensor(0, 6), "b": tensor(4, 10)}, 10), "a gap or an overlap at byte 4"),
    "shape and offsets disagree": (shard({"a": tensor(0, 4, shape=[3])}, 4), "tensor 'a'"),
    "offsets reversed": (shard({"a": tensor(0, 4, data_offsets=[4, 0])}, 4), "tensor 'a'"),
    "negative offset": (shard({"a": tensor(0, 4, data_offsets=[-4, 0])}, 4), "tensor 'a'"),
    "offsets are booleans": (shard({"a": tensor(0, 4, data_offsets=[False, True])}, 4), "tensor 'a'"),
    "no offsets": (shard({"a": {"dtype": "F16", "shape": [2]}}, 4), "tensor 'a'"),
    "not an object": (shard([], 0), "not a JSON object"),
    "not JSON": (shard(None, 0, text=b"{"), "not JSON"),
    "too short for a length": ((b"abc", 3), "has 3 bytes, too few"),
    "empty": ((b"", 0), "has 0 bytes, too few"),
    "header longer than the file": (((100).to_bytes(8, "little"), 50), "has 50 bytes in all: truncated"),
    "a web page": ((b"<html><body>", 12), "not safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SHARDS, ids=str)
def test_a_shard_that_is_not_what_its_header_says_is_named(case: str) -> None:
    (head, size), words = BAD_SHARDS[case]
    assert words in str(header_fault(head, size))
