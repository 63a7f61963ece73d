"""After the machine started anew a copy is read back once; one that is damaged is removed and fetched again."""

import os
import stat
from pathlib import Path

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.nodecache import held
from tests.prewarm.s3server import Bucket
from torpor.prewarm.layout import Layout
from torpor.prewarm.scrub import heal, is_suspect, scrub

SHARD = "model-00002-of-00002.safetensors"


def _start_anew(prewarm: Prewarm, name: str) -> Path:
    """Let the bytes have been written under another boot."""
    boot = prewarm.model(name) / ".torpor" / "boot"
    assert boot.read_text().strip() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    boot.write_text("7b1f9d4c-0000-4000-8000-000000000000\n")
    return boot


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("offset", [0, 5 * PART + 50, -1], ids=["first", "middle", "last"])
def test_one_flipped_bit_is_found(offset: int, prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=8 * PART + 123)
    name = prewarm.run("fetch")["hash"]
    layout = Layout(str(prewarm.cache))
    assert scrub(layout, name) is None
    path = prewarm.model(name) / SHARD
    _flip(path, offset % path.stat().st_size)
    fault = scrub(layout, name)
    assert fault is not None
    assert fault.startswith(f"{SHARD} of {name} is damaged: crc64nvme on disk is ")


def test_a_job_finds_the_damage_and_fetches_again(
    prewarm: Prewarm, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    files = bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    _start_anew(prewarm, name)
    _flip(prewarm.model(name) / SHARD, 1000)
    capfd.readouterr()
    result = prewarm.run("fetch")
    assert result["reason"] == "Ready"
    prewarm.assert_holds(result, files)
    assert f'{{"damaged":"{SHARD} of {name} is damaged' in capfd.readouterr().out
    assert not is_suspect(Layout(str(prewarm.cache)), name)
    assert list((prewarm.cache / "trash").iterdir()) == []


def test_a_named_hash_is_read_back_too(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    _start_anew(prewarm, name)
    _flip(prewarm.model(name) / SHARD, 1000)
    assert prewarm.run("fetch", "--hash", name)["reason"] == "Ready"
    assert prewarm.run("fetch", "--hash", name)["reason"] == "Hit"


def test_an_engine_does_not_wait_for_it(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    boot = _start_anew(prewarm, name)
    before = boot.read_text()
    assert prewarm.run("ensure", "--hash", name)["reason"] == "Hit"
    assert boot.read_text() == before, "it is still to be read back"


def test_what_was_read_back_once_is_trusted_from_then_on(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    boot = _start_anew(prewarm, name)
    assert prewarm.run("fetch")["reason"] == "Hit"
    assert boot.read_text() == "checked\n"
    _flip(prewarm.model(name) / SHARD, 1000)
    assert heal(Layout(str(prewarm.cache)), name) is None


@pytest.mark.parametrize("text", [None, "", "ü"], ids=["missing", "empty", "garbage"])
def test_a_note_that_was_lost_makes_a_copy_suspect(
    text: str | None, prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    boot = _start_anew(prewarm, name)
    boot.unlink() if text is None else boot.write_text(text)
    assert is_suspect(Layout(str(prewarm.cache)), name)


def test_a_collection_reads_back_what_it_keeps_and_removes_what_is_damaged(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    for prefix in ("one/", "two/"):
        bucket.put_checkpoint(prefix)
    good, bad = (
        prewarm.run("fetch", source=f"s3://{bucket.name}/{prefix}/")["hash"]
        for prefix in ("one", "two")
    )
    for name in (good, bad):
        _start_anew(prewarm, name)
    _flip(prewarm.model(bad) / SHARD, 1000)
    result = prewarm.run("collect", "--keep", good, "--keep", bad)
    assert (result["removed"], result["damaged"]) == ([], [bad])
    assert "1 were damaged since the node started anew" in result["message"]
    assert prewarm.model(good).exists()
    assert not prewarm.model(bad).exists()


def test_hits_go_on_while_a_copy_is_read_back(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    with held(prewarm.cache / "locks" / name, shared=True):
        assert prewarm.run("ensure", "--hash", name)["reason"] == "Hit"


def test_a_file_that_cannot_be_read_is_damage(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    empty = prewarm.model(name) / "empty.txt"
    empty.unlink()
    os.mknod(empty, stat.S_IFSOCK | 0o644)
    assert scrub(Layout(str(prewarm.cache)), name) == (
        f"empty.txt of {name} cannot be read back: No such device or address"
    )
