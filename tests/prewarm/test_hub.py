"""`hf://` end to end: the real huggingface_hub, a server that speaks the Hub's API, and a real bucket."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from dev.hub.server import Answer, Asked, HubServer
from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import Answer as StoreAnswer
from tests.prewarm.faultproxy import Asked as AskedStore
from tests.prewarm.faultproxy import FaultProxy
from tests.prewarm.hubworld import REPO, UNNEEDED, in_bucket, model_files
from tests.prewarm.s3server import Bucket
from torpor.prewarm.multipart import PART_BYTES, Upload, find_uploads
from torpor.prewarm.preflight import open_session
from torpor.prewarm.store import Store

pytestmark = pytest.mark.slow


def test_a_model_of_the_hub_is_copied_into_the_bucket_and_fetched_from_there(
    hf: Prewarm, bucket: Bucket, hub: HubServer, capfd: pytest.CaptureFixture[str]
) -> None:
    files = model_files()
    commit = hub.repositories[REPO].commit({**files, **UNNEEDED})
    listed = hf.run("preflight")
    place = f"hub/{REPO}/{commit}/"
    assert listed["reason"] == "Listed", listed
    assert listed["source"] == f"s3://{bucket.name}/{place}"
    assert listed["sources"] == [listed["source"]]
    assert listed["commits"] == [commit]
    assert listed["files"] == len(files)
    assert in_bucket(bucket, place) == files
    asked = len(hub.asked)
    fetched = hf.run("fetch", "--hash", listed["hash"], source=listed["source"])
    assert (fetched["reason"], fetched["verified"]) == ("Ready", "crc64nvme")
    hf.assert_holds(fetched, files)
    assert len(hub.asked) == asked


def test_the_marker_says_what_was_copied_and_the_hub_is_asked_for_the_revision_alone(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    commit = hub.repositories[REPO].commit(model_files())
    first = hf.run("preflight")
    marker = json.loads(
        bucket.server.client()
        .get_object(Bucket=bucket.name, Key=f"hub/{REPO}/{commit}/.torpor/hub.json")["Body"]
        .read()
    )
    assert (marker["repo"], marker["commit"]) == (REPO, commit)
    assert marker["files"]["config.json"]["identity"].startswith("blob:")
    assert marker["files"]["model.safetensors"]["identity"].startswith("sha256:")
    hub.asked.clear()
    assert hf.run("preflight") == first
    assert [asked.path for asked in hub.asked] == [f"/api/models/{REPO}/revision/main"]
    hub.asked.clear()
    pinned = hf.run("preflight", source=f"hf://{REPO}@{commit}")
    assert "commits" not in pinned
    assert pinned["hash"] == first["hash"]
    assert hub.asked == []


def test_a_new_commit_of_the_branch_is_another_copy(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    old = hub.repositories[REPO].commit(model_files())
    first = hf.run("preflight")
    new = hub.repositories[REPO].commit(model_files())
    second = hf.run("preflight")
    assert (first["commits"], second["commits"]) == ([old], [new])
    assert first["hash"] != second["hash"]
    assert hf.run("preflight", source=f"hf://{REPO}@{old}")["hash"] == first["hash"]


def test_a_branch_whose_name_has_a_slash_is_found(hf: Prewarm, hub: HubServer) -> None:
    commit = hub.repositories[REPO].commit(model_files(), branch="refs/pr/7")
    assert hf.run("preflight", source=f"hf://{REPO}@refs/pr/7")["commits"] == [commit]


def test_an_object_that_was_replaced_in_the_bucket_is_copied_again(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files()
    commit = hub.repositories[REPO].commit(files)
    hf.run("preflight")
    place = f"hub/{REPO}/{commit}/"
    bucket.put(f"{place}model.safetensors", files["model.safetensors"][:-10])
    bucket.put(f"{place}config.json", files["config.json"].replace(b"Llama", b"Opera"))
    hub.asked.clear()
    assert hf.run("preflight")["reason"] == "Listed"
    assert in_bucket(bucket, place) == files
    assert len([asked for asked in hub.asked if asked.path.startswith("/cdn/")]) == 1


def test_a_large_file_is_sent_in_parts_and_has_the_checksum_of_the_whole(
    hf: Prewarm, bucket: Bucket, hub: HubServer, capfd: pytest.CaptureFixture[str]
) -> None:
    files = model_files(2 * PART_BYTES + 1000)
    commit = hub.repositories[REPO].commit(files)

    def hold(asked: Asked, answer: Answer) -> None:
        """Long enough for progress to be said."""
        if asked.path.startswith("/cdn/"):
            hub.fault = None
            threading.Event().wait(2.1)

    hub.fault = hold
    assert hf.run("preflight")["reason"] == "Listed"
    key = f"hub/{REPO}/{commit}/model.safetensors"
    client = bucket.server.client()
    head = client.head_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert head["ChecksumCRC64NVME"]
    assert in_bucket(bucket, f"hub/{REPO}/{commit}/") == files
    assert not client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    said = [line["progress"] for line in lines if "progress" in line]
    assert said
    assert all(line["stage"] == "hub" for line in said)
    assert said[-1]["total"] == sum(map(len, files.values()))


def test_a_copy_that_was_broken_off_goes_on_where_it_was(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files(3 * PART_BYTES)
    commit = hub.repositories[REPO].commit(files)
    first_part_is_there = False

    def watch(asked: AskedStore, answer: StoreAnswer) -> None:
        nonlocal first_part_is_there
        first_part_is_there |= "partNumber=1&" in asked.target and answer.status == 200

    def die(asked: Asked, answer: Answer) -> None:
        begin = asked.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        if int(begin) >= PART_BYTES:
            answer.status, answer.body = 418 if first_part_is_there else 503, b""

    hub.fault = die
    with FaultProxy(bucket.server.port, after=watch) as proxy:
        broken = hf.run("preflight", endpoint=proxy.endpoint)
    assert (broken["reason"], first_part_is_there) == ("WeightsInternal", True)
    store = Store(hf.settings._replace(source=f"s3://{bucket.name}/hub/{REPO}/{commit}/"))
    with open_session(store) as session:
        assert [upload.key for upload in find_uploads(session)] == ["model.safetensors"]
        assert "config.json" in {file.key for file in session.list_files()}
        assert ".torpor/hub.json" not in {file.key for file in session.list_files()}
    hub.asked.clear()
    hub.fault = None
    assert hf.run("preflight")["reason"] == "Listed"
    assert in_bucket(bucket, f"hub/{REPO}/{commit}/") == files
    again = [asked.headers["Range"] for asked in hub.asked if asked.path.startswith("/cdn/")]
    assert f"bytes={PART_BYTES}-{2 * PART_BYTES - 1}" in again
    assert "bytes=0-" + str(PART_BYTES - 1) not in again
    assert not [asked for asked in hub.asked if asked.path.endswith("config.json")]
    with open_session(store) as session:
        assert find_uploads(session) == []


def test_what_a_former_run_left_is_read_back_before_it_is_trusted(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    """Parts that somebody else put are the one thing that is not hashed on its way."""
    files = model_files(2 * PART_BYTES)
    commit = hub.repositories[REPO].commit(files)
    place = f"hub/{REPO}/{commit}/"
    store = Store(hf.settings._replace(source=f"s3://{bucket.name}/{place}"))
    with open_session(store) as session:
        upload = Upload.begin(session, "model.safetensors")
        upload.put_part(session, 1, os.urandom(PART_BYTES))
    assert hf.run("preflight")["reason"] == "Listed"
    assert in_bucket(bucket, place) == files


def test_an_address_of_a_large_file_that_expired_is_asked_for_again(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files(3 * PART_BYTES)
    hub.repositories[REPO].commit(files)

    def expire(asked: Asked, answer: Answer) -> None:
        if asked.path.startswith("/cdn/") and answer.status == 206:
            hub.fault = None
            hub.expire_passes()

    hub.fault = expire
    listed = hf.run("preflight")
    assert listed["reason"] == "Listed", listed


def test_wrong_bytes_from_the_hub_are_never_put_into_place(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    for size in (1000, 2 * PART_BYTES):
        commit = hub.repositories[REPO].commit(model_files(size))

        def spoil(asked: Asked, answer: Answer) -> None:
            if asked.path.startswith("/cdn/") and len(answer.body) > 5000:
                answer.body = answer.body[:-1] + b"?"
            if asked.path.startswith("/cdn/") and 1000 < len(answer.body) < 1500:
                answer.body = answer.body[:-1] + b"?"

        hub.fault = spoil
        result = hf.run("preflight")
        assert (result["reason"], result["retryable"]) == ("WeightsCorrupt", True)
        assert "model.safetensors arrived with sha256 " in result["message"]
        assert "model.safetensors" not in in_bucket(bucket, f"hub/{REPO}/{commit}/")
    client = bucket.server.client()
    assert not client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")


def test_an_answer_that_is_cut_off_is_asked_for_again(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files()
    commit = hub.repositories[REPO].commit(files)
    cut: set[str] = set()

    def cut_once(asked: Asked, answer: Answer) -> None:
        if asked.method == "GET" and "/api/" not in asked.path and asked.path not in cut:
            cut.add(asked.path)
            answer.cut_after = len(answer.body) // 2

    hub.fault = cut_once
    assert hf.run("preflight")["reason"] == "Listed"
    assert cut
    assert in_bucket(bucket, f"hub/{REPO}/{commit}/") == files


def test_two_pods_that_copy_the_same_model_at_once_make_one_whole_copy(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files(3 * PART_BYTES)
    commit = hub.repositories[REPO].commit(files)
    results: list[dict[str, Any]] = []

    def copy(number: int) -> None:
        log = str(hf.folder / f"log-{number}")
        other = Prewarm(hf.folder, hf.settings._replace(termination_log=log))
        results.append(other.run("preflight"))

    threads = [threading.Thread(target=copy, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result["reason"] for result in results] == ["Listed", "Listed"], results
    assert results[0]["hash"] == results[1]["hash"]
    assert in_bucket(bucket, f"hub/{REPO}/{commit}/") == files
    assert not bucket.server.client().list_multipart_uploads(Bucket=bucket.name).get("Uploads")


def test_the_stand_in_can_be_run_as_a_program(hf: Prewarm, hub: HubServer) -> None:
    folder = hf.folder / "repositories" / "acme" / "other"
    folder.mkdir(parents=True)
    for key, body in model_files().items():
        (folder / key).parent.mkdir(exist_ok=True)
        (folder / key).write_bytes(body)
    command = [sys.executable, "-m", "dev.hub", str(hf.folder / "repositories")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            result = hf.run("preflight", source="hf://acme/other", hub_endpoint=url)
        finally:
            process.terminate()
    assert result["reason"] == "Listed", result
