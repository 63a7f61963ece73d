"""What went wrong, and what happens next.

    TorporError
    ├── Waiting    it will be looked at again, after a known time
    ├── Stalled    nothing happens until the spec, or what the spec names, changes
    └── Rejected   one request is refused with an HTTP status; the endpoint itself is untouched

Each carries a `reason` (the value of a member of `torpor.api.conditions.Reason`; typed `str` because this
is the lowest room) and a message for people that names the object, the number and the limit. None of them
is ever raised out of a kopf handler: a pass turns them into conditions and a time to look again.
"""

from datetime import timedelta


class TorporError(Exception):
    """Base of all expected failures; `str(error)` is the message."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason (CamelCase) beside the sentence."""
        super().__init__(message)
        self.reason = str(reason)
        self.message = message


class Waiting(TorporError):
    """Not now: the cause is expected to pass, and the pass runs again `after` this long."""

    def __init__(self, reason: str, message: str, *, after: timedelta) -> None:
        """`after` is counted from the moment of raising and is never negative."""
        super().__init__(reason, message)
        self.after = max(after, timedelta())


class Stalled(TorporError):
    """Not until somebody changes something: trying again unchanged would fail the same way."""


class Rejected(TorporError):
    """One request is answered with `code`; `retry_after`, if any, becomes the `Retry-After` header."""

    def __init__(
        self, reason: str, message: str, *, code: int, retry_after: timedelta | None = None
    ) -> None:
        """`code` is an HTTP status between 400 and 599."""
        super().__init__(reason, message)
        self.code = code
        self.retry_after = retry_after
