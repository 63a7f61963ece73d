"""The small S3 client signs as Amazon's own library does, and accounts are drawn once."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dev.cluster.errors import HarnessError
from dev.cluster.objectstore import REGION, Account, accounts, draw_account
from dev.cluster.places import Places
from dev.cluster.s3 import encode_query, parse_address, sign

KEYS = Account("AKEXAMPLE", "secret/with+signs")


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/bucket", {"list-type": "2", "prefix": "a b/ü/", "continuation-token": "x=/+"}),
        ("PUT", "/bucket/a%20b/%C3%BC~.bin", {}),
    ],
    ids=["list", "put"],
)
def test_signatures_equal_those_of_botocore(method: str, path: str, query: dict[str, str]) -> None:
    payload = "0" * 64
    target = f"http://10.0.0.1:7070{path}" + (f"?{encode_query(query)}" if query else "")
    oracle = AWSRequest(method=method, url=target, headers={"X-Amz-Content-SHA256": payload})
    oracle.context["payload_signing_enabled"] = True
    signer = S3SigV4Auth(Credentials(KEYS.access_key, KEYS.secret_key), "s3", REGION)
    signer.payload = lambda request: payload
    signer.add_auth(oracle)
    now = datetime.strptime(oracle.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = sign(KEYS, method, "10.0.0.1:7070", path, query, payload, now)
    assert ours["authorization"] == oracle.headers["Authorization"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://b/p", ("b", "p/")),
        ("s3://b/p/q/", ("b", "p/q/")),
        ("s3://b", ("b", "")),
    ],
)
def test_addresses_name_a_bucket_and_a_prefix(address: str, expected: tuple[str, str]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["b/p", "http://b/p", "s3:///p"])
def test_other_addresses_are_refused_by_name(address: str) -> None:
    with pytest.raises(HarnessError, match="is not of the form"):
        parse_address(address)


def test_accounts_are_drawn_once_and_kept_from_other_users(tmp_path: Path) -> None:
    where = Places(repo=tmp_path, cache=tmp_path, run=tmp_path)
    first = accounts(where)
    assert accounts(where) == first
    assert first.owner != first.stranger
    assert stat.S_IMODE((where.s3 / "accounts.json").stat().st_mode) == 0o600
    assert draw_account("A") != draw_account("A")
