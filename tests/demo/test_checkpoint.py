"""The checkpoint that demo and benchmarks make is a real one, and the same each time."""

import json
from pathlib import Path

from dev.engine.standin.checksum import checksum_folder
from dev.install.checkpoint import pack_tensors, write_checkpoint
from torpor.domain.safetensors import header_end, header_fault


def test_the_checkpoint_has_the_size_that_was_asked_for_within_a_hundredth(tmp_path: Path) -> None:
    assert abs(write_checkpoint(tmp_path, megabytes=3) - 3_000_000) < 30_000


def test_two_checkpoints_of_one_seed_are_the_same_and_of_another_seed_are_not(
    tmp_path: Path,
) -> None:
    for name, seed in (("first", "a"), ("again", "a"), ("other", "b")):
        write_checkpoint(tmp_path / name, megabytes=1, seed=seed)
    first, again, other = (checksum_folder(tmp_path / n) for n in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_tensors_fill_the_file_to_its_last_byte_in_the_order_of_the_header() -> None:
    packed = pack_tensors({"a": [4, 8], "b": [3]}, "seed")
    length = int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8 : 8 + length])
    assert header["a"] == {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}
    assert header["b"] == {"dtype": "BF16", "shape": [3], "data_offsets": [64, 70]}
    assert len(packed) == 8 + length + 70
    assert (8 + length) % 8 == 0


def test_torpor_itself_finds_no_fault_with_its_header_and_one_once_it_is_truncated() -> None:
    packed = pack_tensors({"a": [16, 4], "b": [8]}, "seed")
    end = header_end(packed, len(packed))
    assert isinstance(end, int)
    assert header_fault(packed[:end], len(packed)) is None
    assert header_fault(packed[:end], len(packed) - 1)
