"""Turns on a real S3 server: torpor's own is measured and proven, and whoever fails or changes a byte is left out."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rivals.checkpoint import header, upload
from bench.rivals.clients import (
    Client,
    limit_of_both,
    limit_of_disk,
    limit_of_server,
    rclone,
    torpor,
)
from bench.rivals.limits import RANGE
from bench.rivals.moving import ranges
from bench.rivals.rounds import Sample, Track, clean_environment
from bench.rivals.servers import VERSITYGW, serve
from bench.rivals.target import Target, read_target
from dev.cluster import HarnessError
from dev.cluster.objectstore import draw_account
from tests.prewarm.s3server import REPO, find_versitygw

SHARD = 1 << 20


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Track]:
    work = tmp_path_factory.mktemp("weights")
    with serve(VERSITYGW, Path(find_versitygw()), work, draw_account("TEST")) as target:
        yield Track(REPO, work, target, upload(target, 2, SHARD), spare_bytes=SHARD)


def copier(track: Track, spoil: str = "pass") -> Client:
    """A client that copies the server's files, and does something to them afterwards."""
    code = f"import shutil, sys; shutil.copytree(*sys.argv[1:], dirs_exist_ok=True); {spoil}"
    words = [sys.executable, "-c", code, str(track.source)]
    return Client("copier", lambda _target, folder: ([*words, str(folder)], {}), "no")


def test_torpor_is_measured_and_says_how_it_verified(track: Track) -> None:
    (result,) = track.run_all([torpor()], rounds=1)
    (sample,) = result.samples
    assert sample.verified == "crc64nvme"
    assert 0 < sample.seconds <= sample.durable
    assert sample.cpu > 0
    assert sample.peak > 10e6


def test_the_limits_move_the_whole_checkpoint(track: Track) -> None:
    limits = [limit_of_server(), limit_of_disk()]
    assert [len(result.samples) for result in track.run_all(limits, rounds=1)] == [1, 1]
    track.turn(limits[1])
    written = sum(path.stat().st_size for path in track.folder.iterdir())
    assert track.total_bytes - 4 * 4096 <= written <= track.total_bytes


def test_what_server_and_disk_do_at_once_brings_every_byte(track: Track) -> None:
    (result,) = track.run_all([limit_of_both()], rounds=1)
    assert len(result.samples) == 1
    for name, size in track.sizes.items():
        brought = (track.folder / Path(name).name).read_bytes()
        assert brought[:size] == (track.source / name).read_bytes()


def test_in_a_chain_each_turn_is_compared_with_the_two_beside_it(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {
        "link": iter([4.0, 5.0]),
        "one": iter([1.0, 2.0, 4.0]),
        "other": iter([2.0, 2.0, 8.0]),
    }

    def take_turn(_track: Track, client: Client) -> Sample:
        return Sample(0, next(seconds[client.name]), 0, 0, "")

    monkeypatch.setattr(Track, "turn", take_turn)
    link, *between = (Client(name, copier(track).call, "") for name in ("link", "one", "other"))
    megabytes = track.total_bytes / 1e6
    mine, one, other = zip(*track.run_chain(link, between, 2), strict=True)
    assert mine == (megabytes / 4, megabytes / 5)
    assert one == pytest.approx((megabytes * 0.75, megabytes * 0.375))
    assert other == pytest.approx((megabytes * 0.5, megabytes * 0.3125))
    assert [list(left) for left in seconds.values()] == [[], [], []]


def test_a_rival_that_changes_one_byte_is_left_out(track: Track) -> None:
    shard = "model-00002-of-00002.safetensors"
    spoil = f"f = open(sys.argv[2] + '/{shard}', 'r+b'); f.seek(-1, 2); b = f.read(); f.seek(-1, 2)"
    spoil += "; f.write(bytes([b[0] ^ 1]))"
    honest, liar = track.run_all([copier(track), copier(track, spoil)], rounds=2)
    assert len(honest.samples) == 2
    assert honest.usable
    assert shard in liar.failure
    assert not liar.usable


def test_a_file_that_was_not_brought_is_missed(track: Track) -> None:
    track.turn(copier(track, "import os; os.remove(sys.argv[2] + '/config.json')"))
    with pytest.raises(HarnessError, match=r"config\.json was not brought"):
        track.compare()


def test_a_rival_that_ends_badly_is_quoted_and_does_not_stop_the_others(track: Track) -> None:
    good, bad = track.run_all([copier(track), copier(track, "sys.exit('no such key')")], rounds=1)
    assert good.usable
    assert "ended with 1" in bad.failure
    assert "no such key" in bad.failure


def test_torpor_may_not_fail(track: Track) -> None:
    nowhere = Track(REPO, track.work, Target("s", "http://127.0.0.1:9", track.target.account), {})
    with pytest.raises(HarnessError, match="torpor ended with 1"):
        nowhere.turn(torpor())


def test_keys_are_never_on_a_command_line(track: Track, tmp_path: Path) -> None:
    secret = track.target.account.secret_key
    for client in (torpor(), rclone(tmp_path), limit_of_server()):
        words, _ = client.call(track.target, tmp_path)
        assert secret not in " ".join(words)
    assert read_target(track.target.as_json()) == track.target


def test_what_configures_clients_on_this_machine_is_kept_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_PROFILE", "https_proxy", "TORPOR_PREWARM_CONNECTIONS", "RCLONE_TRANSFERS"):
        monkeypatch.setenv(name, "x")
    assert not {"AWS_PROFILE", "https_proxy", "RCLONE_TRANSFERS"} & clean_environment().keys()
    assert "TORPOR_PREWARM_CONNECTIONS" not in clean_environment()
    assert "PATH" in clean_environment()


def test_a_header_describes_its_file_to_the_last_byte() -> None:
    head = header("t0", 5000)
    assert int.from_bytes(head[:8], "little") + 8 == len(head)
    assert b'"data_offsets": [0, ' + str(5000 - len(head)).encode() in head


def test_ranges_cover_every_byte_once() -> None:
    cut = list(ranges([("a", 8 << 20), ("b", (8 << 20) + 1), ("empty", 0)], RANGE))
    assert cut == [
        ("a", 0, (8 << 20) - 1),
        ("b", 0, (8 << 20) - 1),
        ("b", 8 << 20, 8 << 20),
    ]
