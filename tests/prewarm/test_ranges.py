"""Ranges as large as in practice: whole pieces are waited for, and their last bytes never in vain."""

import threading

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket

MIB = 1024 * 1024
SHARD = 9 * MIB
PAUSE_SECONDS = 0.2


@pytest.mark.parametrize("lacking", [1, MIB - 1, MIB, 4 * MIB - 1, 4 * MIB, 5 * MIB - 1, 5 * MIB])
def test_bytes_that_come_late_are_waited_for_and_no_longer(
    prewarm: Prewarm, bucket: Bucket, lacking: int
) -> None:
    """A thread sleeps until there is a good deal to read: it must notice when no more than a little is to come."""
    files = bucket.put_checkpoint("llama/", shard_bytes=SHARD)

    def hold_back(asked: Asked, answer: Answer) -> None:
        if asked.is_range_of and len(answer.body) == 8 * MIB:
            answer.stall_after = len(answer.body) - lacking
            threading.Timer(PAUSE_SECONDS, answer.until.set).start()

    with FaultProxy(bucket.server.port, after=hold_back) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, part_bytes=0)
    prewarm.assert_holds(result, files)
    large = [asked for asked in proxy.ranges() if _length(asked) == 8 * MIB]
    assert len(large) == sum(len(content) >= SHARD for content in files.values())


def test_a_large_range_that_is_cut_goes_on_with_its_next_piece(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=SHARD)
    cut: list[Asked] = []

    def cut_once(asked: Asked, answer: Answer) -> None:
        if not cut and asked.is_range_of and len(answer.body) == 8 * MIB:
            cut.append(asked)
            answer.cut_after = 6 * MIB

    with FaultProxy(bucket.server.port, after=cut_once) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, part_bytes=0)
    prewarm.assert_holds(result, files)
    again = [asked for asked in proxy.ranges() if asked.target == cut[0].target]
    assert all(_length(asked) < 8 * MIB for asked in again if asked is not cut[0])


def _length(asked: Asked) -> int:
    first, last = asked.headers["Range"].removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1
