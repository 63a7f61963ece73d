"""The smaller parts by themselves: settings, progress, checksums, the crew, locks."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awscrt import checksums
from hypothesis import given
from hypothesis import strategies as st

from torpor.prewarm import proof
from torpor.prewarm.contents import Proof
from torpor.prewarm.crew import Crew
from torpor.prewarm.locks import hold_lock, try_lock
from torpor.prewarm.progress import Progress
from torpor.settings.prewarm import InvalidSetting, PrewarmSettings, read_prewarm_settings


def test_no_variable_gives_the_documented_defaults() -> None:
    assert read_prewarm_settings({}) == PrewarmSettings()


def test_every_variable_is_read() -> None:
    environ = {
        "TORPOR_SOURCE": "s3://b/p/",
        "TORPOR_S3_ENDPOINT": "https://x/",
        "TORPOR_S3_REGION": "eu",
        "TORPOR_S3_PATH_STYLE": "true",
        "TORPOR_S3_CA_FILE": "/ca",
        "AWS_ACCESS_KEY_ID": "key\n",
        "AWS_SECRET_ACCESS_KEY": "secret\n",
        "AWS_SESSION_TOKEN": "token",
        "TORPOR_CACHE_DIR": "/cache",
        "TORPOR_CACHE_BUDGET_BYTES": "7",
        "TORPOR_TERMINATION_LOG": "/log",
        "TORPOR_PREWARM_CONNECTIONS": "3",
        "TORPOR_PREWARM_PART_ATTEMPTS": "4",
        "TORPOR_PREWARM_PART_BYTES": "8192",
        "TORPOR_PREWARM_PROCESSES": "2",
        "TORPOR_S3_ANONYMOUS": "true",
        "TORPOR_EXTRAS": "[]",
        "TORPOR_HUB_ENDPOINT": "https://hub/",
        "TORPOR_HUB_MIRROR": "s3://m/",
        "HF_TOKEN": "hf\n",
        "TORPOR_CACHE_KEEP": "a,b",
        "TORPOR_CACHE_KEEP_AS_OF": "5",
        "TORPOR_LAST_USE": "6",
        "TORPOR_CACHE_PIN": "true",
        "TORPOR_PREWARM_PROGRESS_PORT": "8099",
        "TORPOR_COMPILE_KEY": "k",
        "TORPOR_COMPILE_DIR": "/compile",
        "TORPOR_COMPILE_STORE": "s3",
        "TORPOR_WARM_PAGES": "true",
        "TORPOR_ENGINE_PORT": "8001",
        "TORPOR_CLAIM_DIR": "/claim",
    }
    assert tuple(read_prewarm_settings(environ)) == (
        *("s3://b/p/", "https://x", "eu", True, "/ca", "key", "secret", "token"),
        *("/cache", 7, "/log", 3, 4, 8192, 2, True, "[]"),
        *("https://hub", "s3://m/", "hf", "a,b", 5, 6, True, 8099),
        *("k", "/compile", "s3", True, 8001, "/claim"),
    )


def test_the_region_may_be_given_as_aws_does() -> None:
    assert read_prewarm_settings({"AWS_REGION": "eu-west-1"}).region == "eu-west-1"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("TORPOR_S3_PATH_STYLE", "yes", "must be true or false"),
        ("TORPOR_PREWARM_CONNECTIONS", "-1", "from 0 to 64"),
        ("TORPOR_PREWARM_CONNECTIONS", "65", "from 0 to 64"),
        ("TORPOR_PREWARM_PART_BYTES", "5000", "multiple of 4096"),
        ("TORPOR_CACHE_BUDGET_BYTES", "10Gi", "must be a whole number"),
    ],
)
def test_a_bad_variable_is_named_with_what_is_allowed(name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name} is .*{words}"):
        read_prewarm_settings({name: text})


def test_progress_is_said_once_a_second_with_the_rate_of_the_last_ten() -> None:
    said: list[dict[str, Any]] = []
    now = 0.0
    progress = Progress("h", 1000, said.append, lambda: now)
    for second in range(1, 31):
        now = float(second)
        progress.add(10 if second <= 10 else 30)
        progress.tick()
        progress.tick()
    assert len(said) == 30
    assert said[0] == {
        "progress": {
            "hash": "h",
            "bytes": 10,
            "total": 1000,
            "resumed": 0,
            "bytesPerSecond": 10,
            "secondsLeft": 99.0,
        }
    }
    assert said[-1]["progress"]["bytes"] == 700
    assert said[-1]["progress"]["bytesPerSecond"] == 30
    assert said[-1]["progress"]["secondsLeft"] == 10.0


def test_progress_does_not_go_back_for_bytes_that_came_twice_but_for_those_that_were_wrong() -> (
    None
):
    progress = Progress("h", 1000, lambda _: None, lambda: 0.0)

    def said() -> int:
        return int(progress.describe()["bytes"])

    progress.add(400)
    progress.take_back(100)
    assert (said(), progress.moved) == (400, 300)
    progress.add(50)
    assert said() == 400
    progress.add(100)
    assert said() == 450
    progress.void(300)
    assert said() == 150
    progress.add(10)
    assert said() == 160


def test_progress_without_a_byte_names_no_time() -> None:
    said: list[dict[str, Any]] = []
    now = 0.0
    progress = Progress("h", 1000, said.append, lambda: now)
    now = 2.0
    progress.tick()
    assert said[0]["progress"]["secondsLeft"] is None


@given(
    st.lists(st.binary(max_size=50), max_size=6), st.sampled_from(["crc64nvme", "crc32c", "crc32"])
)
def test_the_checksums_of_the_parts_combine_to_that_of_the_whole(
    pieces: list[bytes], algorithm: str
) -> None:
    parts = [
        (proof.sum_piece(algorithm, memoryview(piece)).value(algorithm), len(piece))
        for piece in pieces
    ]
    whole = int(getattr(checksums, algorithm)(b"".join(pieces)))
    assert proof.combine(algorithm, parts) == whole


@given(
    st.lists(st.lists(st.binary(max_size=50), max_size=4), max_size=4),
    st.sampled_from(["crc64nvme", "crc32c", "crc32", "md5-etag", "size-only"]),
)
def test_a_piece_summed_bit_by_bit_has_the_sums_of_the_piece_and_the_next_begins_anew(
    pieces: list[list[bytes]], method: str
) -> None:
    summing = proof.Summing(method)
    for bits in pieces:
        for bit in bits:
            summing.add(memoryview(bit))
        sums, whole = summing.take(), b"".join(bits)
        assert sums == proof.sum_piece(method, memoryview(whole))
        assert sums.serve(method)
        assert sums.crc64nvme == checksums.crc64nvme(whole)
        if method in proof.ALGORITHMS:
            assert sums.value(method) == getattr(checksums, method)(whole)


@pytest.mark.parametrize(
    ("offered", "etag_is_md5", "method"),
    [
        ({"crc32": "x", "crc64nvme": "x", "crc32c": "x"}, True, "crc64nvme"),
        ({"crc32": "x", "crc32c": "x"}, True, "crc32c"),
        ({"crc32": "x"}, True, "crc32"),
        ({}, True, "md5-etag"),
        ({}, False, "size-only"),
    ],
)
def test_the_best_proof_the_store_offers_is_used(
    offered: dict[str, str], etag_is_md5: bool, method: str
) -> None:
    assert proof.choose_method(Proof(offered, etag_is_md5)) == method


def test_a_copy_is_as_well_verified_as_its_weakest_file() -> None:
    assert proof.weakest(["crc64nvme", "size-only", "md5-etag"]) == "size-only"
    assert proof.weakest([]) == "crc64nvme"


class Hand:
    def interrupt(self) -> None:
        self.interrupted = True


@contextlib.contextmanager
def take_hand() -> Iterator[Hand]:
    yield Hand()


def test_a_crew_does_every_task_once_those_added_on_the_way_included() -> None:
    done: list[int] = []

    def act(_: Hand, task: int) -> None:
        done.append(task)
        if task < 20:
            crew.add([task + 20])

    crew: Crew[Hand, int] = Crew(4, take_hand, act, range(20))
    crew.run()
    assert sorted(done) == list(range(40))


def test_a_crew_reports_the_first_failure_and_tears_the_others_out() -> None:
    started = threading.Barrier(2)
    torn = threading.Event()

    class Blocked(Hand):
        def interrupt(self) -> None:
            torn.set()

    @contextlib.contextmanager
    def take_blocked() -> Iterator[Blocked]:
        yield Blocked()

    def act(_: Hand, task: str) -> None:
        started.wait(10)
        if task == "fails":
            raise ValueError(task)
        assert torn.wait(10)

    with pytest.raises(ValueError, match="fails"):
        Crew(2, take_blocked, act, ["blocks", "fails"]).run()
    assert torn.is_set()


def test_a_crew_without_tasks_has_nothing_to_do() -> None:
    Crew(4, take_hand, lambda _hand, _task: None, list[int]()).run()


def test_a_lock_is_held_by_one_and_the_other_says_that_it_waits(tmp_path: Path) -> None:
    path = str(tmp_path / "locks" / "x")
    waited = threading.Event()
    order: list[str] = []

    def second() -> None:
        with hold_lock(path, waited.set):
            order.append("second")

    with hold_lock(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        assert try_lock(path) is None
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
