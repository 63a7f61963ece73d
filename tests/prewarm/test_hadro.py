"""Another maker's S3 server that is slow and fails at random: what arrives is exact all the same.

Its ETags are made of size and time, but look like an MD5, so that the copy would be refused: what stands in
between makes them look like those of a multipart upload, which say nothing of the content.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.ports import free_port
from tests.prewarm.conftest import PART, Prewarm, make_settings
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket, Server, safetensors, wait_for_port

pytestmark = pytest.mark.slow

SHARD_BYTES = 10 * PART + 321


@contextmanager
def serve(folder: Path, *options: str) -> Iterator[Bucket]:
    """Each subfolder is a bucket; signatures are not looked at."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("hadro")), str(folder), f"--port={port}"]
    command += ["--fault-seed=4", "--log-level=critical", *options]
    log = (folder.parent / "hadro.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    log.close()
    try:
        wait_for_port(port, process)
        with FaultProxy(port, before=_restore_etag, after=_mark_etag) as proxy:
            yield Bucket(Server(folder, port=int(proxy.endpoint.rpartition(":")[2])), "models")
    finally:
        process.terminate()
        process.wait(10)


def _restore_etag(asked: Asked) -> None:
    if "If-Match" in asked.headers:
        asked.headers["If-Match"] = asked.headers["If-Match"].replace('-1"', '"')


def _mark_etag(asked: Asked, answer: Answer) -> None:
    for name in answer.headers:
        if name.lower() == "etag":
            answer.headers[name] = answer.headers[name].rstrip('"') + '-1"'
    if asked.is_listing:
        answer.body = re.sub(rb"([0-9a-f]{32})", rb"\1-1", answer.body)
        answer.headers = {
            name: str(len(answer.body)) if name.lower() == "content-length" else value
            for name, value in answer.headers.items()
        }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    files = {name: safetensors(os.urandom(SHARD_BYTES)) for name in shards}
    index = {"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1]}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["config.json"] = b'{"architectures": ["LlamaForCausalLM"]}'
    folder = tmp_path / "data" / "models" / "llama"
    folder.mkdir(parents=True)
    for key, body in files.items():
        (folder / key).write_bytes(body)
    return files


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--latency-ms=5", "--latency-jitter-ms=30"], id="slow and uneven"),
        pytest.param(["--error-rate=0.03", "--latency-jitter-ms=5"], id="some requests fail"),
        pytest.param(["--total-bandwidth-mbps=40"], id="a narrow link"),
    ],
)
def test_what_arrives_is_exact(options: list[str], files: dict[str, bytes], tmp_path: Path) -> None:
    with serve(tmp_path / "data", *options) as bucket:
        prewarm = Prewarm(tmp_path, make_settings(tmp_path, bucket))
        result = prewarm.run("fetch", part_attempts=20, part_bytes=PART // 4)
    assert (result["reason"], result["verified"]) == ("Ready", "size-only")
    prewarm.assert_holds(result, files)
