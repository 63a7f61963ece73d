"""From `s3://…` and an endpoint to the requests that are sent."""

import pytest

from torpor.domain.fetching import FetchReason
from torpor.prewarm.address import read_address
from torpor.prewarm.failure import FetchFailure


@pytest.mark.parametrize(
    ("source", "endpoint", "path_style", "url"),
    [
        ("s3://models/llama/", "", False, "https://models.s3.eu-central-1.amazonaws.com/llama/config.json"),
        ("s3://models/llama", "", True, "https://s3.eu-central-1.amazonaws.com/models/llama/config.json"),
        ("s3://my.models/x/", "", False, "https://s3.eu-central-1.amazonaws.com/my.models/x/config.json"),
        ("s3://models", "http://minio:9000", True, "http://minio:9000/models/config.json"),
        ("s3://models/a/b", "http://10.0.0.7:80", False, "http://10.0.0.7/models/a/b/config.json"),
        ("s3://models/a", "http://[fd00::7]:9000", False, "http://[fd00::7]:9000/models/a/config.json"),
        ("s3://models/a", "https://store.example:443/s3", True, "https://store.example/s3/models/a/config.json"),
        ("s3://models/a b+c", "https://r2.example", False, "https://models.r2.example/a%20b%2Bc/config.json"),
    ],
    ids=["aws", "aws path style", "dotted bucket", "minio", "address", "IPv6 address", "path in endpoint", "odd key"],
)  # fmt: skip
def test_an_object_has_the_url_its_store_expects(
    source: str, endpoint: str, path_style: bool, url: str
) -> None:
    address = read_address(source, endpoint, "eu-central-1", path_style=path_style)
    assert address.origin + address.object_target("config.json") == url


@pytest.mark.parametrize(
    ("source", "endpoint", "store"),
    [
        ("s3://models/llama/", "http://minio:9000", "http://minio:9000/models"),
        ("s3://models/qwen/", "http://MINIO:9000/", "http://minio:9000/models"),
        ("s3://other/llama/", "http://minio:9000", "http://minio:9000/other"),
        ("s3://models/llama/", "http://minio:9001", "http://minio:9001/models"),
        ("s3://models/llama/", "https://minio:9000", "https://minio:9000/models"),
        ("s3://models/llama/", "http://minio:9000/tenant", "http://minio:9000/tenant/models"),
    ],
    ids=["plain", "another prefix", "another bucket", "another port", "another scheme", "another path"],
)  # fmt: skip
def test_a_store_is_an_address_and_a_bucket_whatever_the_prefix(
    source: str, endpoint: str, store: str
) -> None:
    assert read_address(source, endpoint, "x", path_style=True).store == store


def test_china_has_a_domain_of_its_own() -> None:
    address = read_address("s3://models/x", "", "cn-north-1", path_style=False)
    assert address.origin == "https://models.s3.cn-north-1.amazonaws.com.cn"


def test_a_listing_names_the_prefix_with_its_slash_and_the_page() -> None:
    address = read_address("s3://models/a b", "http://minio:9000", "x", path_style=True)
    assert address.list_target("next/+=") == (
        "/models?continuation-token=next%2F%2B%3D&encoding-type=url&list-type=2&prefix=a%20b%2F"
    )


def test_credentials_in_an_endpoint_are_not_repeated() -> None:
    address = read_address("s3://models", "http://user:pass@minio:9000", "x", path_style=True)
    assert address.endpoint == "http://minio:9000"


@pytest.mark.parametrize("source", ["", "models/x", "s3://", "s3:///x", "gs://models/x"])
def test_a_source_that_names_no_bucket_is_refused(source: str) -> None:
    with pytest.raises(FetchFailure, match="is not of the form s3://bucket/prefix/") as caught:
        read_address(source, "http://minio", "x", path_style=True)
    assert caught.value.reason == FetchReason.INTERNAL


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://x", "http://", "http://x:port", "//x"])
def test_an_endpoint_that_is_no_web_address_is_refused(endpoint: str) -> None:
    with pytest.raises(FetchFailure, match="is not of the form https://host"):
        read_address("s3://models/x", endpoint, "x", path_style=True)


@pytest.mark.parametrize("region", ["auto", "garage", "", "us-east"])
def test_a_region_that_is_not_of_aws_needs_an_endpoint(region: str) -> None:
    with pytest.raises(FetchFailure, match=r"is none of AWS, and spec\.model\.s3\.endpoint"):
        read_address("s3://models/x", "", region, path_style=False)
    address = read_address("s3://models/x", "https://store.example", region, path_style=False)
    assert address.origin == "https://models.store.example"


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "ap-southeast-10"])
def test_a_region_of_aws_needs_none(region: str) -> None:
    address = read_address("s3://models/x", "", region, path_style=False)
    assert address.origin == f"https://models.s3.{region}.amazonaws.com"
