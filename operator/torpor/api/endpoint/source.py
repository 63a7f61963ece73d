"""Where weights lie: the schemes of `model.source`, `adapters` and `draft`, and what they mean."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from torpor.api.words import Rule, rules_of

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PREFIX = r"[A-Za-z0-9!_.*'()=@:,+ -]+(/[A-Za-z0-9!_.*'()=@:,+ -]+)*/?"
S3_PATTERN = rf"^s3://{_BUCKET}/{_PREFIX}$"


@dataclass(frozen=True)
class S3Source:
    """A prefix in a bucket, in its one normal form: the prefix ends in exactly one slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        """Write the source as `s3://bucket/prefix/`."""
        return f"s3://{self.bucket}/{self.prefix}"


def parse_s3(source: str) -> S3Source:
    """Read `s3://bucket/prefix` with or without its last slash; raise ValueError for anything else."""
    if not re.fullmatch(S3_PATTERN, source) or {".", ".."} & set(source.split("/")):
        raise ValueError(
            f"{source!r} needs a bucket and a prefix without empty parts: s3://bucket/prefix/"
        )
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    return S3Source(bucket, prefix.rstrip("/") + "/")


@dataclass(frozen=True)
class ClaimSource:
    """A folder in a PersistentVolumeClaim of the endpoint's namespace; an empty path is its root."""

    claim: str
    path: str

    def __str__(self) -> str:
        """Write the source as `pvc://claim/path/`."""
        return f"pvc://{self.claim}/{self.path}/" if self.path else f"pvc://{self.claim}/"


def parse_claim(source: str) -> ClaimSource | None:
    """Read `pvc://claim/path`; None for a source of another scheme."""
    if not source.startswith("pvc://"):
        return None
    claim, _, path = source.removeprefix("pvc://").partition("/")
    return ClaimSource(claim, path.strip("/"))


def normal(source: str) -> str:
    """Give a source in its one normal form, so that a slash more or less is no other place."""
    if source.startswith("s3://"):
        return str(parse_s3(source))
    claim = parse_claim(source)
    return str(claim) if claim else source.rstrip("/")


def _check(source: str) -> str:
    if source.startswith("s3://"):
        parse_s3(source)
    return source


_SCHEMES = Rule(
    "self.startsWith('s3://') || self.startsWith('hf://') || self.startsWith('pvc://')",
    "must begin with s3://, hf:// or pvc://",
    expression='"\'" + self + "\' must begin with s3://, hf:// or pvc://"',
)
_S3 = Rule(
    rf"!self.startsWith('s3://') || self.matches(r'''{S3_PATTERN}''')",
    "an s3 source needs a bucket and a prefix without empty parts: s3://bucket/prefix/",
)
_S3_PLAIN = Rule(
    "!self.startsWith('s3://') || !self.matches('/[.]{1,2}(/|$)')",
    "an s3 source must not contain the parts . or ..",
)
_HF = Rule(
    "!self.startsWith('hf://') || "
    "self.matches('^hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(@[A-Za-z0-9._/-]+)?$')",
    "a Hugging Face source is hf://organisation/name or hf://organisation/name@revision",
)
_PVC = Rule(
    "!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[^/]+)*/?$')",
    "a claim source is pvc://claim/path",
)
_PVC_PLAIN = Rule(
    "!self.startsWith('pvc://') || !self.matches('/[.]{1,2}(/|$)')",
    "a claim source must not contain the parts . or ..",
)
_MOVED = Rule(
    "self.startsWith('s3://') || self.startsWith('hf://')",
    "must begin with s3:// or hf://: adapters and drafts are fetched to the node",
)

Source = Annotated[
    str,
    AfterValidator(_check),
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=rules_of(_SCHEMES, _S3, _S3_PLAIN, _HF, _PVC, _PVC_PLAIN),
    ),
]
FetchedSource = Annotated[
    str,
    AfterValidator(_check),
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=rules_of(_MOVED, _S3, _S3_PLAIN, _HF),
    ),
]
"""A source that is fetched: what lies beside the model, or where copies are kept."""
BucketPrefix = Annotated[
    str,
    AfterValidator(_check),
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=rules_of(
            Rule("self.startsWith('s3://')", "must begin with s3://"), _S3, _S3_PLAIN
        ),
    ),
]
