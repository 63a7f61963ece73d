"""What a store's good answers hold: a page of a listing, an object's checksums, a range of its bytes."""

import http.client
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from torpor.domain.fetching import FetchReason, Part, RemoteFile
from torpor.prewarm.address import Address
from torpor.prewarm.connection import Interruption
from torpor.prewarm.failure import FetchFailure, ObjectChanged


class Proof(NamedTuple):
    """What the store says about the content of one object, beside its size."""

    checksums: dict[str, str]
    """Full-object checksums by algorithm (`crc64nvme`, `crc32c`, `crc32`), base64 as S3 gives them."""
    etag_is_md5: bool
    """Uploaded in one piece and not encrypted with KMS: then, and only then, the ETag is the MD5."""


class After(NamedTuple):
    """Where the next page of a listing begins."""

    token: str
    """What the store gave for that; empty if it gave nothing."""
    key: str
    """The last whole key of this page, for stores that give no token."""


def parse_listing(address: Address, body: bytes) -> tuple[list[RemoteFile], After | None]:
    """Read one page: its objects with keys relative to the prefix, and where the next page begins.

    Keys are decoded only if the answer says that they are encoded; ETags may come with quotes or without.
    """
    not_s3 = FetchFailure(
        FetchReason.UNREACHABLE,
        f"{address.endpoint} answered something that is not an S3 listing: is the endpoint right?",
    )
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise not_s3 from None
    name = root.tag.removesuffix("ListBucketResult")
    if name == root.tag:
        raise not_s3
    encoded = root.findtext(f"{name}EncodingType") == "url"
    files: list[RemoteFile] = []
    for entry in root.iterfind(f"{name}Contents"):
        key = entry.findtext(f"{name}Key") or ""
        key = unquote_plus(key) if encoded else key
        size, etag = entry.findtext(f"{name}Size") or "", entry.findtext(f"{name}ETag") or ""
        if not size.isdigit() or not key.startswith(address.prefix):
            raise not_s3
        etag = etag.strip().removeprefix("W/").strip('"')
        files.append(RemoteFile(key.removeprefix(address.prefix), int(size), etag))
    if root.findtext(f"{name}IsTruncated", "").strip().lower() != "true":
        return files, None
    token = root.findtext(f"{name}NextContinuationToken") or ""
    if not token and not files:
        raise not_s3
    return files, After(token, address.prefix + files[-1].key if files else "")


def read_proof(file: RemoteFile, headers: http.client.HTTPMessage) -> Proof:
    """Take only checksums of the whole object; a checksum of checksums (`COMPOSITE`) proves nothing to us."""
    whole = headers.get("x-amz-checksum-type", "FULL_OBJECT").upper() == "FULL_OBJECT"
    found = {
        algorithm: headers[f"x-amz-checksum-{algorithm}"]
        for algorithm in ("crc64nvme", "crc32c", "crc32")
        if f"x-amz-checksum-{algorithm}" in headers
        and "-" not in headers[f"x-amz-checksum-{algorithm}"]
    }
    kms = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    hexadecimal = len(file.etag) == 32 and all(digit in "0123456789abcdef" for digit in file.etag)
    return Proof(checksums=found if whole else {}, etag_is_md5=hexadecimal and not kms)


def check_etag(address: Address, file: RemoteFile, response: http.client.HTTPResponse) -> None:
    """Some stores ignore If-Match; their answer's own ETag still tells."""
    etag = response.headers.get("ETag")
    if etag is not None and etag.removeprefix("W/").strip('"') != file.etag:
        raise ObjectChanged(address.source + file.key, "it was replaced")


def check_range(
    address: Address, file: RemoteFile, part: Part, response: http.client.HTTPResponse
) -> None:
    """Accept exactly the bytes that were asked for.

    1. Status 206, or 200 with a Content-Range (some stores do that): the range must be the one asked for.
    2. Status 200 without one: only if the whole object was asked for. 3. A length, if given, must agree.
    """
    check_etag(address, file, response)
    last = part.offset + part.length - 1
    given = response.headers.get("Content-Range")
    if given is None:
        exact = response.status == 200 and part.length == file.size
    else:
        exact = given.strip() == f"bytes {part.offset}-{last}/{file.size}"
    if not exact or response.length not in (None, part.length):
        raise Interruption(
            f"{address.endpoint} answered {response.status} with {given or 'no Content-Range'} and "
            f"{response.length} bytes to bytes {part.offset}-{last} of {file.size} of {address.source}{file.key}",
            reason=FetchReason.CORRUPT,
        )
