"""Refusals that versitygw never gives, in the words of the stores that do (AWS, MinIO, R2), put in by the proxy."""

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket


def error(code: str, message: str = "", more: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()


DENIED, REGION, OTHER = "WeightsAccessDenied", "WeightsWrongRegion", "WeightsInternal"
ELSEWHERE = {"x-amz-bucket-region": "eu-west-1"}
MALFORMED = "AuthorizationHeaderMalformed"

LISTING: dict[str, tuple[int, bytes, dict[str, str], str, str]] = {
    "expired token": (400, error("ExpiredToken"), {}, DENIED, "has expired (ExpiredToken): AWS_SESSION"),
    "foreign token": (403, error("InvalidToken"), {}, DENIED, "does not know the session token"),
    "redirect to the bucket's region": (
        301, error("PermanentRedirect"), ELSEWHERE, REGION, "lives in 'eu-west-1'",
    ),
    "redirect without a body": (301, b"", ELSEWHERE, REGION, "lives in 'eu-west-1'"),
    "signed for another region": (
        400,
        error(MALFORMED, "the region 'us-east-1' is wrong", "<Region>eu-west-1</Region>"),
        {}, REGION, "correct spec.model.s3.region",
    ),
    "signed for another region, unnamed": (
        400, error(MALFORMED, "The region is wrong"), {}, REGION, "The region is wrong",
    ),
    "malformed for another cause": (
        400, error(MALFORMED, "no credential"), {}, OTHER, "Malformed no credential",
    ),
    "bucket with an impossible name": (400, error("InvalidBucketName"), {}, "WeightsBucketNotFound", "InvalidBucket"),
    "forbidden without a body": (403, b"", {}, DENIED, "may not list"),
    "something new": (418, error("Teapot", "short and stout"), {}, OTHER, "418 Teapot short and stout"),
    "an answer from a portal": (302, b"", {"Location": "/login"}, "WeightsUnreachable", "is not S3"),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTING, ids=str)
def test_a_refused_listing_says_who_must_change_what(
    case: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    status, body, headers, reason, words = LISTING[case]
    with FaultProxy(
        bucket.server.port, after=lambda _, answer: answer.replace(status, body, **headers)
    ) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint)
    assert (result["reason"], result["retryable"]) == (reason, False)
    assert words in result["message"]


def test_a_clock_that_differs_is_named_with_the_seconds(prewarm: Prewarm, bucket: Bucket) -> None:
    def refuse(_: Asked, answer: Answer) -> None:
        answer.replace(403, error("RequestTimeTooSkewed"), Date="Mon, 23 Nov 2020 10:00:00 GMT")

    with FaultProxy(bucket.server.port, after=refuse) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsAccessDenied"
    assert "(RequestTimeTooSkewed: " in result["message"]
    assert "s ahead of the store's)" in result["message"]


def test_a_checksum_of_checksums_is_not_taken_for_one_of_the_object(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    """Multipart uploads of older clients carry a COMPOSITE checksum: nothing can be compared with it."""
    files = bucket.put_checkpoint("llama/")

    def make_composite(asked: Asked, answer: Answer) -> None:
        if asked.method == "HEAD" and asked.target.endswith("00001-of-00002.safetensors"):
            answer.headers = {
                name: value
                for name, value in answer.headers.items()
                if "checksum" not in name.lower()
            } | {"x-amz-checksum-crc32c": "AAAAAA==-2", "x-amz-checksum-type": "COMPOSITE"}

    with FaultProxy(bucket.server.port, after=make_composite) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert (result["reason"], result["verified"]) == ("Ready", "md5-etag")
    prewarm.assert_holds(result, files)


def test_the_etag_of_an_object_encrypted_with_kms_is_not_taken_for_an_md5(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", checksum=None)

    def encrypt(asked: Asked, answer: Answer) -> None:
        if asked.method == "HEAD":
            answer.headers["x-amz-server-side-encryption"] = "aws:kms"

    with FaultProxy(bucket.server.port, after=encrypt) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert (result["reason"], result["verified"]) == ("Ready", "size-only")
    prewarm.assert_holds(result, files)
