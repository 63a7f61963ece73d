"""Buffers begin on a page, have their size, and are made of huge pages where the kernel has any."""

from pathlib import Path

import pytest

from torpor.prewarm.buffers import HUGE_BYTES, _address, take_buffer

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.parametrize("size", [1, 4096, HUGE_BYTES - 1, HUGE_BYTES, 3 * HUGE_BYTES + 4096])
def test_a_buffer_has_its_size_and_can_be_written_to_the_last_byte(size: int) -> None:
    buffer = take_buffer(size)
    assert len(buffer) == size
    buffer[:] = b"x" * size
    assert bytes(buffer[-1:]) == b"x"


@pytest.mark.parametrize(("size", "block"), [(4096, 4096), (HUGE_BYTES, HUGE_BYTES)])
def test_a_buffer_begins_where_the_disk_wants_it(size: int, block: int) -> None:
    assert _address(take_buffer(size)) % block == 0


@pytest.mark.skipif(
    not ENABLED.exists() or "[never]" in ENABLED.read_text(), reason="no huge pages here"
)
def test_large_buffers_are_huge_pages() -> None:
    before = _huge_kib()
    buffers = [take_buffer(HUGE_BYTES) for _ in range(8)]
    for buffer in buffers:
        buffer[:] = bytes(HUGE_BYTES)
    assert _huge_kib() > before


def _huge_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))
