"""What is put into a bucket is there whole, with a checksum, or not at all; an interrupted upload is continued."""

import json
import os
import uuid
from collections.abc import Iterator

import pytest

from tests.prewarm.conftest import Admin, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket
from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.multipart import (
    PART_BYTES,
    Begun,
    Upload,
    UploadGone,
    abort,
    find_uploads,
    part_bytes_of,
)
from torpor.prewarm.preflight import open_session
from torpor.prewarm.store import Session, Store
from torpor.prewarm.upload import delete, put_bytes, put_stream

MIB = 1024 * 1024


@pytest.fixture
def session(prewarm: Prewarm) -> Iterator[Session]:
    with open_session(Store(prewarm.settings)) as session:
        yield session


def stored(bucket: Bucket, key: str) -> tuple[bytes, str | None]:
    """Content and full-object checksum."""
    answer = bucket.server.client().get_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
    body: bytes = answer["Body"].read()
    return body, answer.get("ChecksumCRC64NVME")


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(300_000)], ids=["empty", "one", "many"])
def test_a_small_object_is_put_with_its_checksum(
    data: bytes, session: Session, bucket: Bucket
) -> None:
    put_bytes(session, "a b/ö+.bin", data)
    body, checksum = stored(bucket, "llama/a b/ö+.bin")
    assert body == data
    assert checksum is not None
    assert session.read_object("a b/ö+.bin", 1_000_000) == data


def test_an_object_that_is_not_there_reads_as_none_and_is_as_good_as_deleted(
    session: Session, bucket: Bucket
) -> None:
    assert session.read_object("nothing", 10) is None
    delete(session, "nothing")
    put_bytes(session, "something", b"x")
    delete(session, "something")
    assert session.read_object("something", 10) is None


def test_an_object_larger_than_expected_is_not_read(session: Session, bucket: Bucket) -> None:
    put_bytes(session, "large", b"x" * 11)
    with pytest.raises(FetchFailure, match="llama/large has more than 10 bytes"):
        session.read_object("large", 10)


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12345])
def test_a_stream_is_put_whole_whatever_its_size(
    size: int, session: Session, bucket: Bucket
) -> None:
    data = os.urandom(size)
    chunks = (data[start : start + 700_000] for start in range(0, size, 700_000))
    assert put_stream(session, "stream", chunks) == size
    body, checksum = stored(bucket, "llama/stream")
    assert body == data
    assert checksum is not None
    assert find_uploads(session) == []


def test_a_stream_that_breaks_off_leaves_nothing(session: Session, bucket: Bucket) -> None:
    def chunks() -> Iterator[bytes]:
        yield os.urandom(2 * PART_BYTES)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        put_stream(session, "stream", chunks())
    assert session.read_object("stream", 10) is None
    assert find_uploads(session) == []


def test_an_interrupted_upload_is_found_and_continued(session: Session, bucket: Bucket) -> None:
    data = os.urandom(12 * MIB)
    first = Upload.begin(session, "large file+")
    first.put_part(session, 1, data[: 5 * MIB])
    first.put_part(session, 2, data[5 * MIB : 10 * MIB])
    (begun,) = find_uploads(session, "large")
    assert (begun.key, begun.id) == ("large file+", first.id)
    assert begun.initiated[:2] == "20"
    second = Upload.resume(session, begun)
    assert second.has(1, 5 * MIB)
    assert second.has(2, 5 * MIB)
    assert not second.has(2, 4 * MIB)
    assert not second.has(3, 2 * MIB)
    second.put_part(session, 3, data[10 * MIB :])
    second.complete(session)
    assert stored(bucket, "llama/large file+")[0] == data
    assert find_uploads(session) == []


def test_an_upload_that_somebody_else_ended_is_told_apart(session: Session, bucket: Bucket) -> None:
    upload = Upload.begin(session, "large")
    abort(session, Begun("large", upload.id, ""))
    with pytest.raises(UploadGone, match="llama/large was ended by another process"):
        upload.put_part(session, 1, b"x")
    with pytest.raises(UploadGone):
        Upload.resume(session, Begun("large", upload.id, ""))
    abort(session, Begun("large", upload.id, ""))


def test_a_store_that_refuses_checksums_gets_an_md5(prewarm: Prewarm, bucket: Bucket) -> None:
    def refuse(asked: Asked, answer: Answer) -> None:
        if any(name.lower().startswith("x-amz-checksum-") for name in asked.headers):
            body = b"<Error><Code>NotImplemented</Code><Message>checksum</Message></Error>"
            answer.replace(501, body)

    data = os.urandom(PART_BYTES + 1)
    with (
        FaultProxy(bucket.server.port, after=refuse) as proxy,
        open_session(Store(prewarm.settings._replace(endpoint=proxy.endpoint))) as session,
    ):
        put_stream(session, "large", [data])
        put_bytes(session, "small", b"small")
    assert stored(bucket, "llama/large")[0] == data
    assert stored(bucket, "llama/small")[0] == b"small"
    accepted = [asked for asked in proxy.asked if "Content-MD5" in asked.headers]
    assert [asked.method for asked in accepted] == ["PUT", "PUT", "PUT"]


def test_an_error_said_after_the_answer_began_is_seen_and_tried_again(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    """S3 says 200 before it knows whether it can put the parts together."""
    completions = 0

    def fail_once(asked: Asked, answer: Answer) -> None:
        nonlocal completions
        if asked.method == "POST" and "uploadId" in asked.target:
            completions += 1
            if completions == 1:
                answer.replace(200, b"<Error><Code>InternalError</Code></Error>")

    def hold_back(asked: Asked) -> None:
        if asked.method == "POST" and "uploadId" in asked.target and completions == 0:
            asked.headers["Authorization"] = "AWS4-HMAC-SHA256 nonsense"

    data = os.urandom(PART_BYTES + 1)
    with (
        FaultProxy(bucket.server.port, before=hold_back, after=fail_once) as proxy,
        open_session(Store(prewarm.settings._replace(endpoint=proxy.endpoint))) as session,
    ):
        put_stream(session, "large", [data])
    assert completions == 2
    assert stored(bucket, "llama/large")[0] == data


def test_a_key_that_may_not_write_is_told_which_right_it_needs(
    prewarm: Prewarm, bucket: Bucket, admin: Admin
) -> None:
    access = f"user-{uuid.uuid4().hex[:8]}"
    admin.create_user(access, "secret-of-user")
    allow: dict[str, object] = {
        "Effect": "Allow",
        "Principal": [access],
        "Action": ["s3:ListBucket", "s3:GetObject"],
    }
    allow["Resource"] = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    bucket.server.client().put_bucket_policy(Bucket=bucket.name, Policy=policy)
    settings = prewarm.settings._replace(access_key=access, secret_key="secret-of-user")
    with open_session(Store(settings)) as session:
        with pytest.raises(
            FetchFailure, match=r"may not write .*llama/x: it needs s3:PutObject"
        ) as caught:
            put_bytes(session, "x", b"x")
        assert caught.value.reason == FetchReason.ACCESS_DENIED
        with pytest.raises(FetchFailure, match="needs s3:PutObject"):
            Upload.begin(session, "x")
        assert find_uploads(session) == []


def test_no_object_needs_more_parts_than_s3_allows() -> None:
    assert part_bytes_of(0) == PART_BYTES
    assert part_bytes_of(160_000 * MIB) == PART_BYTES
    for size in (160_000 * MIB + 1, 500_000_000_000, 5 * 1024**4):
        assert -(-size // part_bytes_of(size)) <= 10_000
        assert part_bytes_of(size) % MIB == 0
