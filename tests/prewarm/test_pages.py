"""Weights read into the page cache: real files, and the kernel's own answer whether they are cached."""

import os
import threading
from pathlib import Path

import pytest

from torpor.domain.loading import GIB, Tier
from torpor.prewarm.pages import (
    BLOCK_BYTES,
    Memory,
    find_shards,
    find_tier,
    is_cached,
    read_memory,
    warm_pages,
)

PLENTY = Memory(64 * GIB, 64 * GIB)


def write_cold(path: Path, size: int) -> tuple[str, int]:
    """Write a file and take its pages out of the cache; skips where the file system keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(1024) * (size // 1024))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if holds(path):
        pytest.skip("this file system does not drop pages")
    return str(path), size


def holds(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_cached(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def test_cold_files_are_cached_afterwards(tmp_path: Path) -> None:
    shards = [
        write_cold(tmp_path / "a.safetensors", 3 * BLOCK_BYTES),
        write_cold(tmp_path / "b.safetensors", BLOCK_BYTES + 1024),
    ]
    warmed = warm_pages(shards, Tier.DISK, threading.Event(), PLENTY)
    assert warmed.read == 4 * BLOCK_BYTES + 1024
    assert all(holds(Path(path)) for path, _ in shards)


def test_what_is_cached_is_not_read_again(tmp_path: Path) -> None:
    shards = [write_cold(tmp_path / "a.safetensors", BLOCK_BYTES)]
    warm_pages(shards, Tier.DISK, threading.Event(), PLENTY)
    again = warm_pages(shards, Tier.DISK, threading.Event(), PLENTY)
    assert (again.read, again.cached) == (0, BLOCK_BYTES)


def test_too_little_memory_reads_nothing_and_says_why(tmp_path: Path) -> None:
    shard = write_cold(tmp_path / "a.safetensors", BLOCK_BYTES)
    warmed = warm_pages([shard], Tier.DISK, threading.Event(), Memory(2 * GIB, 64 * GIB))
    assert (warmed.read, warmed.cached) == (0, 0)
    assert "are available" in warmed.message
    assert not holds(Path(shard[0]))


def test_an_engine_that_is_ready_ends_the_reading(tmp_path: Path) -> None:
    shard = write_cold(tmp_path / "a.safetensors", BLOCK_BYTES)
    stop = threading.Event()
    stop.set()
    warmed = warm_pages([shard], Tier.DISK, stop, PLENTY)
    assert warmed.read == 0
    assert warmed.message.startswith("stopped")


def test_a_file_that_is_gone_is_an_error_of_the_reader(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        warm_pages([(str(tmp_path / "x"), 1)], Tier.DISK, threading.Event(), PLENTY)


def test_a_file_that_became_shorter_does_not_hang(tmp_path: Path) -> None:
    path, size = write_cold(tmp_path / "a.safetensors", BLOCK_BYTES)
    warmed = warm_pages([(path, size * 3)], Tier.DISK, threading.Event(), PLENTY)
    assert warmed.read == size


def test_shards_come_in_the_order_of_the_loader_and_the_model_before_its_draft(
    tmp_path: Path,
) -> None:
    names = ("m-10.safetensors", "m-2.safetensors", "deep/x.safetensors", "old.bin", "config.json")
    for name in names:
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "a.safetensors").write_bytes(b"yy")
    shards = find_shards([str(tmp_path / "model"), str(tmp_path / "draft")])
    assert [path.removeprefix(f"{tmp_path}/") for path, _ in shards] == [
        "model/deep/x.safetensors",
        "model/m-2.safetensors",
        "model/m-10.safetensors",
        "model/old.bin",
        "draft/a.safetensors",
    ]
    assert shards[-1][1] == 2


def test_memory_is_that_of_the_node_unless_the_container_has_less(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n")
    assert read_memory(str(proc), str(cgroup)) == Memory(600 * 1024, 1000 * 1024)
    (cgroup / "memory.max").write_text("max\n")
    assert read_memory(str(proc), str(cgroup)).available == 600 * 1024
    (cgroup / "memory.max").write_text("300000\n")
    (cgroup / "memory.current").write_text("100000\n")
    assert read_memory(str(proc), str(cgroup)).available == 200_000


def test_this_machine_has_memory() -> None:
    memory = read_memory()
    assert 0 < memory.available <= memory.total


@pytest.mark.parametrize(
    ("kind", "tier"),
    [
        ("tmpfs", Tier.MEMORY),
        ("nfs4", Tier.NETWORK),
        ("fuse.s3fs", Tier.NETWORK),
        ("ext4", Tier.DISK),
    ],
)
def test_the_mount_says_what_holds_the_weights(tmp_path: Path, kind: str, tier: Tier) -> None:
    device = os.stat(tmp_path).st_dev
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(
        f"20 1 0:0 / / rw - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime shared:1 - {kind} /dev/x rw\n"
    )
    assert find_tier(str(tmp_path), str(tmp_path)) is tier


def test_a_mount_that_is_not_listed_is_a_disk(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("")
    assert find_tier(str(tmp_path), str(tmp_path)) is Tier.DISK
