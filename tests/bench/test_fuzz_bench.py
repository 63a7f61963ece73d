"""The judge of the fuzz run sees what must not be, and a short run finds nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.fuzz import Fuzzing
from bench.fuzzing.conversations import Conversation
from bench.fuzzing.judging import Answer, Wrong, judge, parse
from bench.fuzzing.stage import Stage, open_stage

ONE = Conversation((b"GET / HTTP/1.1\r\n\r\n",), 1)
DAMAGED = Conversation((b"GET",), None)
ERROR = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": "c"}}).encode()


def answer(status: int = 200, body: bytes = b"", *, closes: bool = False) -> Answer:
    return Answer(status, {"connection": "close"} if closes else {}, body)


LAST = answer(closes=True)


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (ONE, [answer(), LAST]),
        (ONE, [answer(404, ERROR), LAST]),
        (ONE, [answer(400, ERROR, closes=True)]),
        (DAMAGED, []),
        (DAMAGED, [answer(400, ERROR, closes=True)]),
        (DAMAGED, [answer(), answer(), LAST]),
    ],
)
def test_what_is_right_is_not_complained_of(said: Conversation, answers: list[Answer]) -> None:
    judge(said, answers)


@pytest.mark.parametrize(
    ("said", "answers", "words"),
    [
        (ONE, [answer(500, ERROR), LAST], "failed"),
        (DAMAGED, [answer(500, ERROR)], "failed"),
        (ONE, [], "2 answers were due"),
        (ONE, [answer()], "2 answers were due"),
        (ONE, [answer(), answer(), LAST], "2 answers were due"),
        (ONE, [answer(closes=True), LAST], "2 answers were due"),
        (ONE, [answer(404, b"no"), LAST], "without an error object"),
        (DAMAGED, [answer(400, b'{"error": "text"}')], "without an error object"),
    ],
)
def test_what_is_wrong_is_seen(said: Conversation, answers: list[Answer], words: str) -> None:
    with pytest.raises(Wrong, match=words):
        judge(said, answers)


def test_answers_are_taken_apart_and_those_that_are_not_final_left_out() -> None:
    raw = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
    )
    first, second = parse(raw)
    assert (first.status, first.body, first.closes) == (200, b"ok", False)
    assert (second.status, second.body, second.closes) == (404, b"", True)
    with pytest.raises(Wrong, match="no answer of HTTP"):
        parse(b"nonsense " + raw)


@pytest.mark.slow
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    fuzzing = Fuzzing()
    context = open_stage(tmp_path)
    stage: Stage = fuzzing.do(context.__aenter__())
    try:
        fuzzing.round(stage, 1, 20)
    finally:
        fuzzing.do(context.__aexit__(None, None, None))
    assert stage.held >= 20
    assert stage.reached
    assert {200, 400, 404} <= set(stage.codes)
