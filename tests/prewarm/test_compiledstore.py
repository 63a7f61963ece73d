"""Compiled code in a real bucket: sent once, brought to a node that lacks it, never part of the weights."""

import os
from pathlib import Path
from typing import Any

import pytest

from dev.ports import free_port
from tests.prewarm.conftest import Prewarm
from tests.prewarm.s3server import STRANGER, Bucket
from tests.prewarm.test_companion import Engine
from torpor.prewarm import companion
from torpor.prewarm.bundle import bundle_name
from torpor.prewarm.compiled import Entry, compile_folder, find_entry, key_parts, name_key
from torpor.prewarm.compiledstore import bring_entry, send_entry
from torpor.prewarm.harvest import harvest
from torpor.prewarm.layout import Layout
from torpor.settings.prewarm import PrewarmSettings

pytestmark = pytest.mark.slow

KEY = name_key(key_parts("engine"))
CODE = os.urandom(9_000_000)


@pytest.fixture
def first(prewarm: Prewarm) -> tuple[PrewarmSettings, Entry]:
    """A node whose engine has compiled."""
    settings = on_node(prewarm, "first")
    folder = prewarm.folder / "compiled"
    (folder / "triton").mkdir(parents=True)
    (folder / "triton/kernel").write_bytes(CODE)
    layout = Layout(settings.cache_dir).compiled
    done = harvest(layout, key_parts("engine"), str(folder), weights="w", pod="pod-a")
    assert done.entry is not None
    return settings, done.entry


def on_node(prewarm: Prewarm, name: str, **changed: Any) -> PrewarmSettings:
    folder = prewarm.folder / name
    folder.mkdir(exist_ok=True)
    settings = prewarm.settings._replace(compile_key="engine", compile_store="s3", **changed)
    return settings._replace(cache_dir=str(folder))


def kernel(settings: PrewarmSettings) -> bytes:
    folder = Path(compile_folder(Layout(settings.cache_dir).compiled, KEY))
    return (folder / "files/triton/kernel").read_bytes()


def test_what_one_node_sends_another_brings(
    prewarm: Prewarm, first: tuple[PrewarmSettings, Entry]
) -> None:
    assert send_entry(*first).startswith("put 90")
    second = on_node(prewarm, "second")
    assert "compiled by pod-a" in bring_entry(second)
    assert kernel(second) == CODE
    assert bring_entry(second) == "the node has it"


def test_it_is_sent_once(bucket: Bucket, first: tuple[PrewarmSettings, Entry]) -> None:
    send_entry(*first)
    assert send_entry(*first) == "the bucket has it"


def test_the_companion_of_a_healthy_engine_sends_it(prewarm: Prewarm) -> None:
    (prewarm.folder / "compiled").mkdir()
    (prewarm.folder / "compiled" / "kernel").write_bytes(b"code")
    said: list[dict[str, Any]] = []
    engine = Engine()
    try:
        engine.status = 200
        settings = on_node(prewarm, "first", compile_dir=str(prewarm.folder / "compiled"))
        companion.work(settings._replace(engine_port=engine.port), ("0" * 32,), said.append)
    finally:
        engine.close()
    assert said[-1]["companion"]["store"].endswith(f"/llama/{bundle_name(KEY)}")
    assert "compiled by" in bring_entry(on_node(prewarm, "second"))


def test_it_is_not_part_of_the_weights(
    prewarm: Prewarm, bucket: Bucket, first: tuple[PrewarmSettings, Entry]
) -> None:
    files = bucket.put_checkpoint("llama/")
    before = prewarm.run("preflight")
    send_entry(*first)
    assert prewarm.run("preflight") == before
    prewarm.assert_holds(prewarm.run("fetch"), files)


def test_the_job_that_fetches_brings_it_and_the_init_container_gives_it(
    prewarm: Prewarm, bucket: Bucket, first: tuple[PrewarmSettings, Entry]
) -> None:
    bucket.put_checkpoint("llama/")
    send_entry(*first)
    prewarm.settings = on_node(prewarm, "second")
    fetched = prewarm.run("fetch")
    assert fetched["reason"] == "Ready"
    assert "compiled by pod-a" in fetched["compiledBrought"]
    given = prewarm.run(
        *("ensure", "--hash", fetched["hash"]),
        compile_dir=str(prewarm.folder / "given"),
        endpoint=f"http://127.0.0.1:{free_port()}",
    )
    assert (given["reason"], given["compiled"]["bytes"]) == ("Hit", len(CODE))
    assert "compiledBrought" not in given
    assert (prewarm.folder / "given/triton/kernel").read_bytes() == CODE


def test_an_init_container_that_fetches_weights_brings_it_too(
    prewarm: Prewarm, bucket: Bucket, first: tuple[PrewarmSettings, Entry]
) -> None:
    bucket.put_checkpoint("llama/")
    send_entry(*first)
    listed = prewarm.run("preflight")
    prewarm.settings = on_node(prewarm, "second", compile_dir=str(prewarm.folder / "given"))
    given = prewarm.run("ensure", "--hash", listed["hash"])
    assert (given["reason"], given["compiled"]["bytes"]) == ("Ready", len(CODE))


def test_a_bucket_without_it_is_no_failure(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    prewarm.settings = on_node(prewarm, "second")
    fetched = prewarm.run("fetch")
    assert fetched["reason"] == "Ready"
    assert fetched["compiledBrought"] == "the bucket has nothing compiled for this engine"


def test_a_bundle_that_is_none_is_no_failure_and_leaves_nothing(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put(f"llama/{bundle_name(KEY)}", b"garbage" * 1000)
    second = on_node(prewarm, "second")
    assert bring_entry(second).startswith("not taken from the bucket: it is no tar")
    assert find_entry(Layout(second.cache_dir).compiled, KEY) is None
    assert os.listdir(prewarm.folder / "second" / "compile" / "partial") == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"endpoint": "http://127.0.0.1:1"}, "connection refused"),
        ({"access_key": STRANGER[0], "secret_key": STRANGER[1]}, ""),
        ({"source": "pvc://claim/path"}, ""),
    ],
    ids=["no store", "no permission", "no bucket"],
)
def test_a_bucket_that_cannot_be_used_is_a_sentence(
    prewarm: Prewarm, first: tuple[PrewarmSettings, Entry], changed: dict[str, Any], words: str
) -> None:
    settings, entry = first
    sent = send_entry(settings._replace(**changed), entry)
    assert sent.startswith("not put into the bucket: ")
    assert words in sent
    brought = bring_entry(on_node(prewarm, "second", **changed))
    assert brought.startswith("not taken from the bucket: ")
    assert words in brought
