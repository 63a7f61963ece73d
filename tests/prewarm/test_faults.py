"""A store, or what lies between, that misbehaves: the copy is bit-exact in the end, or there is none."""

from collections.abc import Callable

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket, safetensors

SHARD = "model-00001-of-00002.safetensors"
Break = Callable[[Asked, Answer], None]


def _cut(_: Asked, answer: Answer) -> None:
    answer.cut_after = len(answer.body) // 2


def _cut_head(_: Asked, answer: Answer) -> None:
    answer.cut_after = 0


def _slow_down(_: Asked, answer: Answer) -> None:
    body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    answer.replace(503, body)


def _internal_error(_: Asked, answer: Answer) -> None:
    answer.replace(500)


def _bad_gateway(_: Asked, answer: Answer) -> None:
    answer.replace(502, b"<html>bad gateway</html>")


def _neighbour_range(_: Asked, answer: Answer) -> None:
    """The right number of bytes, but others, and honestly labelled."""
    first, last = (
        int(number) for number in answer.headers["Content-Range"][6:].split("/")[0].split("-")
    )
    answer.headers["Content-Range"] = answer.headers["Content-Range"].replace(
        f"{first}-{last}", f"{first + 1}-{last + 1}"
    )


def _whole_object_without_range(asked: Asked, answer: Answer) -> None:
    """200 with as many bytes as were asked for, but nothing that says which."""
    answer.status = 200
    answer.headers.pop("Content-Range")


def _shorter_length(_: Asked, answer: Answer) -> None:
    answer.body = answer.body[:-7]
    answer.headers["Content-Length"] = str(len(answer.body))


def _flip_bit(_: Asked, answer: Answer) -> None:
    answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]


TRANSIENT: dict[str, Break] = {
    "the body is cut": _cut,
    "the connection closes after the head": _cut_head,
    "503 SlowDown": _slow_down,
    "500 without a body": _internal_error,
    "502 with a web page": _bad_gateway,
    "the range is another one": _neighbour_range,
    "200 without a Content-Range": _whole_object_without_range,
    "the length is not the range's": _shorter_length,
    "a bit is flipped on the way": _flip_bit,
}


@pytest.mark.parametrize("case", TRANSIENT, ids=str)
def test_what_goes_wrong_once_is_asked_for_again(
    case: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    broken = []

    def break_some(asked: Asked, answer: Answer) -> None:
        first_part = f"bytes={PART}-{2 * PART - 1}"
        if asked.headers.get("Range") == first_part and asked.target not in broken:
            broken.append(asked.target)
            TRANSIENT[case](asked, answer)

    with FaultProxy(bucket.server.port, after=break_some) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert len(broken) == 2
    assert (result["reason"], result["verified"]) == ("Ready", "crc64nvme")
    prewarm.assert_holds(result, files)


PERMANENT: dict[str, tuple[Break, str, str]] = {
    "the body is cut": (_cut, "WeightsUnreachable", "closed the connection after"),
    "503 SlowDown": (_slow_down, "WeightsUnreachable", "is busy (SlowDown)"),
    "the range is another one": (_neighbour_range, "WeightsCorrupt", "answered 206 with bytes"),
    "200 without a Content-Range": (_whole_object_without_range, "WeightsCorrupt", "no Content-Range"),
    "the length is not the range's": (_shorter_length, "WeightsCorrupt", f"and {PART - 7} bytes to bytes"),
    "a bit is flipped on the way": (_flip_bit, "WeightsCorrupt", "arrived 2 times with a wrong checksum"),
}  # fmt: skip


@pytest.mark.parametrize("case", PERMANENT, ids=str)
def test_what_goes_wrong_always_is_named_and_nothing_is_published(
    case: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    fault, reason, words = PERMANENT[case]

    def break_all(asked: Asked, answer: Answer) -> None:
        if asked.headers.get("Range") == f"bytes={PART}-{2 * PART - 1}":
            fault(asked, answer)

    with FaultProxy(bucket.server.port, after=break_all) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert (result["reason"], result["retryable"]) == (reason, True)
    assert words in result["message"]
    prewarm.assert_nothing_published()
    if reason != "WeightsUnreachable":  # else what came is gone on with
        prewarm.assert_nothing_left()


def test_a_store_that_answers_ranges_with_200_and_the_exact_range_is_accepted(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)

    def answer_200(asked: Asked, answer: Answer) -> None:
        if asked.is_range_of and answer.status == 206:
            answer.status = 200

    with FaultProxy(bucket.server.port, after=answer_200) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    prewarm.assert_holds(result, files)


def test_a_store_that_sends_chunks_without_a_length_is_read_to_the_byte(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)

    def chunk(asked: Asked, answer: Answer) -> None:
        if asked.is_range_of and answer.status == 206:
            answer.headers.pop("Content-Length")
            answer.headers["Transfer-Encoding"] = "chunked"
            half = len(answer.body) // 2
            pieces = (answer.body[:half], answer.body[half:])
            framed = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces if piece]
            answer.body = b"".join(framed) + b"0\r\n\r\n"

    with FaultProxy(bucket.server.port, after=chunk) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    prewarm.assert_holds(result, files)


@pytest.mark.parametrize("honours_if_match", [True, False], ids=["412", "new ETag"])
def test_an_object_replaced_half_way_is_listed_and_fetched_anew(
    honours_if_match: bool, prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    before = prewarm.run("preflight")["hash"]
    fresh = safetensors(b"\7" * 8 * PART)

    def replace_then_pass(asked: Asked) -> None:
        fourth = asked.headers.get("Range", "").startswith(f"bytes={3 * PART}-")
        if fourth and asked.target.endswith(SHARD) and not replaced:
            replaced.append(SHARD)
            bucket.put(f"llama/{SHARD}", fresh)
        if not honours_if_match:
            asked.sign_anew(without="If-Match")

    def name_no_etag(_: Asked, answer: Answer) -> None:
        if honours_if_match:
            answer.headers.pop("Etag", answer.headers.pop("ETag", None))

    replaced: list[str] = []
    with FaultProxy(bucket.server.port, replace_then_pass, name_no_etag) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert replaced == [SHARD]
    assert result["reason"] == "Ready"
    assert result["hash"] != before
    prewarm.assert_holds(result, files | {SHARD: fresh})
    assert not (prewarm.cache / "partial" / before).exists()


def test_ensure_says_that_the_object_was_replaced(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    replaced: list[str] = []

    def replace(asked: Asked) -> None:
        if asked.headers.get("Range", "").startswith(f"bytes={3 * PART}-") and not replaced:
            replaced.append(asked.target)
            bucket.put(f"llama/{SHARD}", safetensors(b"\7" * 8 * PART))

    with FaultProxy(bucket.server.port, before=replace) as proxy:
        name = prewarm.run("preflight", endpoint=proxy.endpoint)["hash"]
        result = prewarm.run("ensure", "--hash", name, endpoint=proxy.endpoint)
    assert replaced
    assert result["reason"] == "WeightsChanged"
    assert f"{name} was asked for" in result["message"]
    prewarm.assert_nothing_left()


def test_an_object_that_changes_all_the_time_is_given_up(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    count = 0

    def replace(asked: Asked) -> None:
        nonlocal count
        if asked.headers.get("Range", "").startswith(f"bytes={3 * PART}-"):
            count += 1
            bucket.put(f"llama/{SHARD}", safetensors(bytes([count]) * 8 * PART))

    with FaultProxy(bucket.server.port, before=replace) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, connections=1)
    assert (result["reason"], result["retryable"]) == ("WeightsChanged", True)
    assert f"{SHARD} was changed in the bucket while it was fetched" in result["message"]
    assert count == 3
    prewarm.assert_nothing_left()


def test_an_object_deleted_half_way_is_named_as_missing(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=8 * PART)

    def delete(asked: Asked) -> None:
        if asked.headers.get("Range", "").startswith(f"bytes={3 * PART}-"):
            bucket.server.client().delete_object(Bucket=bucket.name, Key=f"llama/{SHARD}")

    with FaultProxy(bucket.server.port, before=delete) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsCorrupt"
    assert f"of which 1 are missing, first '{SHARD}'" in result["message"]
    prewarm.assert_nothing_left()


def test_a_store_that_restarts_costs_no_more_than_a_wait(prewarm: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=8 * PART)
    refused = 0

    def be_down_for_a_while(asked: Asked, answer: Answer) -> None:
        nonlocal refused
        if asked.is_range_of and 15 <= asked.number < 40:
            refused += 1
            answer.cut_after = 0

    with FaultProxy(bucket.server.port, after=be_down_for_a_while) as proxy:
        result = prewarm.run("fetch", endpoint=proxy.endpoint, part_attempts=10)
    assert refused > 10
    prewarm.assert_holds(result, files)
