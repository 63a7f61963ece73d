"""awscrt's checksums called without importing it: the same values, the same errors, and a way back."""

import ctypes
import os
import random
import subprocess
import sys

import pytest

from torpor.prewarm import checksums
from torpor.prewarm.checksums import ALGORITHMS, load_exported, load_imported

DATA = random.Random(1).randbytes(3 * 1024 * 1024 + 7)
KNOWN = {"crc64nvme": 0xAE8B14860A799888, "crc32c": 0xE3069283, "crc32": 0xCBF43926}
"""Of the nine bytes 123456789, by the catalogue of parametrised CRC algorithms."""


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("load", [load_exported, load_imported])
def test_each_algorithm_gives_the_value_of_the_catalogue(load: object, name: str) -> None:
    assert callable(load)
    algorithm = load()[name]
    assert algorithm.compute(b"123456789", 0) == KNOWN[name]
    assert algorithm.compute(memoryview(bytearray(b"123456789")), 0) == KNOWN[name]
    assert algorithm.compute(b"", 0) == 0
    assert algorithm.size == (8 if name == "crc64nvme" else 4)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("cut", [0, 1, 1024 * 1024, len(DATA)])
def test_the_values_of_two_parts_give_that_of_the_whole(name: str, cut: int) -> None:
    ours, theirs = load_exported()[name], load_imported()[name]
    whole = theirs.compute(DATA, 0)
    assert ours.compute(DATA, 0) == whole
    first, second = ours.compute(DATA[:cut], 0), ours.compute(DATA[cut:], 0)
    assert ours.compute(DATA[cut:], first) == whole
    assert theirs.compute(DATA[cut:], first) == whole
    assert ours.combine(first, second, len(DATA) - cut) == whole
    assert theirs.combine(first, second, len(DATA) - cut) == whole


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_no_buffer_is_an_error_as_always(name: str) -> None:
    with pytest.raises(TypeError):
        ALGORITHMS[name].compute(5, 0)


def test_a_library_that_does_not_export_them_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        def __getitem__(self, name: str) -> object:
            raise AttributeError(f"undefined symbol: {name}")

    monkeypatch.setattr(ctypes, "PyDLL", lambda _path: Bare())
    assert checksums._load()["crc32"].compute(b"123456789", 0) == KNOWN["crc32"]


def test_what_a_download_imports_does_not_set_up_awscrt() -> None:
    code = (
        "import sys, torpor.prewarm.artifacts, torpor.prewarm.proof as proof\n"
        "assert proof.sum_piece('crc32c', memoryview(b'abc'))\n"
        "assert not {'awscrt', '_awscrt'} & sys.modules.keys()\n"
    )
    path = os.pathsep.join(word for word in sys.path if word)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
