"""A full cache on a node: the least recently used copy goes, and never one that an engine may have open."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.prewarm.conftest import BUDGET, PART, Full, Prewarm
from tests.prewarm.nodecache import (
    LONG_AGO,
    age,
    held,
    now,
    run_in_namespace,
    run_killed,
    used_at,
)
from tests.prewarm.s3server import Bucket
from torpor.domain.eviction import Need
from torpor.prewarm.eviction import evict
from torpor.prewarm.inventory import list_entries
from torpor.prewarm.layout import Layout
from torpor.prewarm.preflight import examine
from torpor.prewarm.room import make_room, read_terms
from torpor.prewarm.store import Store
from torpor.prewarm.usage import take_hit

FULL = ("WeightsTooLarge", "WeightsCacheFull")


def _held_by(message: str) -> str:
    return message.partition("may not be evicted: ")[2]


def test_the_copy_whose_engine_started_longest_ago_goes(full: Full) -> None:
    result = full.prewarm.run("fetch", **full.job)
    assert (result["reason"], result["evicted"]) == ("Ready", [full.first])
    assert result["cacheUsedBytes"] <= BUDGET
    assert result["cacheUsedBytes"] > 2 * 8 * PART
    assert result["cacheFreeBytes"] > 0
    assert not full.prewarm.model(full.first).exists()
    assert full.prewarm.run("ensure", "--hash", full.second)["reason"] == "Hit"
    assert list((full.prewarm.cache / "trash").iterdir()) == []


def test_an_engine_start_is_what_counts_as_use(full: Full) -> None:
    assert full.prewarm.run("ensure", "--hash", full.first)["reason"] == "Hit"
    assert now() - used_at(full.prewarm, full.first) < 60
    result = full.prewarm.run("fetch", **full.job)
    assert result["evicted"] == [full.second]


def test_a_copy_that_was_only_prewarmed_has_the_rank_that_its_job_was_told(full: Full) -> None:
    result = full.prewarm.run("fetch", **full.job)
    assert used_at(full.prewarm, result["hash"]) == LONG_AGO + 20
    again = full.prewarm.run("fetch", **(full.job | {"last_use": LONG_AGO + 30}))
    assert (again["reason"], again["evicted"]) == ("Hit", [])
    assert used_at(full.prewarm, result["hash"]) == LONG_AGO + 30
    full.prewarm.run("fetch", **full.job)
    assert used_at(full.prewarm, result["hash"]) == LONG_AGO + 30, "a use is never forgotten"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"keep": "{first},{second}"}, "in 2 running or pinned"),
        ({"keep_as_of": 0}, "in 2 possibly running"),
        ({"keep_as_of": LONG_AGO + 30}, "in 2 used or fetched since the list of who runs was made"),
        ({"last_use": LONG_AGO}, "in 2 used as recently as this model"),
        ({"last_use": 0}, "in 2 used as recently as this model"),
    ],
    ids=["kept", "no list", "older list", "less recent model", "no rank"],
)
def test_a_copy_that_must_stay_stays_and_the_sentence_says_why(
    changed: dict[str, Any], why: str, full: Full
) -> None:
    if "keep" in changed:
        changed = {"keep": changed["keep"].format(first=full.first, second=full.second)}
    result = full.prewarm.run("fetch", **(full.job | changed))
    assert (result["reason"] in FULL, result["retryable"]) == (True, True)
    assert "of the node's cache budget of 1.2 MiB; of that may not be evicted" in result["message"]
    assert _held_by(result["message"]).endswith(why)
    for name in (full.first, full.second):
        assert full.prewarm.run("ensure", "--hash", name)["reason"] == "Hit"
    assert list((full.prewarm.cache / "partial").iterdir()) == []


@pytest.mark.parametrize("shared", [False, True], ids=["removed or fetched", "being looked at"])
def test_a_copy_that_another_process_has_locked_is_passed_over(full: Full, shared: bool) -> None:
    with held(full.prewarm.cache / "locks" / full.first, shared=shared):
        result = full.prewarm.run("fetch", **full.job)
    assert result["evicted"] == [full.second]
    assert full.prewarm.model(full.first).exists()


def test_nothing_goes_for_a_model_that_would_not_fit_then_either(full: Full) -> None:
    with held(full.prewarm.cache / "locks" / full.second):
        result = full.prewarm.run("fetch", **(full.job | {"budget_bytes": 12 * PART}))
    assert _held_by(result["message"]).endswith("in 1 being fetched or checked")
    assert full.prewarm.model(full.first).exists()


def test_a_hit_after_the_cache_was_measured_saves_the_copy(full: Full) -> None:
    layout = Layout(str(full.prewarm.cache))
    terms = read_terms(full.prewarm.settings._replace(**full.job))
    measured = list_entries(layout)
    assert take_hit(layout, full.first, now()) is not None
    need = Need("s3://x/", 8 * PART, 0, 0, None)
    outcome = evict(layout, need, terms, measured)
    assert isinstance(outcome, tuple)
    assert [entry.hash for entry in outcome] == [full.second]
    assert take_hit(layout, full.second, now()) is None


def test_a_download_that_nobody_continues_goes_before_any_copy(full: Full) -> None:
    abandoned = full.prewarm.cache / "partial" / ("0" * 32)
    abandoned.mkdir(parents=True)
    (abandoned / "model.safetensors").write_bytes(os.urandom(8 * PART))
    result = full.prewarm.run("fetch", **(full.job | {"budget_bytes": 30 * PART}))
    assert (result["reason"], result["evicted"]) == ("Ready", [])
    assert not abandoned.exists()


def test_a_download_to_be_continued_stays_and_counts_as_used(full: Full) -> None:
    layout = Layout(str(full.prewarm.cache))
    name = full.prewarm.run("preflight")["hash"]
    files = examine(Store(full.prewarm.settings), 0).files
    terms = read_terms(full.prewarm.settings._replace(**full.job))
    assert make_room(layout, name, "s3://x/", files, terms) == (full.first,)
    partial = full.prewarm.cache / "partial" / name
    big, small = files[-3], files[-2]
    moved = b"moved" + bytes(big.size - 5)
    (partial / big.key).write_bytes(moved)
    assert make_room(layout, name, "s3://x/", files, terms, resumable=True) == ()
    assert (partial / big.key).read_bytes()[:5] == b"moved"
    assert full.prewarm.model(full.second).exists()
    assert make_room(layout, name, "s3://x/", files, terms) == ()
    assert (partial / big.key).read_bytes()[:5] == bytes(5), "a new download trusts nothing"
    (partial / big.key).write_bytes(moved)
    (partial / small.key).unlink()
    assert make_room(layout, name, "s3://x/", files, terms, resumable=True) == ()
    assert (partial / small.key).stat().st_size == small.size
    assert (partial / big.key).read_bytes()[:5] == bytes(5), "nor what lacks a file"


def test_what_a_killed_eviction_left_is_removed_by_the_next_one(full: Full) -> None:
    trash = full.prewarm.cache / "trash" / f"{'0' * 32}-1"
    trash.mkdir(parents=True)
    (trash / "model.safetensors").write_bytes(os.urandom(30 * PART))
    result = full.prewarm.run("fetch", **full.job)
    assert result["evicted"] == [full.first]
    assert not trash.exists()


def test_an_eviction_killed_at_any_step_leaves_whole_copies_or_none(full: Full) -> None:
    prewarm, before = full.prewarm, full.prewarm.folder / "before"
    shutil.copytree(prewarm.cache, before)
    environ = prewarm.environ(**full.job)
    for step in (1, 2, 4, 8, 12, 15, 100):
        shutil.rmtree(prewarm.cache)
        shutil.copytree(before, prewarm.cache)
        killed = run_killed(environ, step, "fetch")
        for folder in (prewarm.cache / "models").iterdir():
            if (folder / ".torpor" / "READY").exists():
                assert Layout(str(prewarm.cache)).find_copy(folder.name) is not None
        result = prewarm.run("fetch", **full.job)
        assert result["reason"] in ("Ready", "Hit")
        assert result["cacheUsedBytes"] <= BUDGET
        assert prewarm.run("ensure", "--hash", full.second)["reason"] == "Hit"
        age(prewarm, full.second)
        for kind in ("trash", "partial"):
            assert list((prewarm.cache / kind).iterdir()) == []
        assert killed == (step < 100)


def test_of_two_models_that_do_not_fit_together_one_gets_the_room(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    pods: list[subprocess.Popen[str]] = []
    logs = [Path(f"{prewarm.settings.termination_log}-{number}") for number in range(2)]
    for prefix, log in zip(("one", "two"), logs, strict=True):
        bucket.put_checkpoint(f"{prefix}/", shard_bytes=4 * PART)
        environ = prewarm.environ(
            source=f"s3://{bucket.name}/{prefix}/",
            termination_log=str(log),
            budget_bytes=12 * PART,
            keep_as_of=now(),
            last_use=now(),
        )
        command = [sys.executable, "-m", "torpor.prewarm", "fetch"]
        pods.append(subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True))
    for pod in pods:
        pod.communicate(timeout=60)
    results = {json.loads(log.read_text())["reason"]: json.loads(log.read_text()) for log in logs}
    (refused,) = results.keys() - {"Ready"}
    assert refused in FULL  # the room is being filled, or has just been
    assert "of the node's cache budget of 768.0 KiB" in results[refused]["message"]
    assert [path.name for path in (prewarm.cache / "models").iterdir()] == [
        results["Ready"]["hash"]
    ]
    assert list((prewarm.cache / "partial").iterdir()) == []


def test_a_full_disk_makes_the_oldest_copy_go_too(full: Full) -> None:
    """Without a budget the disk is the limit: a real file system of 1.5 MiB."""
    prewarm = full.prewarm
    stored = prewarm.folder / "stored"
    prewarm.cache.rename(stored)
    prewarm.cache.mkdir()
    run = run_in_namespace(
        prewarm,
        f'mount -t tmpfs -o size=1500k tmpfs "$TORPOR_CACHE_DIR" && cp -a "{stored}/." '
        '"$TORPOR_CACHE_DIR" && '
        f"export TORPOR_CACHE_KEEP_AS_OF={now()} TORPOR_LAST_USE={LONG_AGO + 20}; torpor fetch; "
        'ls "$TORPOR_CACHE_DIR/models"',
    )
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert (result["reason"], result["evicted"]) == ("Ready", [full.first]), run.stderr
    assert sorted(run.stdout.splitlines()[-2:]) == sorted([full.second, result["hash"]])


def test_the_largest_file_that_is_allowed_is_a_full_disk_too(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=7 * PART)
    run_in_namespace(prewarm, "ulimit -f 500; torpor fetch")
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert (result["reason"] in FULL, result["retryable"]) == (True, True)
    assert "model-00001-of-00002.safetensors (File too large)" in result["message"]
    prewarm.assert_nothing_left()


def test_a_cache_that_cannot_be_written_still_gives_its_hits(full: Full) -> None:
    run = run_in_namespace(
        full.prewarm,
        'mount --bind "$TORPOR_CACHE_DIR" "$TORPOR_CACHE_DIR" && '
        'mount -o remount,ro,bind "$TORPOR_CACHE_DIR" && '
        f"torpor ensure --hash {full.first}",
    )
    result = json.loads(Path(full.prewarm.settings.termination_log).read_text())
    assert result["reason"] == "Hit", run.stdout + run.stderr
    assert used_at(full.prewarm, full.first) == LONG_AGO
