"""Requests that a store accepts: credentials from the settings or from botocore's chain, AWS signature version 4.

The signature is computed here and not by botocore, whose import alone costs a quarter of a second of CPU time;
botocore is imported only where its chain must find the credentials.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from torpor import clock
from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure
from torpor.settings.prewarm import PrewarmSettings

EMPTY_PAYLOAD = hashlib.sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""Said in place of the body's hash where TLS protects it already."""


class Keys(NamedTuple):
    """What requests are signed with."""

    access: str
    secret: str
    token: str
    """Empty unless the credentials are temporary."""


class Signer:
    """Signs requests; one for all threads."""

    def __init__(self, settings: PrewarmSettings) -> None:
        """Find the credentials.

        Raises:
            FetchFailure: there are none, or only half of a pair.
        """
        self.region = settings.region
        self._find_keys = None if settings.anonymous else _find_keys(settings)
        self._signing_key = (("", ""), b"")

    @property
    def access_key(self) -> str:
        """The key's name, which is no secret; empty when nothing is signed."""
        return self._find_keys().access if self._find_keys else ""

    def sign(
        self, method: str, url: str, headers: dict[str, str], payload: str = EMPTY_PAYLOAD
    ) -> dict[str, str]:
        """Return the headers with date and authorization added; all given ones are covered.

        `payload` is the body's SHA-256 in hex, or `UNSIGNED_PAYLOAD`. An anonymous request stays as it is.
        """
        return self.sign_at(clock.now(), method, url, headers, payload)

    def sign_at(
        self,
        when: datetime,
        method: str,
        url: str,
        headers: dict[str, str],
        payload: str = EMPTY_PAYLOAD,
    ) -> dict[str, str]:
        """As `sign`, at a given instant in UTC."""
        if self._find_keys is None:
            return headers
        keys, stamp = self._find_keys(), when.strftime("%Y%m%dT%H%M%SZ")
        signed = {**headers, "X-Amz-Date": stamp, "X-Amz-Content-SHA256": payload}
        if keys.token:
            signed["X-Amz-Security-Token"] = keys.token
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        names, request = _canonical(method, url, signed)
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = _hmac(self._derive(keys.secret, stamp[:8]), text).hex()
        signed["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _derive(self, secret: str, day: str) -> bytes:
        """Derive the key of a day once; threads that race for it compute the same."""
        known, key = self._signing_key
        if known != (secret, day):
            key = f"AWS4{secret}".encode()
            for word in (day, self.region, "s3", "aws4_request"):
                key = _hmac(key, word)
            self._signing_key = ((secret, day), key)
        return key


def _canonical(method: str, url: str, headers: dict[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and the request as both sides must write it.

    S3 signs the path as it is sent, once encoded and not normalised.
    """
    parts = urlsplit(url)
    pairs = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    pairs.setdefault("host", parts.netloc.rpartition("@")[2])
    names = ";".join(sorted(pairs))
    fields = "".join(f"{name}:{pairs[name]}\n" for name in sorted(pairs))
    query = "&".join(sorted(_with_value(pair) for pair in parts.query.split("&") if pair))
    content = pairs["x-amz-content-sha256"]
    return names, f"{method}\n{parts.path or '/'}\n{query}\n{fields}\n{names}\n{content}"


def _with_value(pair: str) -> str:
    return pair if "=" in pair else f"{pair}="


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _find_keys(settings: PrewarmSettings) -> Callable[[], Keys]:
    """A function that gives the keys of the moment: those of a role are renewed."""
    if settings.access_key and settings.secret_key:
        keys = Keys(settings.access_key, settings.secret_key, settings.session_token)
        return lambda: keys
    if settings.access_key or settings.secret_key:
        missing = "AWS_SECRET_ACCESS_KEY" if settings.access_key else "AWS_ACCESS_KEY_ID"
        raise FetchFailure(
            FetchReason.ACCESS_DENIED, f"the Secret of spec.model.s3.secretRef has no {missing}"
        )
    return _search_chain()


def _search_chain() -> Callable[[], Keys]:
    from botocore import session  # half a second; only for web identity and roles
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        found: Any = cast("Any", session).get_session().get_credentials()
    except (BotoCoreError, ClientError) as error:
        raise FetchFailure(
            FetchReason.ACCESS_DENIED, f"the S3 credentials of the pod's identity fail ({error})"
        ) from error
    if found is None:
        raise FetchFailure(
            FetchReason.ACCESS_DENIED,
            "there are no S3 credentials: the Secret of spec.model.s3.secretRef must hold "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )

    def freeze() -> Keys:
        try:
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise FetchFailure(
                FetchReason.ACCESS_DENIED,
                f"the S3 credentials of the pod's identity fail ({error})",
                retryable=True,
            ) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    return freeze
