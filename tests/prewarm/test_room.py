"""A cache that is full, or cannot be written: said before the first byte, and nobody else is hurt."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import FaultProxy
from tests.prewarm.s3server import Bucket


def test_what_other_models_use_counts_against_the_budget(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("other/", shard_bytes=4 * PART)
    bucket.put_checkpoint("llama/", shard_bytes=4 * PART)
    other = prewarm.run("fetch", source=f"s3://{bucket.name}/other/")
    with FaultProxy(bucket.server.port) as proxy:
        result = prewarm.run("fetch", budget_bytes=12 * PART, endpoint=proxy.endpoint)
        assert not [asked for asked in proxy.asked if asked.method == "HEAD"]
    assert (result["reason"], result["retryable"]) == ("WeightsCacheFull", True)
    assert "but other models use 5" in result["message"]
    assert "of the node's cache budget of 768.0 KiB" in result["message"]
    assert prewarm.run("ensure", "--hash", other["hash"])["reason"] == "Hit"
    assert prewarm.run("fetch", budget_bytes=20 * PART)["reason"] == "Ready"


def test_a_download_that_nobody_finishes_makes_room(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=4 * PART)
    abandoned = prewarm.cache / "partial" / ("0" * 32)
    abandoned.mkdir(parents=True)
    (abandoned / "model.safetensors").write_bytes(os.urandom(8 * PART))
    assert prewarm.run("fetch", budget_bytes=12 * PART)["reason"] == "Ready"
    assert not abandoned.exists()


def test_a_download_under_way_keeps_its_room(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=4 * PART)
    busy = prewarm.cache / "partial" / ("0" * 32)
    busy.mkdir(parents=True)
    (busy / "model.safetensors").write_bytes(os.urandom(8 * PART))
    lock = prewarm.cache / "locks" / ("0" * 32)
    lock.parent.mkdir()
    code = f"import fcntl,sys; f=open({str(lock)!r},'w'); fcntl.flock(f,2); print(1,flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        result = prewarm.run("fetch", budget_bytes=12 * PART)
    finally:
        holder.communicate()
    assert result["reason"] == "WeightsCacheFull"
    assert (busy / "model.safetensors").stat().st_size == 8 * PART


@pytest.mark.parametrize("disk", ["512k", "900k"], ids=["too small", "full while reserving"])
def test_a_full_disk_is_named_and_left_as_it_was(
    disk: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    """A file system of that size, mounted in a mount namespace of the test's own."""
    bucket.put_checkpoint("llama/", shard_bytes=7 * PART)
    prewarm.cache.mkdir()
    script = (
        f'mount -t tmpfs -o size={disk} tmpfs "$TORPOR_CACHE_DIR" && '
        f'"{sys.executable}" -m torpor.prewarm fetch; '
        'find "$TORPOR_CACHE_DIR" -type f -not -path "*/locks/*"'
    )
    run = subprocess.run(
        ["unshare", "--mount" if os.geteuid() == 0 else "-rm", "sh", "-c", script],
        env=prewarm.environ() | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert (result["reason"], result["retryable"]) == ("WeightsTooLarge", True)
    assert "disk" in result["message"]
    assert run.stdout.count("\n") == 1, "only the result is printed; no file is left"
    assert run.stderr == ""


def test_a_read_only_cache_is_named(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    prewarm.cache.mkdir()
    script = (
        'mount -t tmpfs -o ro tmpfs "$TORPOR_CACHE_DIR" && '
        f'"{sys.executable}" -m torpor.prewarm fetch'
    )
    subprocess.run(
        ["unshare", "--mount" if os.geteuid() == 0 else "-rm", "sh", "-c", script],
        env=prewarm.environ() | {"PATH": os.environ["PATH"]},
        capture_output=True,
    )
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert result["reason"] == "WeightsInternal"
    assert (
        f"the weights cache {prewarm.cache} cannot be used: Read-only file system"
        in result["message"]
    )


def test_a_file_system_without_direct_writes_gets_the_same_bytes(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    """ramfs takes no O_DIRECT, so the buffered rung is used; sizes that are no whole blocks must survive both."""
    files = bucket.put_checkpoint("llama/", shard_bytes=5 * PART + 77)
    prewarm.cache.mkdir()
    keep = prewarm.folder / "kept"
    script = (
        'mount -t ramfs ramfs "$TORPOR_CACHE_DIR" && '
        f'"{sys.executable}" -m torpor.prewarm fetch && cp -a "$TORPOR_CACHE_DIR" "{keep}" && '
        f'"{sys.executable}" -c "from torpor.prewarm.writing import probe as p; import sys; '
        'print(p(sys.argv[1]))" "$TORPOR_CACHE_DIR"'
    )
    run = subprocess.run(
        ["unshare", "--mount" if os.geteuid() == 0 else "-rm", "sh", "-c", script],
        env=prewarm.environ() | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines()[-1] == "buffered", run.stdout + run.stderr
    shutil.rmtree(prewarm.cache)
    keep.rename(prewarm.cache)
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    prewarm.assert_holds(result, files)
