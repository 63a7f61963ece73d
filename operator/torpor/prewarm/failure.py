"""The one exception of the prewarm room."""

from typing import TypeVar

from torpor.domain.fetching import FetchReason, Refusal
from torpor.errors import TorporError


class FetchFailure(TorporError):
    """Weights cannot be brought; the program writes it to the termination log and exits 1.

    `retryable` says whether trying again may help although nobody changes anything.
    """

    def __init__(self, reason: FetchReason, message: str, *, retryable: bool = False) -> None:
        super().__init__(reason, message)
        self.retryable = retryable


class ObjectChanged(FetchFailure):
    """An object is not the listed one any more: the plan is void, a new listing makes a new one."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(
            FetchReason.CHANGED,
            f"{key} was changed in the bucket while it was fetched ({detail})",
            retryable=True,
        )


Answer = TypeVar("Answer")


def take(answer: Answer | Refusal) -> Answer:
    """Give the answer back.

    Raises:
        FetchFailure: if it is a refusal.
    """
    if isinstance(answer, Refusal):
        raise FetchFailure(answer.reason, answer.message, retryable=answer.retryable)
    return answer


def raise_refusal(refusal: Refusal | None) -> None:
    """Carry a decision of the domain out of the program's depth.

    Raises:
        FetchFailure: if there is a refusal.
    """
    take(refusal)


def explain_cache_error(folder: str, error: OSError) -> FetchFailure:
    """What to say when the cache folder itself cannot be read or written."""
    return FetchFailure(
        FetchReason.INTERNAL,
        f"the weights cache {folder} cannot be used: {error.strerror or error} "
        f"({error.filename or 'no path'})",
        retryable=True,
    )
