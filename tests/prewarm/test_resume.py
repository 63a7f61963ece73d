"""A download goes on where it was broken off: it asks for what lacked, and believes only what its journal proves."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket, safetensors

pytestmark = pytest.mark.slow

RECORD = struct.Struct("<IQIBQII")
SHARD = "model-00001-of-00002.safetensors"


@dataclass
class Broken:
    """A download that the store broke off for good, half-way."""

    prewarm: Prewarm
    bucket: Bucket
    proxy: FaultProxy
    files: dict[str, bytes]
    hash: str

    @property
    def partial(self) -> Path:
        return self.prewarm.cache / "partial" / self.hash

    @property
    def journal(self) -> Path:
        return self.partial / ".torpor" / "journal"

    @property
    def total(self) -> int:
        return sum(map(len, self.files.values()))

    def recorded(self, piece_bytes: int = PART) -> list[tuple[str, int, int]]:
        """Key, offset and length of each record of the journal, in order."""
        keys = sorted(self.files)
        records = [
            (keys[number], offset)
            for number, offset, *_ in RECORD.iter_unpack(self.journal.read_bytes())
        ]
        return [
            (key, offset, min(piece_bytes, len(self.files[key]) - offset))
            for key, offset in records
        ]

    def go_on(self, **changed: Any) -> dict[str, Any]:
        """Run again, with a store that is well."""
        self.proxy.after = None
        self.proxy.asked.clear()
        return self.prewarm.run("fetch", endpoint=self.proxy.endpoint, **changed)

    def asked_bytes(self) -> int:
        """Bytes of the objects that the last run's download asked for; twice asked is once counted."""
        ends: dict[str, int] = {}
        total = 0
        for key, first, end in sorted(ranges_of(self.proxy)):
            total += max(0, end - max(first, ends.get(key, 0)))
            ends[key] = max(end, ends.get(key, 0))
        return total

    def flip(self, key: str, offset: int) -> None:
        with (self.partial / key).open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))


def ranges_of(proxy: FaultProxy) -> list[tuple[str, int, int]]:
    """What the download itself asked for: object, first byte, end. The preflight's reads come before the proofs."""
    asked = list(proxy.asked)
    proofs = [index for index, request in enumerate(asked) if request.method == "HEAD"]
    found = []
    for request in asked[proofs[-1] + 1 :]:
        if request.is_range_of:
            first, last = request.headers["Range"].removeprefix("bytes=").split("-")
            found.append((request.is_range_of, int(first), int(last) + 1))
    return found


def fail_after(count: int) -> Callable[[Asked, Answer], None]:
    """A store that gives so many ranges after the proofs, and then none any more."""
    given = 0
    proved = False

    def fail(asked: Asked, answer: Answer) -> None:
        nonlocal given, proved
        proved = proved or asked.method == "HEAD"
        if proved and asked.is_range_of:
            given += 1
            if given > count:
                answer.replace(500)

    return fail


def break_off(
    prewarm: Prewarm, bucket: Bucket, proxy: FaultProxy, *, count: int = 14, **changed: Any
) -> Broken:
    files = bucket.put_checkpoint("llama/", shard_bytes=10 * PART + 777)
    proxy.after = fail_after(count)
    settings = {"part_attempts": 1, "connections": 4, **changed}
    result = prewarm.run("fetch", endpoint=proxy.endpoint, **settings)
    assert (result["reason"], result["retryable"]) == ("WeightsUnreachable", True)
    prewarm.assert_nothing_published()
    (partial,) = (prewarm.cache / "partial").iterdir()
    return Broken(prewarm, bucket, proxy, files, partial.name)


@pytest.fixture
def proxy(bucket: Bucket) -> Any:
    with FaultProxy(bucket.server.port) as proxy:
        yield proxy


@pytest.fixture
def broken(prewarm: Prewarm, bucket: Bucket, proxy: FaultProxy) -> Broken:
    return break_off(prewarm, bucket, proxy)


def test_the_next_run_asks_only_for_what_lacked(broken: Broken) -> None:
    there = broken.recorded()
    result = broken.go_on()
    assert result["reason"] == "Ready"
    assert result["resumedBytes"] == sum(length for *_, length in there) > 5 * PART
    assert broken.asked_bytes() == broken.total - result["resumedBytes"]
    assert result["arrivedBytes"] == broken.total
    asked = {(target.rpartition("/")[2], first) for target, first, _ in ranges_of(broken.proxy)}
    assert not asked & {(key, offset) for key, offset, _ in there}
    broken.prewarm.assert_holds(result, broken.files)
    assert not broken.partial.exists()
    assert not list(broken.prewarm.model(broken.hash).glob(".torpor/journal"))


def test_a_download_broken_off_many_times_arrives_in_the_end(broken: Broken) -> None:
    for _ in range(3):
        broken.proxy.after = fail_after(2)
        result = broken.prewarm.run(
            "fetch", endpoint=broken.proxy.endpoint, part_attempts=1, connections=1
        )
        assert result["reason"] == "WeightsUnreachable"
    there = sum(length for *_, length in broken.recorded())
    result = broken.go_on()
    assert result["resumedBytes"] == there
    broken.prewarm.assert_holds(result, broken.files)


def test_a_record_torn_by_a_kill_is_cut_off_and_its_piece_fetched(broken: Broken) -> None:
    there = broken.recorded()
    os.truncate(broken.journal, broken.journal.stat().st_size - 5)
    broken.proxy.after = fail_after(1)
    broken.prewarm.run("fetch", endpoint=broken.proxy.endpoint, part_attempts=1, connections=1)
    assert len(broken.recorded()) == len(there)  # the new record begins where the torn one did
    os.truncate(broken.journal, broken.journal.stat().st_size - RECORD.size - 5)
    result = broken.go_on()
    assert result["resumedBytes"] == sum(length for *_, length in there[:-2])
    broken.prewarm.assert_holds(result, broken.files)


@pytest.mark.parametrize("at", [0, 9, 20, 32], ids=["number", "offset", "checksum", "check"])
def test_a_record_in_which_a_byte_changed_is_not_believed(broken: Broken, at: int) -> None:
    there = broken.recorded()
    content = bytearray(broken.journal.read_bytes())
    content[6 * RECORD.size + at] ^= 1
    broken.journal.write_bytes(content)
    result = broken.go_on()
    assert result["resumedBytes"] == sum(length for *_, length in there[:6])
    assert broken.asked_bytes() == broken.total - result["resumedBytes"]
    broken.prewarm.assert_holds(result, broken.files)


def test_after_another_boot_the_pieces_are_read_again_and_damage_is_fetched(
    broken: Broken, capfd: pytest.CaptureFixture[str]
) -> None:
    there = broken.recorded()
    damaged = next(piece for piece in there if piece[0] == SHARD and piece[1])
    broken.flip(SHARD, damaged[1] + 100)
    listing = broken.partial / ".torpor" / "listing.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"boot": "another"}))
    capfd.readouterr()
    result = broken.go_on()
    assert "the node restarted" in capfd.readouterr().out
    assert result["resumedBytes"] == sum(length for *_, length in there) - damaged[2]
    assert (damaged[1], damaged[1] + damaged[2]) in [
        (first, end) for target, first, end in ranges_of(broken.proxy) if target.endswith(SHARD)
    ]
    assert broken.asked_bytes() == broken.total - result["resumedBytes"]
    broken.prewarm.assert_holds(result, broken.files)


def test_what_is_read_again_after_a_boot_is_not_read_again_at_the_next_run(
    broken: Broken, capfd: pytest.CaptureFixture[str]
) -> None:
    listing = broken.partial / ".torpor" / "listing.json"
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"boot": "another"}))
    before = len(broken.recorded())
    broken.proxy.after = fail_after(1)
    broken.prewarm.run("fetch", endpoint=broken.proxy.endpoint, part_attempts=1, connections=1)
    assert len(broken.recorded()) == before + 1
    capfd.readouterr()
    result = broken.go_on()
    assert "the node restarted" not in capfd.readouterr().out
    assert result["resumedBytes"] > 0
    broken.prewarm.assert_holds(result, broken.files)


def test_a_record_that_lies_costs_its_file_and_never_a_wrong_copy(broken: Broken) -> None:
    """The record's own check is sound, but the checksum in it is not the object's."""
    there = broken.recorded()
    number = next(at for at, piece in enumerate(there) if piece[0] == SHARD)
    content = bytearray(broken.journal.read_bytes())
    row = bytearray(content[number * RECORD.size : (number + 1) * RECORD.size])
    row[18] ^= 1
    row[-4:] = zlib.crc32(row[:-4]).to_bytes(4, "little")
    content[number * RECORD.size : (number + 1) * RECORD.size] = row
    broken.journal.write_bytes(content)
    result = broken.go_on()
    assert result["reason"] == "Ready"
    broken.prewarm.assert_holds(result, broken.files)


def test_an_object_replaced_between_the_runs_begins_anew(broken: Broken) -> None:
    fresh = safetensors(os.urandom(10 * PART + 777))
    broken.bucket.put(f"llama/{SHARD}", fresh)
    result = broken.go_on()
    files = broken.files | {SHARD: fresh}
    assert result["reason"] == "Ready"
    assert result["hash"] != broken.hash
    assert result["resumedBytes"] == 0
    assert broken.asked_bytes() == broken.total
    broken.prewarm.assert_holds(result, files)


def test_a_copy_that_was_renamed_without_its_marker_is_put_back_and_finished(
    broken: Broken,
) -> None:
    there = broken.recorded()
    model = broken.prewarm.model(broken.hash)
    model.parent.mkdir(exist_ok=True)
    broken.partial.rename(model)
    result = broken.go_on()
    assert (result["reason"], result["hash"]) == ("Ready", broken.hash)
    assert result["resumedBytes"] == sum(length for *_, length in there)
    broken.prewarm.assert_holds(result, broken.files)


def test_a_file_cut_short_meanwhile_begins_the_copy_anew(broken: Broken) -> None:
    os.truncate(broken.partial / SHARD, 5 * PART)
    result = broken.go_on()
    assert result["resumedBytes"] == 0
    broken.prewarm.assert_holds(result, broken.files)


def test_content_that_is_wrong_in_the_store_leaves_nothing_of_the_earlier_run(
    broken: Broken,
) -> None:
    path = broken.bucket.file_behind("llama/model-00002-of-00002.safetensors")
    with path.open("r+b") as file:
        for offset in range(200, 10 * PART, PART):
            file.seek(offset)
            file.write(b"rotten")
    assert broken.go_on()["reason"] == "WeightsCorrupt"
    broken.prewarm.assert_nothing_left()


@pytest.mark.parametrize(("first", "then"), [(4096, PART), (PART, 4096), (PART, 4 * PART)])
def test_a_run_with_ranges_of_another_size_goes_on_with_the_pieces_there_are(
    first: int, then: int, prewarm: Prewarm, bucket: Bucket, proxy: FaultProxy
) -> None:
    broken = break_off(prewarm, bucket, proxy, count=200 if first < PART else 14, part_bytes=first)
    there = sum(length for *_, length in broken.recorded(first))
    result = broken.go_on(part_bytes=then)
    assert result["reason"] == "Ready"
    assert result["resumedBytes"] == there > 0
    assert broken.asked_bytes() == broken.total - there
    broken.prewarm.assert_holds(result, broken.files)


@pytest.mark.parametrize("checksum", ["crc32c", None], ids=["crc32c", "md5-etag"])
def test_a_resumed_file_is_verified_by_what_the_store_offers(
    checksum: str | None, prewarm: Prewarm, bucket: Bucket, proxy: FaultProxy
) -> None:
    broken = break_off(prewarm, bucket, proxy)
    for key, body in broken.files.items():
        bucket.put(f"llama/{key}", body, checksum=checksum)
    result = broken.go_on()
    assert result["verified"] == (checksum or "md5-etag")
    broken.prewarm.assert_holds(result, broken.files)
