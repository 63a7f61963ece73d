"""What the Hugging Face Hub's refusals mean: its client's exceptions → one sentence that says who must do what."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx2
from huggingface_hub import utils
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from torpor.domain.fetching import FetchReason
from torpor.domain.hub import HubSource
from torpor.prewarm.connection import Interruption
from torpor.prewarm.failure import FetchFailure

TOKEN_FIELD = "spec.model.hub.tokenRef"
LONGEST_WAIT_SECONDS = 60.0
"""A hub that asks for a longer pause gets it from whoever starts the pod again."""

_BUSY = frozenset({408, 500, 502, 503, 504})
_utils: Any = utils  # exports these names without saying so to type checkers


class AskedHub(NamedTuple):
    """Who was asked for what, for the sentence."""

    endpoint: str
    source: HubSource
    with_token: bool


class RateLimited(Interruption):
    """The hub wants a pause of `seconds` before the next request."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def explain_error(asked: AskedHub, error: Exception) -> FetchFailure:
    """Say what an error of huggingface_hub, or of the client below it, means.

    1. A known refusal. 2. A pause or a passing trouble. 3. Credentials. 4. No connection. 5. The rest.
    """
    known = _explain_known(asked, error)
    if known is not None:
        return known
    if not isinstance(error, HfHubHTTPError):
        return _explain_transport(asked, error)
    status, said = error.response.status_code, _server_words(error)
    if status == 429:
        return _explain_limit(asked, error.response)
    if status in _BUSY:
        return Interruption(f"the hub {asked.endpoint} is busy ({status})")
    if status == 401:
        text = f"the token of {TOKEN_FIELD} is not valid for {asked.endpoint} (401{said}); renew it"
        return FetchFailure(FetchReason.ACCESS_DENIED, text)
    if status == 403:
        text = f"the token of {TOKEN_FIELD} may not read {asked.source.repo} at {asked.endpoint} (403{said})"
        return FetchFailure(FetchReason.ACCESS_DENIED, text)
    return FetchFailure(
        FetchReason.INTERNAL, f"{asked.endpoint} refused {asked.source}: {status}{said}"
    )


def _explain_known(asked: AskedHub, error: Exception) -> FetchFailure | None:
    repo, given = asked.source.repo, asked.with_token
    if isinstance(error, RevisionNotFoundError):
        text = f"{repo} at {asked.endpoint} has no revision {asked.source.revision!r}"
        return FetchFailure(FetchReason.EMPTY, text)
    if isinstance(error, GatedRepoError):
        who = (
            f"the account of the token in {TOKEN_FIELD}"
            if given
            else f"an account, whose token {TOKEN_FIELD} then has to name,"
        )
        text = f"{repo} is gated: {who} must accept its licence at {asked.endpoint}/{repo}"
        return FetchFailure(FetchReason.GATED, text)
    if isinstance(error, RepositoryNotFoundError):
        hidden = (
            f"the token of {TOKEN_FIELD} may not see it"
            if given
            else f"needs a token: {TOKEN_FIELD} names the Secret with it"
        )
        text = f"{asked.endpoint} has no model {repo}, or it is private and {hidden}"
        return FetchFailure(FetchReason.BUCKET_NOT_FOUND, text)
    return None


def _explain_limit(asked: AskedHub, response: httpx2.Response) -> Interruption:
    given = response.headers.get("Retry-After", "").strip()
    limit = _utils.parse_ratelimit_headers(response.headers)
    seconds = 10.0
    if given.isdigit():
        seconds = float(given)
    elif limit is not None and limit.remaining == 0:
        seconds = float(limit.reset_in_seconds)
    who = f"with the token of {TOKEN_FIELD}" if asked.with_token else "of clients without a token"
    return RateLimited(
        f"the hub {asked.endpoint} has had too many requests {who} (429); it asks to wait {seconds:.0f} s",
        seconds,
    )


def _explain_transport(asked: AskedHub, error: Exception) -> FetchFailure:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return FetchFailure(
            FetchReason.TLS_UNTRUSTED,
            f"the certificate of the hub {asked.endpoint} is not trusted ({error})",
        )
    what = str(error) or type(error).__name__
    return Interruption(f"the hub {asked.endpoint} cannot be reached ({what})")


def be_patient(act: Callable[[], Any], attempts: int, stop: threading.Event) -> Any:
    """Repeat what was interrupted, after the pause that the hub asks for.

    Raises:
        Interruption: the last one, or one that asks for more patience than there is.
    """
    seconds = 0.2
    for left in range(attempts - 1, -1, -1):
        try:
            return act()
        except Interruption as error:
            pause = error.seconds if isinstance(error, RateLimited) else seconds
            if left == 0 or pause > LONGEST_WAIT_SECONDS:
                raise
            stop.wait(pause)
            seconds = min(2 * seconds, 10.0)
    raise AssertionError("the last attempt returns or raises")


def _server_words(error: HfHubHTTPError) -> str:
    said = error.response.headers.get("X-Error-Message") or error.server_message or ""
    return f": {' '.join(said.split())[:200]}" if said else ""
