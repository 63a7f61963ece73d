"""Requests that a store accepts: credentials from the settings or from botocore's chain, AWS signature version 4."""

import hashlib
from typing import Any, cast

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure
from torpor.settings.prewarm import PrewarmSettings

EMPTY_PAYLOAD = hashlib.sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""Said in place of the body's hash where TLS protects it already."""


class Signer:
    """Signs requests; one for all threads."""

    def __init__(self, settings: PrewarmSettings) -> None:
        """Find the credentials.

        Raises:
            FetchFailure: there are none, or only half of a pair.
        """
        self.region = settings.region
        self._credentials = None if settings.anonymous else _find_credentials(settings)

    @property
    def access_key(self) -> str:
        """The key's name, which is no secret; empty when nothing is signed."""
        return str(_freeze(self._credentials).access_key) if self._credentials else ""

    def sign(
        self, method: str, url: str, headers: dict[str, str], payload: str = EMPTY_PAYLOAD
    ) -> dict[str, str]:
        """Return the headers with date and authorization added; all given ones are covered.

        `payload` is the body's SHA-256 in hex, or `UNSIGNED_PAYLOAD`. An anonymous request stays as it is.
        """
        if self._credentials is None:
            return headers
        request = AWSRequest(method=method, url=url, headers=headers)
        auth: Any = S3SigV4Auth(_freeze(self._credentials), "s3", self.region)

        def say_payload(_: AWSRequest) -> str:
            return payload

        auth.payload = say_payload
        auth.add_auth(request)
        return dict(request.headers.items())


def _freeze(credentials: Credentials) -> Any:
    """Take the credentials of this moment; those of a pod's identity are asked for, and asked for again, here."""
    try:
        return credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise FetchFailure(
            FetchReason.ACCESS_DENIED, f"the S3 credentials of the pod's identity fail ({error})"
        ) from error


def _find_credentials(settings: PrewarmSettings) -> Credentials:
    if settings.access_key and settings.secret_key:
        return Credentials(settings.access_key, settings.secret_key, settings.session_token or None)
    if settings.access_key or settings.secret_key:
        missing = "AWS_SECRET_ACCESS_KEY" if settings.access_key else "AWS_ACCESS_KEY_ID"
        raise FetchFailure(
            FetchReason.ACCESS_DENIED, f"the Secret of spec.model.s3.secretRef has no {missing}"
        )
    from botocore import session  # half a second; only for web identity and roles

    try:
        found: Credentials | None = cast("Any", session).get_session().get_credentials()
    except BotoCoreError as error:
        raise FetchFailure(
            FetchReason.ACCESS_DENIED, f"the S3 credentials of the pod's identity fail ({error})"
        ) from error
    if found is None:
        raise FetchFailure(
            FetchReason.ACCESS_DENIED,
            "there are no S3 credentials: the Secret of spec.model.s3.secretRef must hold "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    return found
