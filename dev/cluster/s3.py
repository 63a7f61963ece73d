"""A small S3 client for putting test data where torpor will find it: standard library only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from .errors import HarnessError
from .objectstore import REGION, Account
from .places import HOST_IP, S3_PORT

_NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
_CHUNK = 1 << 20


def parse_address(address: str) -> tuple[str, str]:
    """(bucket, prefix) of s3://bucket/prefix; a prefix that is not empty ends with a slash."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise HarnessError(f"{address} is not of the form s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def sign(
    account: Account,
    method: str,
    host: str,
    path: str,
    query: dict[str, str],
    payload_sha256: str,
    now: datetime,
) -> dict[str, str]:
    """Headers of AWS signature version 4 for one request; `path` is percent-encoded already."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": payload_sha256, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            path,
            encode_query(query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            payload_sha256,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    key = f"AWS4{account.secret_key}".encode()
    for part in (stamp[:8], REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={account.access_key}/{scope}"
    headers["authorization"] = f"{credential}, SignedHeaders={names}, Signature={signature}"
    return headers


def encode_query(query: dict[str, str]) -> str:
    """The canonical query string: sorted, everything but unreserved characters encoded."""
    quoted = (
        (urllib.parse.quote(k, safe=""), urllib.parse.quote(v, safe="")) for k, v in query.items()
    )
    return "&".join(f"{key}={value}" for key, value in sorted(quoted))


class Store:
    """Requests of one account against the http listener."""

    def __init__(self, account: Account, host: str = HOST_IP, port: int = S3_PORT) -> None:
        self._account = account
        self._address = (host, port)

    def ask(
        self,
        method: str,
        bucket: str,
        key: str = "",
        query: dict[str, str] | None = None,
        body: Path | None = None,
    ) -> tuple[int, bytes]:
        """One signed request; (status, body of the answer)."""
        host, port = self._address
        path = urllib.parse.quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/")
        digest, md5 = _digests(body)
        asked = query or {}
        headers = sign(
            self._account, method, f"{host}:{port}", path, asked, digest, datetime.now(UTC)
        )
        headers["content-length"] = str(body.stat().st_size if body else 0)
        if body:
            headers["content-md5"] = md5
        target = f"{path}?{encode_query(asked)}" if asked else path
        connection = http.client.HTTPConnection(host, port, timeout=120)
        try:
            if body is None:
                connection.request(method, target, headers=headers)
            else:
                with body.open("rb") as content:
                    connection.request(method, target, body=content, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as broken:
            raise HarnessError(
                f"the S3 server at {host}:{port} does not answer: {broken}"
            ) from broken
        finally:
            connection.close()

    def make_bucket(self, bucket: str) -> None:
        """Create a bucket unless the account owns it already."""
        status, told = self.ask("PUT", bucket)
        if status != 200 and b"BucketAlreadyOwnedByYou" not in told:
            raise HarnessError(f"bucket {bucket}: {status} {told.decode(errors='replace')[:300]}")

    def put(self, folder: Path, address: str) -> int:
        """Upload every file below `folder` under the address; returns the bytes sent."""
        bucket, prefix = parse_address(address)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise HarnessError(f"{folder} holds no file to put at {address}")
        self.make_bucket(bucket)
        for path in files:
            key = prefix + path.relative_to(folder).as_posix()
            status, told = self.ask("PUT", bucket, key, body=path)
            if status != 200:
                raise HarnessError(f"put {key}: {status} {told.decode(errors='replace')[:300]}")
        return sum(path.stat().st_size for path in files)

    def list(self, address: str) -> Iterator[tuple[str, int]]:
        """(key, bytes) of every object below the address."""
        bucket, prefix = parse_address(address)
        query = {"list-type": "2", "prefix": prefix}
        while True:
            status, told = self.ask("GET", bucket, query=query)
            if status != 200:
                raise HarnessError(
                    f"list {address}: {status} {told.decode(errors='replace')[:300]}"
                )
            page = ElementTree.fromstring(told)
            for entry in page.iterfind("s3:Contents", _NAMESPACE):
                key = entry.findtext("s3:Key", "", _NAMESPACE)
                yield key, int(entry.findtext("s3:Size", "0", _NAMESPACE))
            more = page.findtext("s3:NextContinuationToken", "", _NAMESPACE)
            if not more:
                return
            query["continuation-token"] = more

    def remove(self, address: str) -> int:
        """Delete every object below the address; returns how many."""
        bucket, _ = parse_address(address)
        keys = [key for key, _ in self.list(address)]
        for key in keys:
            self.ask("DELETE", bucket, key)
        return len(keys)


def _digests(body: Path | None) -> tuple[str, str]:
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    if body is not None:
        with body.open("rb") as content:
            while chunk := content.read(_CHUNK):
                sha.update(chunk)
                md5.update(chunk)
    return sha.hexdigest(), base64.b64encode(md5.digest()).decode()
