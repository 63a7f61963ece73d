"""What survives what: a record follows its piece at once, and only a copy that is on the disk gets its name."""

import os
from typing import Any

import pytest

from tests.prewarm.conftest import PART, Prewarm
from tests.prewarm.faultproxy import Answer, Asked, FaultProxy
from tests.prewarm.s3server import Bucket
from tests.prewarm.test_resume import RECORD

SHARD_BYTES = 4 * PART


def test_files_are_forced_to_disk_after_the_last_byte_and_before_the_copy_has_its_name(
    prewarm: Prewarm, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush holds up every write of the disk, so there is none on the way; half a copy never has a name."""
    files = bucket.put_checkpoint("llama/", shard_bytes=SHARD_BYTES)
    events: list[str] = []

    def noted(name: str) -> None:
        real = getattr(os, name)

        def call(target: Any, *rest: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else rest[0]
            events.append(f"{name} {os.path.basename(path)}")
            return real(target, *rest)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "fdatasync", "rename"):
        noted(name)
    with FaultProxy(bucket.server.port) as proxy:
        proxy.after = lambda asked, _: events.append("range") if asked.is_range_of else None
        result = prewarm.run("fetch", endpoint=proxy.endpoint)
    names = {os.path.basename(key) for key in files}
    last = len(events) - events[::-1].index("range")
    named = events.index(f"rename {result['hash']}")
    forced = [event.removeprefix("fsync ") for event in events[last:named] if "fsync" in event]
    assert names <= set(forced)
    early = {event.partition(" ")[2] for event in events[:last] if "sync" in event}
    assert not early & {*names, "journal"}
    prewarm.assert_holds(result, files)


def test_a_piece_is_in_the_journal_before_the_next_range_is_asked_for(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/", shard_bytes=SHARD_BYTES)
    pieces = sum(-(-len(body) // PART) for body in files.values())
    recorded: list[int] = []
    proved = False

    def look(asked: Asked, _: Answer) -> None:
        nonlocal proved
        proved = proved or asked.method == "HEAD"
        if proved and asked.is_range_of:
            (journal,) = (prewarm.cache / "partial").glob("*/.torpor/journal")
            recorded.append(journal.stat().st_size // RECORD.size)

    with FaultProxy(bucket.server.port) as proxy:
        proxy.after = look
        result = prewarm.run("fetch", endpoint=proxy.endpoint, connections=1)
    assert recorded == list(range(pieces))
    prewarm.assert_holds(result, files)
