"""SIGKILL at any instant: a copy is exact or is none, and what was promised is not fetched again."""

import os
import shutil
from pathlib import Path

import pytest

from bench.frame.killing import Victim
from bench.frame.relay import Relay
from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.nodecache import run_killed
from tests.prewarm.s3server import Bucket, safetensors

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_twenty_kills_leave_no_copy_that_is_not_exact_and_cost_nothing_that_was_promised(
    prewarm: Prewarm, bucket: Bucket, tmp_path: Path
) -> None:
    files = {name: safetensors(os.urandom(24 * MIB)) for name in SHARDS}
    files["config.json"] = b'{"architectures": ["LlamaForCausalLM"]}'
    originals = {}
    for key, body in files.items():
        bucket.put(f"llama/{key}", body)
        originals[key] = tmp_path / key
        originals[key].write_bytes(body)
    with Relay(bucket.server.port) as relay:
        environ = prewarm.environ(endpoint=f"http://127.0.0.1:{relay.port}", part_bytes=256 * 1024)
        tally = Victim(relay, environ, originals, seed=4).run(kills=20)
    assert tally.faults == []
    assert tally.kills == 20
    assert tally.copies >= 1
    assert tally.promised > 0
    assert tally.share >= 0.9


def test_a_kill_at_any_change_of_a_folder_leaves_a_copy_or_none(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    """The steps of the publication are milliseconds apart: they are hit one by one."""
    files = bucket.put_checkpoint("llama/", shard_bytes=3 * PART)
    name = prewarm.run("preflight")["hash"]
    marked: list[bool] = []
    while run_killed(prewarm.environ(), len(marked) + 1, "fetch"):
        marked.append((prewarm.model(name) / ".torpor" / "READY").exists())
        result = prewarm.run("fetch")
        assert result["reason"] == ("Hit" if marked[-1] else "Ready")
        prewarm.assert_holds(result, files)
        shutil.rmtree(prewarm.cache)
    assert marked == sorted(marked)
    assert marked.count(False) >= 3
    assert marked.count(True) >= 1
