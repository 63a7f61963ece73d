"""Progress over HTTP while weights come, and a port that cannot be had."""

import http.client
import json
import socket
import threading
import time
from typing import Any

import pytest

from dev.ports import free_port
from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket
from torpor.prewarm.telling import tell

MIB = 1024 * 1024


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str, bytes]:
    link = http.client.HTTPConnection(host, port, timeout=5)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()
    finally:
        link.close()


def test_progress_is_told_while_bytes_move(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=10 * PART)
    port, told = free_port(), list[tuple[int, str, bytes]]()

    def look(asked: Asked) -> None:
        if asked.headers.get("Range") == f"bytes={9 * PART}-{10 * PART - 1}":
            told.append(ask(port, "/progress"))
            told.append(ask(port, "/"))

    with FaultProxy(bucket.server.port, before=look) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, connections=1, progress_port=port)
    prewarm.assert_holds(result, files)
    assert [status for status, *_ in told] == [200, 404, 200, 404]
    first, second = (json.loads(body) for status, _, body in told if status == 200)
    assert told[0][1] == "application/json"
    assert first["hash"] == result["hash"]
    assert first["total"] == second["total"] == result["bytes"]
    assert 0 < first["bytes"] < second["bytes"] < result["bytes"]
    assert first["bytesPerSecond"] > 0
    assert first["secondsLeft"] > 0
    assert first["resumed"] == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/progress")


def test_bytes_are_told_before_a_piece_of_them_is_whole(prewarm: Prewarm, bucket: Bucket) -> None:
    """A slow link is not a link that stands still: with pieces of megabytes, minutes may pass between two of them."""
    bucket.put_checkpoint("llama/", shard_bytes=9 * MIB)
    port, told = free_port(), list[int]()

    def hold_back(asked: Asked, answer: Answer) -> None:
        if asked.is_range_of and len(answer.body) == 8 * MIB and not told:
            answer.stall_after = MIB
            threading.Thread(target=watch, args=(answer,)).start()

    def watch(answer: Answer) -> None:
        looks = (json.loads(ask(port, "/progress")[2])["bytes"] for _ in range(100))
        for count in looks:
            if count >= MIB:
                told.append(count)
                break
            time.sleep(0.1)
        answer.until.set()

    with FaultProxy(bucket.server.port, after=hold_back) as proxy:
        prewarm.run(
            "fetch", endpoint=proxy.endpoint, part_bytes=0, connections=1, progress_port=port
        )
    assert told
    assert MIB <= told[0] < 2 * MIB


def test_a_port_in_use_is_said_and_the_fetch_goes_on(
    prewarm: Prewarm, bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    files = bucket.put_checkpoint("llama/")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = prewarm.run("fetch", progress_port=port)
    prewarm.assert_holds(result, files)
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (notice,) = [line["notice"] for line in said if "notice" in line]
    assert notice == f"progress is not told over HTTP: port {port}: Address already in use"


def test_without_a_port_nobody_is_told() -> None:
    said: list[Any] = []
    before = threading.active_count()
    with tell(0, dict, said.append):
        assert threading.active_count() == before
    assert said == []


def test_a_reader_that_asks_for_nothing_keeps_nobody() -> None:
    port = free_port()
    with tell(port, lambda: {"bytes": 1}, lambda _: None):
        silent = socket.create_connection(("127.0.0.1", port))
        assert json.loads(ask(port, "/progress")[2]) == {"bytes": 1}
    silent.close()
