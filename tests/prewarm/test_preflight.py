"""What is said about a source before the first gigabyte: against a real S3 server, one sentence per cause."""

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dev.ports import free_port
from tests.prewarm.conftest import Admin, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket, safetensors
from torpor.api.conditions import Reason
from torpor.domain.fetching import FetchReason, RemoteFile, listing_hash


def test_a_good_checkpoint_is_listed_with_its_hash_and_size(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/")
    listed = bucket.server.client().list_objects_v2(Bucket=bucket.name, Prefix="llama/")["Contents"]
    expected = listing_hash(
        [
            RemoteFile(entry["Key"].removeprefix("llama/"), entry["Size"], entry["ETag"].strip('"'))
            for entry in listed
        ],
        f"{bucket.server.endpoint}/{bucket.name}",
    )
    result = prewarm.run("preflight")
    assert result == {
        "reason": "Listed",
        "hash": expected,
        "parts": [expected],
        "source": f"s3://{bucket.name}/llama/",
        "sources": [f"s3://{bucket.name}/llama/"],
        "files": len(files),
        "bytes": sum(map(len, files.values())),
        "message": result["message"],
    }


def test_a_neighbour_whose_name_begins_alike_is_not_part_of_it(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/")
    bucket.put("llama-70b/config.json", b"{}")
    assert prewarm.run("preflight")["files"] == len(files)
    without_slash = prewarm.run("preflight", source=f"s3://{bucket.name}/llama")
    assert without_slash["files"] == len(files)


def test_a_listing_of_several_pages_is_read_to_its_end(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    folder = bucket.file_behind("llama/many")
    for number in range(1100):
        path = folder / f"{number:04}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.setxattr(path, "user.etag", b'"9dd4e461268c8034f5c8564e155c67a6"')
    result = prewarm.run("preflight")
    assert (result["reason"], result["files"]) == ("Listed", 1106)


def test_an_object_without_an_etag_cannot_be_pinned(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    bucket.file_behind("llama/beside.txt").write_bytes(b"x")
    result = prewarm.run("preflight")
    assert result["reason"] == "WeightsNotACheckpoint"
    assert "llama/beside.txt without an ETag" in result["message"]


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "wrong access key": ({"access_key": "unknown"}, "WeightsAccessDenied", "does not know the access key unkn…"),
    "wrong secret key": ({"secret_key": "wrong"}, "WeightsAccessDenied", "the secret key does not belong"),
    "no credentials": ({"access_key": "", "secret_key": "x"}, "WeightsAccessDenied", "has no AWS_ACCESS_KEY_ID"),
    "half a pair": ({"secret_key": ""}, "WeightsAccessDenied", "has no AWS_SECRET_ACCESS_KEY"),
    "wrong region": ({"region": "eu-north-9"}, "WeightsWrongRegion", "'us-east-1'"),
    "no such bucket": ({"source": "s3://nowhere-at-all/x/"}, "WeightsBucketNotFound", "has no bucket 'nowhere-at-all'"),
    "unknown scheme": ({"source": "ftp://x/y"}, "WeightsInternal", "'ftp://x/y' is not of the form s3://"),
    "endpoint without scheme": ({"endpoint": "minio:9000"}, "WeightsUnreachable", "'minio:9000' is not of the form"),
    "unknown host": ({"endpoint": "http://store.invalid"}, "WeightsUnreachable", "store.invalid of the S3 endpoint"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SETTINGS, ids=str)
def test_bad_settings_are_named_in_one_sentence(
    case: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    changed, reason, words = BAD_SETTINGS[case]
    result = prewarm.run("preflight", **changed)
    assert result["reason"] == reason
    assert words in result["message"]
    assert "\n" not in result["message"]
    assert result["retryable"] is (case == "unknown host")


def _without_config(bucket: Bucket) -> None:
    bucket.put("llama/model.safetensors", safetensors(b"x" * 64))


def _config_below(bucket: Bucket) -> None:
    bucket.put("llama/inner/config.json", b"{}")


def _without_weights(bucket: Bucket) -> None:
    bucket.put("llama/config.json", b"{}")
    bucket.put("llama/original/consolidated.00.pth", b"x")


def _broken_config(bucket: Bucket) -> None:
    bucket.put("llama/config.json", b"{")
    bucket.put("llama/model.safetensors", safetensors(b"x" * 64))


def _missing_shard(bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/")
    shard = next(key for key in files if "00002-of" in key)
    bucket.server.client().delete_object(Bucket=bucket.name, Key=f"llama/{shard}")


def _truncated_shard(bucket: Bucket) -> None:
    bucket.put("llama/config.json", b"{}")
    bucket.put("llama/model.safetensors", safetensors(b"x" * 1000)[:-300])


def _html_for_a_shard(bucket: Bucket) -> None:
    bucket.put("llama/config.json", b"{}")
    bucket.put("llama/model.safetensors", b"<html>sign in to continue</html>")


def _long_header_cut(bucket: Bucket) -> None:
    tensors = {
        f"layer.{number}": {"dtype": "U8", "shape": [1], "data_offsets": [number, number + 1]}
        for number in range(2000)
    }
    header = json.dumps(tensors).encode()
    assert len(header) > 64 * 1024
    bucket.put("llama/config.json", b"{}")
    bucket.put("llama/model.safetensors", len(header).to_bytes(8, "little") + header + b"x" * 1999)


BAD_CONTENT: dict[str, tuple[Callable[[Bucket], None], str, str]] = {
    "empty prefix": (lambda _: None, "WeightsEmpty", "/llama/ holds no object"),
    "no config": (_without_config, "WeightsNotACheckpoint", "include no config.json"),
    "config one level down": (_config_below, "WeightsNotACheckpoint", "there is one at s3://"),
    "no weights": (_without_weights, "WeightsNotACheckpoint", "no file that ends in .safetensors"),
    "config is not JSON": (_broken_config, "WeightsCorrupt", "config.json is not a JSON object"),
    "a shard is missing": (_missing_shard, "WeightsCorrupt", "of which 1 are missing, first 'model-00002"),
    "a shard is cut off": (_truncated_shard, "WeightsCorrupt", "but its header describes"),
    "a shard is a web page": (_html_for_a_shard, "WeightsCorrupt", "not safetensors"),
    "a shard with a long header is cut off": (_long_header_cut, "WeightsCorrupt", "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CONTENT, ids=str)
def test_bad_content_is_named_in_one_sentence(case: str, prewarm: Prewarm, bucket: Bucket) -> None:
    prepare, reason, words = BAD_CONTENT[case]
    prepare(bucket)
    result = prewarm.run("preflight")
    assert (result["reason"], result["retryable"]) == (reason, False)
    assert words in result["message"]


def test_a_key_without_permission_to_list_is_told_which_right_it_needs(
    prewarm: Prewarm, bucket: Bucket, admin: Admin
) -> None:
    bucket.put_checkpoint("llama/")
    access = f"user-{uuid.uuid4().hex[:8]}"
    admin.create_user(access, "secret-of-user")
    result = prewarm.run("preflight", access_key=access, secret_key="secret-of-user")
    assert result["reason"] == "WeightsAccessDenied"
    assert "may not list s3://" in result["message"]
    assert "s3:ListBucket" in result["message"]


def test_a_key_that_may_list_but_not_read_is_told_which_right_it_needs(
    prewarm: Prewarm, bucket: Bucket, admin: Admin
) -> None:
    bucket.put_checkpoint("llama/")
    access = f"user-{uuid.uuid4().hex[:8]}"
    admin.create_user(access, "secret-of-user")
    rule = {
        "Effect": "Allow",
        "Principal": [access],
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket.name}",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    bucket.server.client().put_bucket_policy(Bucket=bucket.name, Policy=policy)
    result = prewarm.run("preflight", access_key=access, secret_key="secret-of-user")
    assert result["reason"] == "WeightsAccessDenied"
    assert "may not read s3://" in result["message"]
    assert "s3:GetObject" in result["message"]


def test_a_closed_port_is_named_and_worth_trying_again(prewarm: Prewarm) -> None:
    port = free_port()
    result = prewarm.run("preflight", endpoint=f"http://127.0.0.1:{port}")
    assert (result["reason"], result["retryable"]) == ("WeightsUnreachable", True)
    assert f"nothing listens at the S3 endpoint 127.0.0.1:{port}" in result["message"]


def test_a_server_that_is_no_store_is_told_from_one_that_refuses(prewarm: Prewarm) -> None:
    def speak_html(_: Asked, answer: Answer) -> None:
        answer.replace(404, b"<html>not here</html>", **{"Content-Type": "text/html"})

    with FaultProxy(_port(prewarm), after=speak_html) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsUnreachable"
    assert "404 text/html, which is not S3" in result["message"]


def test_a_listing_that_is_none_is_refused(prewarm: Prewarm) -> None:
    with FaultProxy(_port(prewarm), after=lambda _, answer: answer.replace(200, b"hello")) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsUnreachable"
    assert "not an S3 listing" in result["message"]


def test_a_server_that_hangs_up_is_asked_three_times(prewarm: Prewarm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        port = silent.getsockname()[1]
        seen: list[bytes] = []

        def hang_up() -> None:
            while len(seen) < 3:
                connection, _ = silent.accept()
                seen.append(connection.recv(65536))
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        result = prewarm.run("preflight", endpoint=f"http://127.0.0.1:{port}")
        thread.join(10)
    assert len(seen) == 3
    assert (result["reason"], result["retryable"]) == ("WeightsUnreachable", True)
    assert "closed the connection without an answer" in result["message"]


def test_a_wrong_clock_is_named_with_its_difference(prewarm: Prewarm, bucket: Bucket) -> None:
    """The real server judges a date of last year; the proxy changes it on its way in."""
    bucket.put_checkpoint("llama/")

    def set_clock_back(asked: Asked) -> None:
        date = asked.headers["X-Amz-Date"]
        earlier = f"{int(date[:4]) - 1}{date[4:]}"
        asked.headers["X-Amz-Date"] = earlier
        credential = asked.headers["Authorization"]
        asked.headers["Authorization"] = credential.replace(date[:8], earlier[:8])

    with FaultProxy(_port(prewarm), before=set_clock_back) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsAccessDenied"
    assert "the node's clock is wrong" in result["message"]
    assert "RequestTimeTooSkewed" in result["message"]


def test_more_than_the_budget_is_refused_before_reading(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    result = prewarm.run("preflight", budget_bytes=100_000)
    assert (result["reason"], result["retryable"]) == ("WeightsTooLarge", False)
    assert "391.2 KiB, the cache budget of a node is 97.7 KiB" in result["message"]


def test_no_secret_is_ever_said(
    prewarm: Prewarm, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "very-secret-indeed"
    prewarm.run("preflight", secret_key=secret)
    prewarm.run("fetch", secret_key=secret, session_token="token-of-someone")
    said = "".join(capfd.readouterr()) + Path(prewarm.settings.termination_log).read_text()
    assert secret not in said
    assert "token-of-someone" not in said
    assert secret not in repr(prewarm.settings._replace(secret_key=secret))


def test_every_reason_is_one_the_status_knows() -> None:
    assert {reason.value for reason in FetchReason} <= {str(reason.value) for reason in Reason}


def _port(prewarm: Prewarm) -> int:
    return int(prewarm.settings.endpoint.rpartition(":")[2])
