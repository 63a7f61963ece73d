"""Requests that a store accepts: credentials from the settings or from botocore's chain, AWS signature version 4."""

from typing import Any, cast

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure
from torpor.settings.prewarm import PrewarmSettings


class Signer:
    """Signs requests; one for all threads."""

    def __init__(self, settings: PrewarmSettings) -> None:
        """Find the credentials.

        Raises:
            FetchFailure: there are none, or only half of a pair.
        """
        self.region = settings.region
        self._credentials = _find_credentials(settings)

    @property
    def access_key(self) -> str:
        """The key's name, which is no secret."""
        frozen: Any = self._credentials.get_frozen_credentials()
        return str(frozen.access_key)

    def sign(self, method: str, url: str, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers with date and authorization added; all given ones are covered."""
        request = AWSRequest(method=method, url=url, headers=headers)
        frozen = self._credentials.get_frozen_credentials()
        auth: Any = S3SigV4Auth(frozen, "s3", self.region)
        auth.add_auth(request)
        return dict(request.headers.items())


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
