"""What the status says of the weights on each node."""

from __future__ import annotations

from collections.abc import Mapping

from torpor.domain.arriving import Arrival, arrivals, say_progress
from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, Progress, Weights, WeightsPlan
from torpor.domain.pulling import NO_PULLS, Pulls

NOW = 1_800_000_000_000
WEIGHTS = Weights("digest", "a" * 32, bytes=1000, files=3, verified="crc64nvme")


def job(state: JobState, node: str = "n1", **words: object) -> JobSeen:
    base = {"kind": JobKind.FETCH, "spec": "digest", "state": state, "node": node}
    return JobSeen(**(base | words))  # type: ignore[arg-type]


def on_n1(
    *tries: JobSeen,
    ready: tuple[str, ...] = (),
    loading: Mapping[str, Progress] | None = None,
    before: Mapping[str, Arrival] | None = None,
    pulls: Pulls = NO_PULLS,
) -> Arrival:
    plan = WeightsPlan(WEIGHTS, nodes_wanted=("n1",), nodes_ready=ready, tries=tries)
    (found,) = arrivals(plan, pulls, "vllm:1", loading or {}, before or {}, NOW)
    return found


def test_a_node_whose_job_has_not_started_is_queued() -> None:
    assert on_n1().state == "Queued"
    assert on_n1(job(JobState.RUNNING, stalls_ms=NOW + 1)).state == "Queued"
    assert on_n1(job(JobState.RUNNING)).state == "Fetching"


def test_a_download_is_told_with_percent_rate_and_time_left() -> None:
    half = Progress(bytes=500, total=1000, bytes_per_second=100, seconds_left=4.6)
    found = on_n1(job(JobState.RUNNING, progress=half))
    assert (found.percent, found.bytes, found.bytes_per_second) == (50, 500, 100)
    assert found.seconds_left == 5


def test_whichever_is_further_tells_the_job_or_the_engines_own_pod() -> None:
    waits, loads = Progress(0, 1000), Progress(300, 1000)
    found = on_n1(job(JobState.RUNNING, progress=waits), loading={"n1": loads})
    assert found.percent == 30
    assert on_n1(loading={"n1": loads}).percent == 30


def test_a_node_that_has_them_keeps_since_when_and_how_they_were_verified() -> None:
    done = job(JobState.SUCCEEDED, finished_ms=NOW - 5000, verified="crc32c")
    first = on_n1(done, ready=("n1",))
    assert (first.state, first.since_ms, first.verified) == ("Ready", NOW - 5000, "crc32c")
    later = on_n1(ready=("n1",), before={"n1": first})
    assert (later.since_ms, later.percent, later.bytes) == (NOW - 5000, 100, 1000)


def test_a_failure_is_told_with_its_sentence() -> None:
    found = on_n1(job(JobState.FAILED, message="the disk is full", finished_ms=NOW - 1))
    assert (found.state, found.message, found.since_ms) == ("Failed", "the disk is full", NOW - 1)


def test_the_image_is_told_once_it_is_there_and_why_it_is_not() -> None:
    assert on_n1(pulls=Pulls(pulled=frozenset({"n1"}))).image == "vllm:1"
    failed = on_n1(pulls=Pulls(failed=(("n1", "no such image"),)))
    assert (failed.image, failed.message) == ("", "the engine's image: no such image")


def test_progress_reads_as_people_say_it() -> None:
    assert say_progress(Progress(430, 1000, 1_200_000_000, 9.2)) == "43 %, 1.20 GB/s, 9 s left"
    assert say_progress(Progress(0, 1000)) == "0 %"
    assert Progress(999_999, 1_000_000).percent == 99
    assert Progress(5, 0).percent == 0
