"""Signatures are those of the reference client, byte for byte, over any key and query."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from torpor.prewarm.address import read_address
from torpor.prewarm.signing import UNSIGNED_PAYLOAD, Signer
from torpor.settings.prewarm import PrewarmSettings

WHEN = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
SETTINGS = PrewarmSettings(access_key="AKIA", secret_key="secret/+=", region="eu-central-1")


def sign_as_botocore(
    method: str, url: str, headers: dict[str, str], token: str | None, region: str
) -> str:
    auth: Any = S3SigV4Auth(Credentials("AKIA", "secret/+=", token), "s3", region)
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["timestamp"] = WHEN.strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    auth._inject_signature_to_request(request, signature)
    return str(request.headers["Authorization"])


HEADERS = {"Range": "bytes=0-8388607", "If-Match": '"abc-3"', "Accept-Encoding": "identity"}


@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzE//+=="], ids=["no token", "token"])
@pytest.mark.parametrize(
    "key",
    [
        "model-00001-of-00002.safetensors",
        "a b/c  d.json",
        "näme/日本語.json",
        "plus+tilde~star*'()!.bin",
        "percent%20as it is%",
        "a//b/../c/./d",
        "&=?#;:@$,",
        "",
    ],
)
@pytest.mark.parametrize(
    "endpoint", ["http://10.0.0.1:9000", "https://s3.example.com", "http://h:80/root"]
)
def test_an_object_s_request_is_signed_as_the_reference_does(
    endpoint: str, key: str, token: str
) -> None:
    address = read_address("s3://bucket/p q/", endpoint, "eu-central-1", path_style=True)
    url = address.origin + address.object_target(key)
    signed = Signer(SETTINGS._replace(session_token=token)).sign_at(WHEN, "GET", url, HEADERS)
    assert signed["Authorization"] == sign_as_botocore(
        "GET", url, HEADERS, token or None, "eu-central-1"
    )
    assert HEADERS.items() <= signed.items()


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_page_of_any_prefix_is_signed_as_the_reference_does(prefix: str) -> None:
    encoded = quote(prefix, safe="-_.~")
    url = f"http://127.0.0.1:1/b?list-type=2&prefix={encoded}&continuation-token={encoded}&uploads"
    signed = Signer(SETTINGS).sign_at(WHEN, "GET", url, {})
    assert signed["Authorization"] == sign_as_botocore("GET", url, {}, None, "eu-central-1")


def test_the_content_s_hash_may_be_the_caller_s() -> None:
    signed = Signer(SETTINGS).sign_at(WHEN, "PUT", "https://h/b/k", {}, UNSIGNED_PAYLOAD)
    assert [value for name, value in signed.items() if name.lower() == "x-amz-content-sha256"] == [
        "UNSIGNED-PAYLOAD"
    ]


def test_a_new_day_and_another_region_have_their_own_key() -> None:
    signer = Signer(SETTINGS)
    first = signer.sign_at(WHEN, "GET", "http://h/b", {})["Authorization"]
    signer.sign_at(datetime(2026, 2, 4, tzinfo=UTC), "GET", "http://h/b", {})
    assert signer.sign_at(WHEN, "GET", "http://h/b", {})["Authorization"] == first
    elsewhere = Signer(SETTINGS._replace(region="us-east-1"))
    assert elsewhere.sign_at(WHEN, "GET", "http://h/b", {})["Authorization"] == sign_as_botocore(
        "GET", "http://h/b", {}, None, "us-east-1"
    )
