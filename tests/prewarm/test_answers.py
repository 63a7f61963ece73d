"""Refusals that versitygw never gives, in the words of the stores that do (AWS, MinIO, R2), put in by the proxy."""

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket
from torpor.domain.fetching import RemoteFile
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.preflight import open_session
from torpor.prewarm.store import Store


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
    "signed for another region, of Garage": (
        400, error(MALFORMED, "Authorization header malformed, unexpected scope: 20260101/us-east-1/s3/aws4_request"),
        {}, REGION, "has the region of its own configuration, often 'garage'",
    ),
    "a region that R2 does not have": (
        400, error("InvalidRegionName", "The region name 'eu' is not valid. Must be one of: auto, weur"),
        {}, REGION, "Must be one of: auto, weur",
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


NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def page(entries: dict[str, tuple[int, str]], more: str = "", namespace: str = NAMESPACE) -> bytes:
    """One page of a listing; `entries` are size and ETag, as the store writes it, by key."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag></Contents>"
        for key, (size, etag) in entries.items()
    )
    given = f' xmlns="{namespace}"' if namespace else ""
    return f"<ListBucketResult{given}>{contents}{more}</ListBucketResult>".encode()


def listed(
    prewarm: Prewarm, bucket: Bucket, pages: list[bytes]
) -> tuple[list[RemoteFile], list[str]]:
    """What a session makes of these pages, and what it asked for."""

    def answer_page(asked: Asked, answer: Answer) -> None:
        answer.replace(200, pages[min(asked.number, len(pages) - 1)])

    with (
        FaultProxy(bucket.server.port, after=answer_page) as proxy,
        open_session(Store(prewarm.settings._replace(endpoint=proxy.endpoint))) as session,
    ):
        files = session.list_files()
    return files, [asked.target for asked in proxy.asked]


@pytest.mark.parametrize(
    ("key", "etag", "more", "namespace"),
    [
        ("llama/a b+c.json", "&quot;abc&quot;", "", NAMESPACE),
        ("llama/a b+c.json", "abc", "", NAMESPACE),
        ("llama/a b+c.json", 'W/"abc"', "", ""),
        ("llama/a+b%2Bc.json", '"abc"', "<EncodingType>url</EncodingType>", NAMESPACE),
        (
            "llama/a%20b%2Bc.json",
            '"abc"',
            "<EncodingType>url</EncodingType>",
            "http://doc.s3.amazonaws.com/x",
        ),
    ],
    ids=[
        "quoted",
        "unquoted",
        "weak, no namespace",
        "plus is a space",
        "%20 is a space, other namespace",
    ],
)
def test_a_listing_may_be_written_in_several_ways(
    key: str, etag: str, more: str, namespace: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    files, _ = listed(prewarm, bucket, [page({key: (7, etag)}, more, namespace)])
    assert files == [RemoteFile("a b+c.json", 7, "abc")]


def test_a_store_that_gives_no_token_is_asked_for_what_follows_the_last_key(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    more = "<IsTruncated>true</IsTruncated>"
    pages = [page({"llama/a": (1, "x"), "llama/b": (1, "x")}, more), page({"llama/c": (1, "x")})]
    files, asked = listed(prewarm, bucket, pages)
    assert [file.key for file in files] == ["a", "b", "c"]
    assert "start-after=llama%2Fb" in asked[1]
    assert "marker=llama%2Fb" in asked[1]


def test_an_empty_last_page_ends_the_listing(prewarm: Prewarm, bucket: Bucket) -> None:
    """MinIO may say that there is more when there is not."""
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>next/+</NextContinuationToken>"
    files, asked = listed(prewarm, bucket, [page({"llama/a": (1, "x")}, more), page({})])
    assert [file.key for file in files] == ["a"]
    assert "continuation-token=next%2F%2B" in asked[1]


@pytest.mark.parametrize(
    "more", ["", "<NextContinuationToken>same</NextContinuationToken>"], ids=["no token", "token"]
)
def test_a_listing_that_never_gets_further_is_given_up(
    more: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    first = page({"llama/a": (1, "x")}, f"<IsTruncated>true</IsTruncated>{more}")
    with pytest.raises(FetchFailure, match="the same page of the listing again and again"):
        listed(prewarm, bucket, [first])


def test_checksums_are_found_however_the_store_spells_their_names(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/")

    def shout(asked: Asked, answer: Answer) -> None:
        if asked.method == "HEAD":
            answer.headers = {
                name.upper(): value.lower() if value == "FULL_OBJECT" else value
                for name, value in answer.headers.items()
            }

    with FaultProxy(bucket.server.port, after=shout) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert (result["reason"], result["verified"]) == ("Ready", "crc64nvme")
    prewarm.assert_holds(result, files)


@pytest.mark.parametrize("region", ["auto", "garage"])
def test_any_name_of_a_region_is_signed_for(region: str, prewarm: Prewarm, bucket: Bucket) -> None:
    with FaultProxy(bucket.server.port) as proxy:
        prewarm.run("preflight", endpoint=proxy.endpoint, region=region)
    assert f"/{region}/s3/aws4_request" in proxy.asked[0].headers["Authorization"]
