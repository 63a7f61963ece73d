"""One fingerprint for a checkpoint, whether it lies in a folder or in a bucket."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dev.engine.standin import checksum

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "sub/tokenizer.json": b"[]"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_folder_and_a_bucket_with_the_same_files_agree(tmp_path: Path) -> None:
    backwards = dict(reversed(FILES.items()))
    assert checksum.checksum_folder(write(tmp_path, FILES)) == checksum.checksum_objects(backwards)


def test_the_fingerprint_is_a_fixed_value() -> None:
    assert checksum.checksum_objects({"a": b"b"}) == "fp_a3bd839132d2cad9"


def test_what_lies_in_dot_folders_does_not_count(tmp_path: Path) -> None:
    before = checksum.checksum_folder(write(tmp_path, FILES))
    write(tmp_path, {".torpor/READY": b"1", "sub/.cache/x": b"2"})
    assert checksum.checksum_folder(tmp_path) == before
    write(tmp_path, {".gitattributes": b"counts"})
    assert checksum.checksum_folder(tmp_path) != before


@given(
    files=some.dictionaries(some.text("abc/", min_size=1, max_size=5), some.binary(max_size=5)),
    other=some.dictionaries(some.text("abc/", min_size=1, max_size=5), some.binary(max_size=5)),
)
def test_different_contents_have_different_fingerprints(
    files: dict[str, bytes], other: dict[str, bytes]
) -> None:
    same = checksum.checksum_objects(files) == checksum.checksum_objects(other)
    assert same == (files == other)


def test_a_file_that_is_not_as_long_as_announced_is_an_error() -> None:
    with pytest.raises(ValueError, match="'a' has 2 bytes, not 3"):
        checksum.checksum_files([("a", 3, [b"b", b"c"])])


def test_a_model_with_adapters_has_a_fingerprint_of_its_own() -> None:
    alone, other = "fp_1", "fp_2"
    assert checksum.combine([alone]) == alone
    both = checksum.combine([alone, other])
    assert both not in (alone, other)
    assert both != checksum.combine([other, alone])
