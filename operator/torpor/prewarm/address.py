"""Where a checkpoint lies: `s3://bucket/prefix/` and an endpoint → host, port and request targets."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure

_HOST_LABEL_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")

_AWS_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")


class Address(NamedTuple):
    """A prefix in a bucket, and how its store is spoken to."""

    scheme: str
    host: str
    port: int
    root: str
    """Path in front of every key, percent-encoded: `/bucket` in path style, else what the endpoint has."""
    bucket: str
    prefix: str
    """Ends in a slash, or is empty for the whole bucket: `llama/` must not match `llama-70b/`."""
    endpoint: str
    """For messages: `https://host:port`."""

    @property
    def source(self) -> str:
        """For messages: `s3://bucket/prefix/`."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def origin(self) -> str:
        """Scheme, host and port as they are signed: a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}" + ("" if self.port == default else f":{self.port}")

    @property
    def store(self) -> str:
        """Which bucket at which address, without the prefix, as requests name it: part of a copy's name.

        `https://bucket.host` or `https://host/path/bucket`. The path in front of the keys belongs to it: one
        gateway may lead to several people's stores by path.
        """
        return self.origin + self.root

    def object_target(self, key: str) -> str:
        """Request target of one object; `key` is relative to the prefix."""
        return f"{self.root}/{quote(self.prefix + key, safe='/-_.~')}"

    def list_target(self, continuation: str | None, after: str = "") -> str:
        """Request target of one page of the listing.

        `after` is the last key known, for stores that give no token: those that know the first version of
        the request only look at `marker`, the others at `start-after`.
        """
        query = {"list-type": "2", "prefix": self.prefix, "encoding-type": "url"}
        if continuation:
            query["continuation-token"] = continuation
        elif after:
            query |= {"start-after": after, "marker": after}
        return (
            f"{self.root or '/'}?{urlencode(sorted(query.items()), quote_via=quote, safe='-_.~')}"
        )


def read_address(source: str, endpoint: str, region: str, *, path_style: bool) -> Address:
    """Put the settings together.

    Raises:
        FetchFailure: a source that is no `s3://bucket/…`, or an endpoint that is no http(s) address.
    """
    bucket, prefix = _split_source(source)
    endpoint = endpoint or _aws_endpoint(region)
    try:
        parts = urlsplit(endpoint)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        raise _bad_endpoint(endpoint) from None
    if not parts.hostname:
        raise _bad_endpoint(endpoint)
    host, root = parts.hostname, quote(parts.path.rstrip("/"), safe="/-_.~%")
    if path_style or _is_ip(host) or not _HOST_LABEL_BUCKET.fullmatch(bucket):
        root = f"{root}/{quote(bucket, safe='-_.~')}"
    else:
        host = f"{bucket}.{host}"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Address(parts.scheme, host, port, root, bucket, prefix, shown)


def _split_source(source: str) -> tuple[str, str]:
    scheme, _, rest = source.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise FetchFailure(
            FetchReason.INTERNAL, f"the source {source!r} is not of the form s3://bucket/prefix/"
        )
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


def _aws_endpoint(region: str) -> str:
    if not _AWS_REGION.fullmatch(region):
        raise FetchFailure(
            FetchReason.UNREACHABLE,
            f"the region {region!r} is none of AWS, and spec.model.s3.endpoint does not say where the store is",
        )
    return f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def _bad_endpoint(endpoint: str) -> FetchFailure:
    return FetchFailure(
        FetchReason.UNREACHABLE,
        f"the S3 endpoint {endpoint!r} is not of the form https://host[:port]",
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
