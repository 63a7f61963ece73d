"""What belongs to no endpoint any more leaves the node, beside whatever else goes on there."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from tests.prewarm.conftest import PART, Prewarm, make_settings
from tests.prewarm.faultproxy import Asked, FaultProxy
from tests.prewarm.nodecache import age, held, now, run_in_namespace, run_killed
from tests.prewarm.s3server import Bucket, Server
from torpor.prewarm.collect import collect_patiently
from torpor.prewarm.layout import Layout
from torpor.prewarm.locks import try_lock
from torpor.settings.prewarm import PrewarmSettings

DEAD, KEPT, STRANGE = "d" * 32, "e" * 32, "lost+found"


@pytest.fixture(scope="module")
def stock(s3: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A cache with two copies; made once, copied for each test."""
    bucket = Bucket(s3, f"b-{uuid.uuid4().hex[:12]}")
    s3.client().create_bucket(Bucket=bucket.name)
    folder = tmp_path_factory.mktemp("stock")
    prewarm = Prewarm(folder, make_settings(folder, bucket))
    names: list[str] = []
    for prefix in ("one/", "two/"):
        bucket.put_checkpoint(prefix)
        names.append(prewarm.run("fetch", source=f"s3://{bucket.name}/{prefix}")["hash"])
        age(prewarm, names[-1])
    return prewarm.cache, names[0], names[1]


@pytest.fixture
def node(stock: tuple[Path, str, str], tmp_path: Path) -> Prewarm:
    """The cache of a node whose Job is told nothing of any store."""
    cache, log = tmp_path / "cache", str(tmp_path / "termination-log")
    shutil.copytree(stock[0], cache)
    return Prewarm(tmp_path, PrewarmSettings(cache_dir=str(cache), termination_log=log))


def _put(path: Path, size: int = 2 * PART) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_everything_of_hashes_that_are_not_kept_goes(
    node: Prewarm, stock: tuple[Path, str, str]
) -> None:
    _, kept, other = stock
    cache = node.cache
    for name in (DEAD, KEPT, STRANGE):
        _put(cache / "partial" / name / "model.safetensors")
    compiled = cache / "compile" / "ml" / "compile"
    for key, name in (("k1", kept), ("k2", DEAD), ("k3", "unclear")):
        _put(compiled / key / "graph.bin")
        (compiled / key / "hash").write_text(name + "\n")
    _put(compiled / "k4" / "graph.bin")
    _put(cache / "trash" / f"{DEAD}-1" / "model.safetensors")
    _put(cache / "locks" / DEAD, 0)
    result = node.run("collect", "--keep", kept, "--keep", KEPT)
    assert result["reason"] == "Collected"
    assert set(result["removed"]) == {other, DEAD}
    assert (result["left"], result["damaged"]) == ([], [])
    assert result["bytes"] >= 400_000 + 6 * PART
    assert "of 2 models" in result["message"]
    assert _names(cache / "models") == {kept}
    assert _names(cache / "partial") == {KEPT, STRANGE}
    assert _names(compiled) == {"k1", "k3", "k4"}
    assert _names(cache / "trash") == set()
    assert _names(cache / "locks") == {kept, "space"}
    assert node.run("ensure", "--hash", kept)["reason"] == "Hit"
    assert result["cacheUsedBytes"] > 400_000
    again = node.run("collect", "--keep", kept, "--keep", KEPT)
    assert (again["removed"], again["bytes"]) == ([], 0)


def test_the_settings_list_is_kept_too(node: Prewarm, stock: tuple[Path, str, str]) -> None:
    _, first, second = stock
    assert node.run("collect", keep=f"{first}, {second}")["removed"] == []
    assert set(node.run("collect")["removed"]) == {first, second}


@pytest.mark.parametrize("shared", [False, True], ids=["being fetched", "being taken"])
def test_what_is_locked_stays_and_is_named(
    shared: bool, node: Prewarm, stock: tuple[Path, str, str]
) -> None:
    _, first, second = stock
    with held(node.cache / "locks" / first, shared=shared):
        result = node.run("collect")
    assert (result["removed"], result["left"]) == ([second], [first])
    assert "1 that no endpoint has are in use" in result["message"]
    assert (node.cache / "locks" / first).exists()
    assert node.run("ensure", "--hash", first)["reason"] == "Hit"


def test_a_copy_that_is_newer_than_the_list_stays(
    node: Prewarm, stock: tuple[Path, str, str]
) -> None:
    """Its endpoint may be newer than the list as well."""
    _, first, second = stock
    age(node, second, now())
    result = node.run("collect", keep_as_of=now())
    assert (result["removed"], result["left"]) == ([first], [second])
    assert node.run("collect", keep_as_of=now() + 3600)["removed"] == [second]


def test_a_node_without_a_cache_has_nothing_to_collect(node: Prewarm) -> None:
    shutil.rmtree(node.cache)
    result = node.run("collect")
    assert (result["reason"], result["removed"], result["bytes"]) == ("Collected", [], 0)


def test_a_cache_that_cannot_be_written_is_named(node: Prewarm) -> None:
    script = 'mount -t tmpfs -o ro tmpfs "$TORPOR_CACHE_DIR" && torpor collect'
    run_in_namespace(node, script)
    result = json.loads(Path(node.settings.termination_log).read_text())
    assert (result["reason"], result["retryable"]) == ("WeightsInternal", True)
    assert f"the weights cache {node.cache} cannot be used: Read-only" in result["message"]


def test_a_hash_that_would_be_a_path_is_refused(node: Prewarm) -> None:
    assert node.run("collect", "--keep", "../x")["reason"] == "WeightsInternal"


def test_the_result_of_many_fits_the_termination_log(node: Prewarm) -> None:
    for number in range(200):
        _put(node.cache / "partial" / f"{number:032x}" / "x", 1)
    result = node.run("collect")
    assert Path(node.settings.termination_log).stat().st_size < 4096
    assert "of 202 models" in result["message"]


def test_a_download_under_way_is_not_disturbed(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    collected: list[dict[str, object]] = []
    lock = threading.Lock()

    def collect(asked: Asked) -> None:
        with lock:
            if asked.headers.get("Range", "").startswith(f"bytes={3 * PART}-") and not collected:
                log = str(prewarm.folder / "collect-log")
                command = [sys.executable, "-m", "torpor.prewarm", "collect"]
                environ = prewarm.environ(termination_log=log)
                subprocess.run(command, env=environ, check=True, capture_output=True)
                collected.append(json.loads(Path(log).read_text()))

    with FaultProxy(bucket.server.port, before=collect) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    prewarm.assert_holds(result, files)
    assert [(found["removed"], found["left"]) for found in collected] == [([], [result["hash"]])]


def test_a_collection_killed_at_any_step_leaves_whole_copies_or_none(
    node: Prewarm, stock: tuple[Path, str, str]
) -> None:
    cache, kept, other = stock
    for step in (1, 2, 4, 7, 10, 100):
        shutil.rmtree(node.cache)
        shutil.copytree(cache, node.cache)
        killed = run_killed(node.environ(), step, "collect", "--keep", kept)
        assert killed == (step < 100)
        whole = Layout(str(node.cache)).find_copy(other) is not None
        assert whole == node.model(other).exists() == (step == 1)
        node.run("collect", "--keep", kept)
        assert _names(node.cache / "models") == {kept}
        assert _names(node.cache / "trash") == set()
        assert node.run("ensure", "--hash", kept)["reason"] == "Hit"


REMOVE_BETWEEN = """
import os, sys
from torpor.prewarm.locks import try_lock
path, removed = sys.argv[1], []

def remove(event, _):
    if event == "fcntl.flock" and not removed:
        removed.append(path)
        os.unlink(path)

sys.addaudithook(remove)
fd = try_lock(path)
assert removed and fd is not None
print(os.path.samestat(os.stat(path), os.fstat(fd)) and try_lock(path) is None)
"""


def test_a_lock_on_a_removed_file_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    """Who opened the file just before it was removed would hold something that nobody else can see."""
    command = [sys.executable, "-c", REMOVE_BETWEEN, str(tmp_path / "locks" / DEAD)]
    environ = {"PYTHONPATH": str(Path(__file__).parents[2] / "operator")}
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("True\n", "")


def test_a_job_collects_again_while_a_download_that_was_told_to_end_still_has_its_lock(
    node: Prewarm, stock: tuple[Path, str, str]
) -> None:
    layout, kept = Layout(str(node.cache)), stock[1]
    held_lock = try_lock(layout.lock(stock[2]))
    assert held_lock is not None
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            os.close(held_lock)

    done = collect_patiently(layout, frozenset({kept}), now() + 3600, wait)
    assert (done.removed, done.left, len(waited)) == ((stock[2],), (), 2)
