"""Reasons and errors: every one is documented, findable and answers something."""

import re
from datetime import timedelta

import pytest

from torpor.api.conditions import ConditionType, Reason
from torpor.api.errorcodes import ErrorCode
from torpor.errors import Rejected, Stalled, TorporError, Waiting


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_a_word_with_a_meaning(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]{2,}", reason)
    assert reason.value.lower() == reason.name.replace("_", "").lower()
    assert reason.meaning.endswith(".")
    assert len(reason.meaning) > 15
    assert reason.group in set(ConditionType)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_answered_as_http_has_it(reason: Reason) -> None:
    assert reason.http_status in {200, 429, 503}


def test_reasons_are_sorted_within_their_group() -> None:
    groups = list(dict.fromkeys(reason.group for reason in Reason))
    order = sorted(Reason, key=lambda reason: (groups.index(reason.group), reason.name))
    assert order == list(Reason)


def test_codes_are_sorted_by_status_then_name() -> None:
    assert list(ErrorCode) == sorted(ErrorCode, key=lambda code: (code.http_status, code.name))
    for code in ErrorCode:
        assert 400 <= code.http_status <= 599
        assert code.meaning.endswith(".")


def test_a_word_from_a_status_is_found_and_an_unknown_one_is_unknown() -> None:
    assert Reason.of("WeightsEmpty") is Reason.WEIGHTS_EMPTY
    assert Reason.of("FromTheFuture") is Reason.UNKNOWN
    assert f"{Reason.IDLE}" == "Idle"


def test_an_error_says_what_happens_next() -> None:
    waiting = Waiting(Reason.NO_NODES, "no node has a GPU", after=timedelta(seconds=-3))
    assert waiting.after == timedelta()
    stalled = Stalled(Reason.INVALID_SPEC, "the spec cannot be read")
    rejected = Rejected(
        ErrorCode.QUEUE_FULL,
        "1000 requests wait already",
        code=429,
        retry_after=timedelta(seconds=5),
    )
    assert (rejected.code, rejected.retry_after) == (429, timedelta(seconds=5))
    for error in (waiting, stalled, rejected):
        assert isinstance(error, TorporError)
        assert type(error.reason) is str
        assert str(error) == error.message
