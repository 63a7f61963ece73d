"""The ear hears every comment of a stream, and nothing else."""

import itertools

import pytest

from dev.demo.asking import CommentEar

STREAM = (
    b": torpor warming up marmot, 5 s: downloading\n\n"
    b'data: {"choices":[]}\n\n'
    b"data: : no comment\n\n"
    b": again\r\n\r\n"
)
HEARD = [": torpor warming up marmot, 5 s: downloading", ": again"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, len(STREAM)])
def test_comments_are_heard_once_each_whatever_pieces_the_stream_comes_in(size: int) -> None:
    heard: list[str] = []
    ear = CommentEar(heard.append)
    for start in itertools.count(0, size):
        if start >= len(STREAM):
            break
        ear.feed(STREAM[start : start + size])
    assert heard == HEARD


def test_a_comment_is_not_told_before_its_line_is_complete() -> None:
    heard: list[str] = []
    ear = CommentEar(heard.append)
    ear.feed(b": torpor warming")
    assert heard == []
    ear.feed(b" up\n")
    assert heard == [": torpor warming up"]
