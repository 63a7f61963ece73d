"""The figures of the weights benchmark: medians, the strongest rival of each kind, and the bars."""

import dataclasses

import pytest

from bench.frame.figures import Figure
from bench.rivals.clients import BOTH, DISK, SERVER, TORPOR, Client
from bench.rivals.outcome import Row, facts_of, figures_of, row_of, table_of
from bench.rivals.rounds import Result, Sample, read_sample


def row(client: str, durable: float, cpu: float = 1.0, verified: str = "", **more: object) -> Row:
    return Row("versitygw", client, durable, durable, cpu, 100.0, verified, **more)  # type: ignore[arg-type]


RIVALS = [row("quick", 1000, 0.9), row("lean", 500, 0.5), row("broken", 0, 0, failure="gone")]
FINE = row(TORPOR, 1100, 0.4, "crc64nvme")
LIMITS = [row(SERVER, 1300), row(DISK, 1200), row(BOTH, 1195)]


def figures(torpor: Row, *others: Row, server: str = "versitygw") -> dict[str, Figure]:
    turns = [(torpor.durable, 1200.0, 1195.0)] if server == "versitygw" else []
    return {f.name.strip(): f for f in figures_of(server, [torpor, *others, *LIMITS], turns)}


def client(name: str = "a client") -> Client:
    return Client(name, lambda _target, _folder: ([], {}), "size")


def test_a_row_is_made_of_medians_and_of_the_largest_memory() -> None:
    samples = [Sample(s, d, c, p, "") for s, d, c, p in [(1, 4, 3, 5), (9, 9, 9, 9), (2, 2, 1, 7)]]
    made = row_of("versitygw", Result(client(), samples), 2_000_000)
    assert (made.wall, made.durable, made.cpu, made.peak) == (1.0, 0.5, 1500.0, 9 / 1e6)
    assert made.verified == "size"


def test_different_proofs_of_different_rounds_are_all_said() -> None:
    samples = [Sample(1, 1, 1, 1, said) for said in ("crc64nvme", "size-only")]
    assert row_of("s", Result(client(TORPOR), samples), 1).verified == "crc64nvme, size-only"


def test_a_client_that_failed_half_way_has_no_numbers() -> None:
    result = Result(client(), [Sample(1, 1, 1, 1, "")], failure="ended with 1")
    made = row_of("s", result, 1)
    assert (made.durable, made.failure) == (0, "ended with 1")


def test_torpor_is_compared_with_the_fastest_and_with_the_leanest_rival() -> None:
    made = figures(row(TORPOR, 1100, 0.4, "crc64nvme"), *RIVALS)
    assert made["over the fastest rival (quick)"].value == 1.1
    assert made["CPU over the leanest rival (lean)"].value == 0.8
    assert made["of server and disk at once"].value == pytest.approx(1100 / 1195)
    assert made["of the slower of them alone"].value == pytest.approx(1100 / 1200)
    assert all(figure.holds for figure in made.values())


@pytest.mark.parametrize(
    ("torpor", "missed"),
    [
        (row(TORPOR, 990, 0.4, "crc64nvme"), "over the fastest rival (quick)"),
        (row(TORPOR, 1100, 0.55, "crc64nvme"), "CPU over the leanest rival (lean)"),
        (row(TORPOR, 1070, 0.4, "crc64nvme"), "of server and disk at once"),
        (row(TORPOR, 1070, 0.4, "crc64nvme"), "of the slower of them alone"),
        (row(TORPOR, 1100, 0.61, "crc64nvme"), "CPU"),
        (dataclasses.replace(FINE, peak=257), "memory, peak"),
        (row(TORPOR, 1100, 0.4, "size-only"), "verified: crc64nvme, every round"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_bar_can_be_missed(torpor: Row, missed: str) -> None:
    assert not figures(torpor, *RIVALS)[missed].holds


def test_the_share_of_the_limits_is_the_median_of_the_turns() -> None:
    """Each turn is compared with what ran beside it; alone, a server that gives less than the disk is the limit."""
    turns = [(900.0, 1200.0, 900.0), (450.0, 500.0, 600.0), (980.0, 1500.0, 1225.0)]
    rows = [row(TORPOR, 1, 0.4, "crc64nvme"), row(SERVER, 1000), row(DISK, 1), row(BOTH, 1)]
    made = {f.name.strip(): f for f in figures_of("versitygw", rows, turns)}
    assert made["of server and disk at once"].value == pytest.approx(0.8)
    assert not made["of server and disk at once"].holds
    assert made["of the slower of them alone"].value == pytest.approx(0.9)
    assert made["of the slower of them alone"].holds


def test_where_only_md5s_are_known_torpor_is_compared_with_who_verifies_too() -> None:
    torpor = row(TORPOR, 600, 2.0, "md5-etag")
    rivals = [row("fast", 900, 0.5, "no"), row("sure", 500, 2.5, "MD5 where the ETag is one")]
    made = figures(torpor, *rivals, server="rclone")
    assert not [name for name in made if name.startswith("verified")]
    assert made["over the fastest rival that verifies (sure)"].value == 1.2
    assert made["CPU over the leanest rival that verifies (sure)"].value == 0.8
    assert made["CPU"].bar is None
    assert made["of server and disk at once"].bar is None
    assert made["of the slower of them alone"].bar is None
    assert made["memory, peak"].holds


def test_a_slower_verifier_is_a_bar_that_is_missed() -> None:
    made = figures(row(TORPOR, 400, 2.6, "md5-etag"), row("sure", 500, 2.5, "MD5"), server="rclone")
    assert not made["over the fastest rival that verifies (sure)"].holds
    assert not made["CPU over the leanest rival that verifies (sure)"].holds


def test_without_rivals_nothing_is_said_about_them() -> None:
    assert not [name for name in figures(row(TORPOR, 1100, 0.4, "crc64nvme")) if "rival" in name]


def test_the_table_names_what_is_missing() -> None:
    lines = table_of([row(TORPOR, 1100, 0.4, "crc64nvme"), *RIVALS, *LIMITS]).splitlines()
    assert lines[0].startswith("versitygw")
    assert lines[2].split() == [TORPOR, "1100", "1100", "0.40", "100", "crc64nvme"]
    assert next(line for line in lines if line.startswith("broken")).split() == ["broken", "gone"]
    assert facts_of(RIVALS)[2]["failure"] == "gone"


REPORT = {"status": 0, "seconds": 2.0, "durable": 3.0, "cpu": 1.0, "peak": 50, "largest": 70}


def test_torpor_says_itself_how_it_verified_and_gets_the_larger_account_of_memory() -> None:
    told = ['{"progress": {}}', '{"result": {"reason": "Ready", "verified": "crc64nvme"}}']
    assert read_sample(TORPOR, REPORT, told) == Sample(2.0, 3.0, 1.0, 70, "crc64nvme")


def test_a_limit_times_its_own_work() -> None:
    assert read_sample(DISK, REPORT, ['{"seconds": 1.5}']) == Sample(1.5, 1.5, 1.0, 50, "")


def test_a_rival_is_taken_as_the_meter_saw_it() -> None:
    assert read_sample("rclone", REPORT, ["chatter"]) == Sample(2.0, 3.0, 1.0, 50, "")
