"""What a store's refusal means: HTTP status and S3 error code → one sentence that says who must change what."""

import http.client
import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from xml.etree import ElementTree

from torpor import clock
from torpor.domain.fetching import FetchReason
from torpor.prewarm.address import Address
from torpor.prewarm.connection import Busy, Interruption
from torpor.prewarm.failure import FetchFailure, ObjectChanged

MOST_ERROR_BYTES = 64 * 1024

_BUSY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_SLOWER_STATUS = frozenset({429, 503})
_SKEW_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_BUCKET_CODES = frozenset({"NoSuchBucket", "InvalidBucketName"})
_REGION_CODES = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
        "InvalidRegionName",
    }
)
_RIGHTS = {"list": "s3:ListBucket", "read": "s3:GetObject", "write": "s3:PutObject"}
_SCOPE = re.compile(r"\b\d{8}/([\w-]+)/s3/aws4_request")


class Asked(NamedTuple):
    """What was asked, for the sentence."""

    address: Address
    access_key: str
    region: str
    key: str | None
    """Object relative to the prefix; None when the prefix was listed."""
    act: str = "read"
    """`list`, `read` or `write`: which right is missing when the store forbids it."""

    @property
    def thing(self) -> str:
        """The object or the prefix by its full name."""
        return self.address.source + (self.key or "")


class _Refused(NamedTuple):
    status: int
    code: str
    message: str
    region: str
    date: str
    type: str


def explain_refusal(asked: Asked, response: http.client.HTTPResponse) -> FetchFailure:
    """Read an answer that is not a success to its end and say what it means.

    1. Busy or broken store: worth asking again. 2. Credentials, clock. 3. Region. 4. Bucket, object,
    precondition. 5. Permission. 6. Anything else, as the store put it.
    """
    refused = _read_refusal(response)
    status, code = refused.status, refused.code
    if (status in _BUSY_STATUS or code == "SlowDown") and code not in _SKEW_CODES:
        kind = Busy if status in _SLOWER_STATUS or code == "SlowDown" else Interruption
        return kind(f"{asked.address.endpoint} is busy ({code or status})")
    return (
        _explain_credentials(asked, refused)
        or _explain_region(asked, refused)
        or _explain_absence(asked, refused)
        or _explain_rest(asked, refused)
    )


def _explain_credentials(asked: Asked, refused: _Refused) -> FetchFailure | None:
    store, key = asked.address.endpoint, f"{asked.access_key[:4]}…"
    if refused.code == "InvalidAccessKeyId":
        text = f"{store} does not know the access key {key} (InvalidAccessKeyId)"
    elif refused.code == "SignatureDoesNotMatch":
        text = f"the secret key does not belong to the access key {key} of {store} (SignatureDoesNotMatch)"
    elif refused.code in _EXPIRED_CODES:
        text = f"the session token for {store} has expired ({refused.code}): AWS_SESSION_TOKEN must be renewed"
    elif refused.code == "InvalidToken":
        text = f"{store} does not know the session token that came with the access key {key} (InvalidToken)"
    elif refused.code in _SKEW_CODES:
        text = f"the node's clock is wrong for {store} ({refused.code}{_skew(refused.date)})"
    else:
        return None
    return FetchFailure(FetchReason.ACCESS_DENIED, text)


def _skew(date: str) -> str:
    """Compare our clock with the store's `Date` header."""
    try:
        seconds = (clock.now() - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return ""
    return f": {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the store's"


def _explain_region(asked: Asked, refused: _Refused) -> FetchFailure | None:
    """A redirect, or a complaint about the region that was signed for; a body need not be there (HEAD)."""
    complaint = refused.message.lower()
    malformed = refused.code == "AuthorizationHeaderMalformed" and "region" in complaint
    scope = _SCOPE.search(complaint) if "scope" in complaint else None
    elsewhere = refused.status in (301, 307, 400) and refused.region not in ("", asked.region)
    if not (refused.code in _REGION_CODES or malformed or scope or elsewhere):
        return None
    where = (
        f"it lives in {refused.region!r}"
        if refused.region
        else refused.message or "no region was named"
    )
    if scope and not refused.region:
        where += " (a store of your own has the region of its own configuration, often 'garage')"
    return FetchFailure(
        FetchReason.WRONG_REGION,
        f"the bucket {asked.address.bucket} is not in the region {asked.region!r} of {asked.address.endpoint}: "
        f"{where}; correct spec.model.s3.region",
    )


def _explain_absence(asked: Asked, refused: _Refused) -> FetchFailure | None:
    if refused.code in _BUCKET_CODES:
        return FetchFailure(
            FetchReason.BUCKET_NOT_FOUND,
            f"{asked.address.endpoint} has no bucket {asked.address.bucket!r} ({refused.code})",
        )
    if asked.key is not None and refused.status in (404, 410):
        return ObjectChanged(asked.thing, "it is gone")
    if asked.key is not None and refused.status in (412, 416):
        return ObjectChanged(asked.thing, "it was replaced")
    return None


def _explain_rest(asked: Asked, refused: _Refused) -> FetchFailure:
    detail = " ".join(filter(None, (str(refused.status), refused.code)))
    if refused.status in (401, 403):
        right = _RIGHTS[asked.act]
        if not asked.access_key:
            text = (
                f"the bucket {asked.address.bucket} is not public: without credentials nobody may {asked.act} "
                f"{asked.thing} ({detail}); name a Secret in spec.model.s3.secretRef or allow {right} to everybody"
            )
        else:
            text = (
                f"the access key {asked.access_key[:4]}… may not {asked.act} {asked.thing}: "
                f"it needs {right} ({detail})"
            )
        return FetchFailure(FetchReason.ACCESS_DENIED, text)
    if not refused.code:
        return FetchFailure(
            FetchReason.UNREACHABLE,
            f"{asked.address.endpoint} answered {detail} {refused.type}, which is not S3: is the endpoint right?",
        )
    return FetchFailure(
        FetchReason.INTERNAL,
        f"{asked.address.endpoint} refused {asked.thing}: {detail} {refused.message[:300]}",
    )


def _read_refusal(response: http.client.HTTPResponse) -> _Refused:
    """Take the code and message from the XML body, if it is one."""
    try:
        body = response.read(MOST_ERROR_BYTES)
    except (OSError, http.client.HTTPException):
        body = b""
    fields: dict[str, str] = {}
    try:
        for element in ElementTree.fromstring(body):
            fields[element.tag.rpartition("}")[2]] = element.text or ""
    except ElementTree.ParseError:
        pass
    return _Refused(
        status=response.status,
        code=fields.get("Code", ""),
        message=fields.get("Message", ""),
        region=fields.get("Region", "") or response.headers.get("x-amz-bucket-region", ""),
        date=response.headers.get("Date", ""),
        type=response.headers.get("Content-Type", "without a content type"),
    )
