"""A checkpoint on the node: bit-exact, verified, found again, and never half there."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Asked, FaultProxy
from tests.prewarm.s3server import Bucket, safetensors


def test_every_file_arrives_byte_for_byte(
    prewarm: Prewarm, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=5 * PART + 123)
    result = prewarm.run("fetch")
    assert (result["reason"], result["verified"]) == ("Ready", "crc64nvme")
    assert result["seconds"] > 0
    assert result["bytesPerSecond"] > 0
    prewarm.assert_holds(result, files)
    model = prewarm.model(result["hash"])
    assert (model / ".torpor" / "READY").read_text() == result["hash"] + "\n"
    manifest = json.loads((model / ".torpor" / "manifest.json").read_text())
    assert {key: entry["size"] for key, entry in manifest["files"].items()} == {
        key: len(body) for key, body in files.items()
    }
    assert not (prewarm.cache / "partial" / result["hash"]).exists()
    assert json.loads(capfd.readouterr().out.splitlines()[-1]) == {"result": result}


def test_the_hash_is_that_of_the_preflight(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    assert prewarm.run("preflight")["hash"] == prewarm.run("fetch")["hash"]


def test_a_second_fetch_finds_the_copy_and_reads_no_weights(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    with FaultProxy(bucket.server.port) as proxy:
        first = prewarm.run("fetch", endpoint=proxy.endpoint)
        proxy.asked.clear()
        second = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert second["reason"] == "Hit"
    assert second["hash"] == first["hash"]
    assert second["verified"] == "crc64nvme"
    assert {asked.method for asked in proxy.asked} == {"GET"}
    assert all(asked.headers["Range"].startswith("bytes=0-") for asked in proxy.ranges())


def test_small_files_are_fetched_before_the_shards(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=4 * PART)
    with FaultProxy(bucket.server.port) as proxy:
        prewarm.run("fetch", endpoint=proxy.endpoint, connections=1)
        downloads = [asked.is_range_of for asked in _downloads(proxy)]
    last_small = max(index for index, path in enumerate(downloads) if "safetensors" not in path)
    first_shard = downloads.index(next(path for path in downloads if path.endswith(".safetensors")))
    assert last_small < first_shard
    assert len(downloads) == 10 + len(files) - 3


@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32"])
def test_a_checksum_of_the_store_is_what_it_is_verified_by(
    checksum: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", checksum=checksum)
    result = prewarm.run("fetch")
    assert (result["reason"], result["verified"]) == ("Ready", checksum)
    prewarm.assert_holds(result, files)


def test_without_a_checksum_the_etag_of_a_single_part_is_its_md5(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", checksum=None)
    result = prewarm.run("fetch")
    assert (result["reason"], result["verified"]) == ("Ready", "md5-etag")
    assert "verified: md5-etag" in result["message"]
    prewarm.assert_holds(result, files)


def test_a_multipart_object_without_checksum_is_said_to_be_verified_by_size_only(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    whole = safetensors(os.urandom(6 * 1024 * 1024))
    bucket.put("llama/config.json", b"{}")
    bucket.put_in_parts("llama/model.safetensors", [whole[: 5 << 20], whole[5 << 20 :]])
    result = prewarm.run("fetch", part_bytes=1 << 20)
    assert (result["reason"], result["verified"]) == ("Ready", "size-only")
    assert "verified: size-only" in result["message"]
    prewarm.assert_holds(result, {"config.json": b"{}", "model.safetensors": whole})


@pytest.mark.parametrize("checksum", ["crc64nvme", None], ids=["crc64nvme", "md5-etag"])
def test_bytes_that_rotted_in_the_store_are_never_published(
    checksum: str | None, prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/", checksum=checksum)
    path = bucket.file_behind("llama/model-00002-of-00002.safetensors")
    with path.open("r+b") as file:
        file.seek(150_000)
        byte = file.read(1)
        file.seek(150_000)
        file.write(bytes([byte[0] ^ 1]))
    result = prewarm.run("fetch")
    assert result["reason"] == "WeightsCorrupt"
    assert (
        "model-00002-of-00002.safetensors arrived 2 times with a wrong checksum"
        in result["message"]
    )
    prewarm.assert_nothing_left()


def test_a_partial_copy_is_never_trusted(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/")
    name = prewarm.run("preflight")["hash"]
    partial = prewarm.cache / "partial" / name
    partial.mkdir(parents=True)
    for key, body in files.items():
        (partial / key).parent.mkdir(exist_ok=True)
        (partial / key).write_bytes(bytes(len(body)))
    (partial / "stray").write_bytes(b"x")
    prewarm.assert_holds(prewarm.run("fetch"), files)


def _drop_marker(model: Path) -> None:
    (model / ".torpor" / "READY").unlink()


def _tear_marker(model: Path) -> None:
    (model / ".torpor" / "READY").write_text("")


def _drop_manifest(model: Path) -> None:
    (model / ".torpor" / "manifest.json").write_text("{")


def _drop_shard(model: Path) -> None:
    (model / "model-00001-of-00002.safetensors").unlink()


def _cut_shard(model: Path) -> None:
    os.truncate(model / "model-00001-of-00002.safetensors", 1000)


@pytest.mark.parametrize(
    "damage", [_drop_marker, _tear_marker, _drop_manifest, _drop_shard, _cut_shard]
)
@pytest.mark.parametrize("mode", ["fetch", "ensure"])
def test_a_damaged_copy_is_fetched_again(
    damage: Any, mode: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/")
    name = prewarm.run("fetch")["hash"]
    damage(prewarm.model(name))
    arguments = [mode, "--hash", name] if mode == "ensure" else [mode]
    result = prewarm.run(*arguments)
    assert result["reason"] == "Ready"
    prewarm.assert_holds(result, files)


@pytest.mark.parametrize("mode", ["fetch", "ensure"])
def test_other_content_than_was_asked_for_is_refused(
    mode: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    name = prewarm.run("preflight")["hash"]
    bucket.put("llama/config.json", b'{"changed": true}')
    result = prewarm.run(mode, "--hash", name)
    assert result["reason"] == "WeightsChanged"
    assert f"{name} was asked for" in result["message"]
    prewarm.assert_nothing_left()


def test_a_hash_that_would_be_a_path_is_refused(prewarm: Prewarm) -> None:
    result = prewarm.run("ensure", "--hash", "../../etc")
    assert result["reason"] == "WeightsInternal"
    assert "'../../etc' is not 32 hexadecimal digits" in result["message"]


def test_two_pods_on_one_node_fetch_once(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=40 * PART)
    with FaultProxy(bucket.server.port) as proxy:
        pods = [_start(prewarm, number, endpoint=proxy.endpoint) for number in range(3)]
        results = [_finish(pod, prewarm, number) for number, pod in enumerate(pods)]
        downloads = [
            (asked.target, asked.headers["Range"])
            for asked in proxy.ranges()
            if not asked.headers["Range"].startswith("bytes=0-")
        ]
    assert sorted(result["reason"] for result in results) == ["Hit", "Hit", "Ready"]
    assert len(set(downloads)) == 2 * 40
    assert len(downloads) < 2 * 2 * 40, "a busy machine may ask for a late range twice, no more"
    prewarm.assert_holds(results[0], files)


@pytest.mark.parametrize("after_ranges", [3, 20, 60])
def test_after_kill_9_the_next_run_publishes_the_right_bytes(
    after_ranges: int, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=40 * PART)
    pods: list[subprocess.Popen[str]] = []

    def kill(asked: Asked) -> None:
        if asked.is_range_of and len(_downloads(proxy)) >= after_ranges and pods:
            pods[0].kill()

    with FaultProxy(bucket.server.port, before=kill) as proxy:
        pods.append(_start(prewarm, 0, endpoint=proxy.endpoint))
        pods[0].communicate(timeout=60)
        assert pods.pop().returncode == -signal.SIGKILL
        name = prewarm.run("preflight", endpoint=proxy.endpoint)["hash"]
        assert not prewarm.model(name).exists()
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert result["reason"] == "Ready"
    prewarm.assert_holds(result, files)


def test_sigterm_ends_it_soon_and_the_next_run_goes_on(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=40 * PART)
    pods: list[subprocess.Popen[str]] = []

    def stall(asked: Asked) -> None:
        if asked.is_range_of and len(_downloads(proxy)) >= 10 and pods:
            pods.pop().terminate()
            time.sleep(1)  # the reader must be torn out of its read

    with FaultProxy(bucket.server.port, before=stall) as proxy:
        pod = _start(prewarm, 0, endpoint=proxy.endpoint)
        pods.append(pod)
        begun = time.monotonic()
        result = _finish(pod, prewarm, 0)
        assert time.monotonic() - begun < 20
        assert (result["reason"], result["retryable"]) == ("WeightsInternal", True)
        assert "stopped by SIGTERM" in result["message"]
        prewarm.assert_nothing_published()
        again = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert again["reason"] == "Ready"
    assert again["resumedBytes"] > 0
    prewarm.assert_holds(again, files)


def test_progress_is_said_while_bytes_move(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=20 * PART)

    def be_slow(asked: Asked) -> None:
        if asked.is_range_of:
            time.sleep(0.05)

    with FaultProxy(bucket.server.port, before=be_slow) as proxy:
        pod = _start(prewarm, 0, endpoint=proxy.endpoint, connections=2)
        said = [json.loads(line) for line in pod.communicate(timeout=60)[0].splitlines()]
    progress = [line["progress"] for line in said if "progress" in line]
    assert len(progress) >= 2
    assert [step["bytes"] for step in progress] == sorted(step["bytes"] for step in progress)
    assert all(step["total"] == sum(map(len, files.values())) for step in progress)
    assert progress[-1]["bytesPerSecond"] > 0
    assert progress[-1]["secondsLeft"] is not None
    assert said[-1]["result"]["reason"] == "Ready"


def _downloads(proxy: FaultProxy) -> list[Asked]:
    """Requests of the download itself: the preflight's reads of headers and small files come before the proofs."""
    asked = list(proxy.asked)
    proofs = [index for index, request in enumerate(asked) if request.method == "HEAD"]
    return [request for request in asked[proofs[-1] + 1 :] if request.is_range_of] if proofs else []


def _start(prewarm: Prewarm, number: int, **changed: Any) -> "subprocess.Popen[str]":
    log = f"{prewarm.settings.termination_log}-{number}"
    environ = prewarm.environ(termination_log=log, **changed)
    for name in ("connections", "processes"):
        if name in changed:
            environ[f"TORPOR_PREWARM_{name.upper()}"] = str(changed[name])
    command = [sys.executable, "-m", "torpor.prewarm", "fetch"]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(pod: "subprocess.Popen[str]", prewarm: Prewarm, number: int) -> dict[str, Any]:
    _, errors = pod.communicate(timeout=60)
    assert errors == ""
    log = Path(f"{prewarm.settings.termination_log}-{number}")
    result: dict[str, Any] = json.loads(log.read_text())
    return result
