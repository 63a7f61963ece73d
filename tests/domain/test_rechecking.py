"""The bucket is asked again now and then; what lies on the nodes serves meanwhile."""

from __future__ import annotations

from dataclasses import replace

from torpor.domain.prewarming import plan
from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, JobWanted, NodeNeeds, Weights
from torpor.domain.rechecking import recheck

NOW = 1_800_000_000_000
HOUR = 3_600_000
HASH, OTHER = "a" * 32, "b" * 32
LISTED = Weights("digest", HASH, 16, 3, "crc64nvme", attempt=2, parts=(HASH,), listed_ms=NOW)
NUMBER = NOW // 1000
AGAIN = JobSeen(JobKind.RECHECK, "digest", JobState.RUNNING, attempt=NUMBER)
SAME = replace(AGAIN, state=JobState.SUCCEEDED, hash=HASH, finished_ms=NOW + HOUR + 5000)
NODES = NodeNeeds(("node-1",), labelled=frozenset({"node-1"}))


def test_a_fresh_listing_is_believed_until_its_hour_is_over() -> None:
    found = recheck(LISTED, (), NOW + HOUR - 1, HOUR)
    assert (found.job, found.look_again_ms) == (None, NOW + HOUR)


def test_without_a_period_nobody_ever_asks_again() -> None:
    assert recheck(LISTED, (), NOW + 99 * HOUR, None) == recheck(LISTED, (), NOW, None)


def test_an_old_listing_is_asked_about_once_and_still_serves() -> None:
    found = plan("digest", LISTED, (), NODES, NOW + HOUR, HOUR)
    assert found.jobs == (JobWanted(JobKind.RECHECK, NUMBER),)
    assert (found.weights, found.fault, found.nodes_ready) == (LISTED, None, ("node-1",))
    running = plan("digest", LISTED, (AGAIN,), NODES, NOW + HOUR, HOUR)
    assert running.jobs == found.jobs


def test_the_same_listing_is_believed_for_another_hour_and_its_job_goes() -> None:
    found = plan("digest", LISTED, (SAME,), NODES, NOW + HOUR + 6000, HOUR)
    assert found.jobs == ()
    assert found.weights == replace(LISTED, listed_ms=SAME.finished_ms)
    assert found.look_again_ms == SAME.finished_ms + HOUR
    next_pass = plan("digest", found.weights, (SAME,), NODES, NOW + HOUR + 7000, HOUR)
    assert (next_pass.jobs, next_pass.weights) == ((), found.weights)


def test_another_listing_is_fetched_and_the_node_that_had_the_old_one_has_not_the_new() -> None:
    changed = replace(SAME, hash=OTHER, parts=(OTHER,), bytes=17, files=4)
    found = plan("digest", LISTED, (changed,), NODES, NOW + HOUR + 6000, HOUR)
    assert (found.weights.hash, found.weights.bytes, found.weights.attempt) == (OTHER, 17, 3)
    assert found.jobs == (JobWanted(JobKind.FETCH, 3, "node-1"),)
    assert found.nodes_ready == ()


def test_a_check_that_fails_is_a_doubt_and_no_fault() -> None:
    failed = replace(
        SAME, state=JobState.FAILED, hash="", reason="WeightsAccessDenied", message="no such key"
    )
    found = plan("digest", LISTED, (failed,), NODES, NOW + HOUR + 6000, HOUR)
    assert (found.fault, found.hindrance, found.nodes_ready) == (None, None, ("node-1",))
    assert found.weights.doubt == "no such key"
    healed = replace(SAME, attempt=failed.finished_ms // 1000, finished_ms=NOW + 2 * HOUR + 9000)
    assert recheck(found.weights, (healed,), NOW + 2 * HOUR + 9000, HOUR).weights.doubt == ""


def test_a_listing_of_an_older_torpor_is_asked_about_at_once() -> None:
    old = replace(LISTED, listed_ms=0, parts=())
    assert recheck(old, (), NOW, HOUR).job == JobWanted(JobKind.RECHECK, 1)


def test_a_revision_that_moved_without_a_change_of_content_keeps_its_address() -> None:
    known = replace(LISTED, sources=("s3://m/hub/o/n/1/",))
    moved = replace(SAME, sources=("s3://m/hub/o/n/2/",))
    assert recheck(known, (moved,), NOW + HOUR, HOUR).weights.sources == known.sources
