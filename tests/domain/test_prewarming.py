from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.domain.observation import Fault
from torpor.domain.prewarming import after_failed_wake, pause_ms, plan, still_wrong
from torpor.domain.prewarmjobs import (
    CLAIM,
    JobKind,
    JobSeen,
    JobState,
    JobWanted,
    NodeNeeds,
    Weights,
    WeightsPlan,
)

NOW = 1_800_000_000_000
SPEC, HASH, OTHER = "digest", "a" * 32, "b" * 32
NODES = ("node-1", "node-2")
NONE: frozenset[str] = frozenset()
FRESH = Weights(spec=SPEC)
LISTED = Weights(SPEC, HASH, bytes=16_000, files=9)
CHECK = JobSeen(JobKind.CHECK, SPEC, JobState.RUNNING)
CHECKED = replace(CHECK, state=JobState.SUCCEEDED, hash=HASH, bytes=16_000, files=9)
DENIED = replace(
    CHECK, state=JobState.FAILED, finished_ms=NOW, reason="WeightsAccessDenied",
    message="the secret key is wrong", retryable=False,
)  # fmt: skip
FETCH = JobSeen(JobKind.FETCH, SPEC, JobState.RUNNING, node="node-1", hash=HASH)
FETCHED = replace(FETCH, state=JobState.SUCCEEDED, verified="crc64nvme")
FULL = replace(
    FETCH, state=JobState.FAILED, finished_ms=NOW, reason="WeightsTooLarge",
    message="16 GB do not fit into 9 GB",
)  # fmt: skip
TOO_LARGE = Fault("WeightsTooLarge", "16 GB do not fit into 9 GB")


def on(node: str, job: JobSeen) -> JobSeen:
    return replace(job, node=node)


def planned(
    known: Weights,
    *jobs: JobSeen,
    nodes: tuple[str, ...] = NODES,
    labelled: frozenset[str] = NONE,
    now: int = NOW,
) -> WeightsPlan:
    return plan(SPEC, known, jobs, NodeNeeds(nodes, labelled=labelled), now)


def check(attempt: int) -> tuple[JobWanted, ...]:
    return (JobWanted(JobKind.CHECK, attempt),)


def fetches(*nodes: str, attempt: int = 1) -> tuple[JobWanted, ...]:
    return tuple(JobWanted(JobKind.FETCH, attempt, node) for node in nodes)


def test_first_a_cpu_checks_the_source_and_no_node_fetches() -> None:
    for jobs in ((), (CHECK,)):
        found = planned(Weights(), *jobs)
        assert (found.jobs, found.weights, found.fault) == (check(1), FRESH, None)


def test_a_good_listing_lets_every_node_fetch() -> None:
    found = planned(FRESH, CHECKED)
    assert found.weights == LISTED
    assert found.jobs == fetches("node-1", "node-2")
    assert (found.nodes_wanted, found.nodes_ready, found.newly_ready) == (NODES, (), ())


def test_a_good_listing_is_enough_when_no_node_should_keep_the_weights() -> None:
    assert planned(FRESH, CHECKED, nodes=()).jobs == ()


def test_a_node_that_has_fetched_gets_its_label_and_keeps_its_job_until_it_has_it() -> None:
    found = planned(LISTED, FETCHED, on("node-2", FETCH))
    assert (found.nodes_ready, found.newly_ready) == (("node-1",), ("node-1",))
    assert found.jobs == fetches("node-1", "node-2")
    assert found.weights.verified == "crc64nvme"


def test_a_labelled_node_needs_no_job_any_more() -> None:
    found = planned(LISTED, FETCHED, labelled=frozenset({"node-1"}))
    assert (found.jobs, found.nodes_ready) == (fetches("node-2"), ("node-1",))
    assert found.newly_ready == ()


def test_nothing_is_wanted_once_every_node_is_labelled() -> None:
    found = planned(replace(LISTED, verified="crc64nvme"), labelled=frozenset(NODES))
    assert (found.jobs, found.nodes_ready, found.look_again_ms) == ((), NODES, None)
    assert found.weights.verified == "crc64nvme", "what was verified is not forgotten with the Job"


def test_a_failed_check_is_the_fault_and_stays_as_witness_until_its_pause_is_over() -> None:
    fault = Fault("WeightsAccessDenied", "the secret key is wrong", retryable=False)
    during = planned(FRESH, DENIED, now=NOW + 4_999)
    assert (during.fault, during.jobs, during.look_again_ms) == (fault, check(1), NOW + 5_000)
    after = planned(FRESH, DENIED, now=NOW + 5_000)
    assert (after.fault, after.jobs, after.weights) == (fault, check(2), replace(FRESH, attempt=2))


def test_the_second_check_is_waited_for_without_the_first_ones_fault() -> None:
    second = replace(FRESH, attempt=2)
    for jobs in ((DENIED,), (DENIED, replace(CHECK, attempt=2))):
        found = planned(second, *jobs, now=NOW + 6_000)
        assert (found.fault, found.jobs) == (None, check(2))


def test_pauses_double_from_5_to_60_seconds() -> None:
    assert [pause_ms(n) // 1000 for n in range(1, 7)] == [5, 10, 20, 40, 60, 60]
    late = replace(DENIED, attempt=4)
    assert planned(replace(FRESH, attempt=4), late).look_again_ms == NOW + 40_000


def test_a_failed_fetch_is_tried_again_beginning_with_the_check() -> None:
    during = planned(LISTED, FULL, nodes=("node-1",))
    assert (during.fault, during.jobs) == (TOO_LARGE, fetches("node-1"))
    assert during.weights == LISTED, "what was listed stays known until it is checked again"
    after = planned(LISTED, FULL, nodes=("node-1",), now=NOW + 5_000)
    assert (after.jobs, after.weights.hash, after.weights.attempt) == (check(2), "", 2)


def test_the_check_of_an_older_attempt_does_not_stand_for_the_new_one() -> None:
    found = planned(replace(FRESH, attempt=2), CHECKED, FULL, nodes=("node-1",), now=NOW + 5_000)
    assert (found.jobs, found.weights.hash) == (check(2), "")


def test_a_second_attempt_that_works_fetches_under_its_own_number() -> None:
    second = replace(CHECKED, attempt=2)
    found = planned(replace(FRESH, attempt=2), second, FULL, nodes=("node-1",))
    assert (found.fault, found.jobs) == (None, fetches("node-1", attempt=2))


def test_a_status_that_was_not_written_is_made_up_for_from_the_jobs() -> None:
    third = replace(CHECK, attempt=3)
    found = planned(LISTED, FULL, third, now=NOW + 10**6)
    assert (found.jobs, found.weights) == (check(3), replace(FRESH, attempt=3))
    lost = planned(Weights(), replace(CHECKED, attempt=3))
    assert (lost.weights.hash, lost.weights.attempt) == (HASH, 3)


def test_one_nodes_failure_does_not_stop_the_others_download() -> None:
    busy = on("node-2", FETCH)
    found = planned(LISTED, FULL, busy, now=NOW + 10**6)
    assert found.jobs == fetches("node-1", "node-2"), "the check waits until node-2 is done"
    assert (found.fault, found.look_again_ms) == (TOO_LARGE, None)


@pytest.mark.parametrize("done", [(), (on("node-2", FETCHED),)])
def test_where_one_node_has_the_weights_the_one_that_failed_fetches_again_and_nothing_is_forgotten(
    done: tuple[JobSeen, ...],
) -> None:
    jobs, labelled = (FULL, *done), NONE if done else frozenset({"node-2"})
    there = fetches("node-2") if done else ()
    during = planned(LISTED, *jobs, labelled=labelled, now=NOW + 4_999)
    assert (during.fault, during.hindrance) == (None, TOO_LARGE)
    assert (during.jobs, during.look_again_ms) == (fetches("node-1") + there, NOW + 5_000)
    after = planned(LISTED, *jobs, labelled=labelled, now=NOW + 5_000)
    assert (after.fault, after.hindrance, after.nodes_ready) == (None, TOO_LARGE, ("node-2",))
    assert after.jobs == (*fetches("node-1"), *there, *fetches("node-1", attempt=2))
    assert replace(after.weights, verified="") == LISTED
    assert after.look_again_ms is None


def test_what_a_node_lacks_is_said_until_its_next_try_has_ended() -> None:
    there = frozenset({"node-2"})
    second = replace(FETCH, attempt=2)
    running = planned(LISTED, FULL, second, labelled=there, now=NOW + 60_000)
    assert (running.weights, running.hindrance) == (LISTED, TOO_LARGE)
    assert running.jobs == (*fetches("node-1"), *fetches("node-1", attempt=2))
    unreachable = replace(FULL, attempt=2, reason="WeightsUnreachable", message="no answer")
    failed = planned(LISTED, FULL, unreachable, labelled=there, now=NOW + 9_999)
    assert (failed.weights, failed.fault) == (LISTED, None)
    assert failed.hindrance == Fault("WeightsUnreachable", "no answer")
    assert failed.jobs == fetches("node-1", attempt=2), "the older witness has said its part"
    assert failed.look_again_ms == NOW + 10_000
    third = planned(LISTED, unreachable, labelled=there, now=NOW + 10_000)
    assert third.jobs == (*fetches("node-1", attempt=2), *fetches("node-1", attempt=3))
    done = planned(LISTED, FULL, replace(FETCHED, attempt=2), labelled=there)
    assert (done.hindrance, done.newly_ready) == (None, ("node-1",))
    assert done.jobs == fetches("node-1", attempt=2)


def test_nodes_that_failed_try_again_each_in_its_own_time_beside_one_that_is_fetching() -> None:
    later = replace(on("node-2", FULL), attempt=3, finished_ms=NOW + 1_000, message="9 GB free")
    jobs, nodes = (FULL, later, on("node-3", FETCH)), ("node-1", "node-2", "node-3", "node-4")
    found = planned(LISTED, *jobs, nodes=nodes, labelled=frozenset({"node-4"}), now=NOW + 5_000)
    again = fetches("node-1", attempt=2)
    there = (*fetches("node-1"), *fetches("node-2", attempt=3), *fetches("node-3"))
    assert found.jobs == there + again
    assert found.look_again_ms == NOW + 21_000
    assert found.hindrance == Fault("WeightsTooLarge", "9 GB free"), "the latest word"


def test_only_a_bucket_that_changed_has_what_nodes_hold_listed_again() -> None:
    changed = replace(FULL, attempt=4, reason="WeightsChanged", message="it is another now")
    there = frozenset({"node-2"})
    during = planned(LISTED, changed, labelled=there, now=NOW + 39_999)
    assert (during.weights, during.jobs) == (LISTED, fetches("node-1", attempt=4))
    assert (during.hindrance, during.fault) == (Fault("WeightsChanged", "it is another now"), None)
    assert during.look_again_ms == NOW + 40_000
    after = planned(LISTED, changed, labelled=there, now=NOW + 40_000)
    assert (after.weights, after.jobs) == (replace(FRESH, attempt=5), check(5))
    nodes = ("node-1", "node-2", "node-3")
    other = replace(on("node-3", FULL), finished_ms=NOW + 7)
    either = planned(LISTED, changed, other, nodes=nodes, labelled=there, now=NOW + 40_000)
    assert either.jobs == check(5), "whatever else failed later"
    third = on("node-3", FETCH)
    busy = planned(LISTED, changed, third, nodes=nodes, labelled=there, now=NOW + 10**6)
    assert (busy.weights, busy.look_again_ms) == (LISTED, None)


def test_when_the_last_node_with_the_weights_goes_all_begins_anew_above_every_attempt() -> None:
    sixth = replace(FULL, attempt=6)
    found = planned(LISTED, sixth, nodes=("node-1",), now=NOW + 60_000)
    assert (found.fault, found.jobs) == (TOO_LARGE, check(7))
    assert found.weights == replace(FRESH, attempt=7)


def test_a_wake_that_found_the_bucket_changed_is_followed_by_a_check_whatever_nodes_fetch() -> None:
    known = after_failed_wake(LISTED, "WeightsChanged")
    for fetch in (replace(FULL, attempt=5), replace(FETCH, attempt=5)):
        found = planned(known, fetch, labelled=frozenset({"node-2"}))
        assert (found.jobs, found.fault) == (check(5), None)
        assert found.weights == replace(FRESH, attempt=5)
    checked = replace(CHECKED, hash=OTHER, attempt=5)
    anew = planned(replace(FRESH, attempt=5), checked, replace(FULL, attempt=5))
    assert (anew.fault, anew.weights.hash, anew.jobs) == (None, OTHER, fetches(*NODES, attempt=5))
    assert after_failed_wake(LISTED, "EngineCrashed") == LISTED


def test_a_job_that_failed_on_a_node_that_has_the_weights_all_the_same_does_not_matter() -> None:
    found = planned(LISTED, FULL, labelled=frozenset(NODES))
    assert (found.fault, found.hindrance, found.jobs) == (None, None, ())


def test_a_failure_on_a_node_that_is_gone_does_not_matter() -> None:
    found = planned(LISTED, FULL, nodes=("node-2",))
    assert (found.fault, found.jobs) == (None, fetches("node-2"))


def test_a_node_that_joins_fetches_and_one_that_leaves_is_not_counted() -> None:
    found = planned(
        LISTED, FETCHED, nodes=("node-2", "node-3"), labelled=frozenset({"node-1", "node-2"})
    )
    assert (found.jobs, found.nodes_ready) == (fetches("node-3"), ("node-2",))


def test_a_node_that_lost_its_label_fetches_again() -> None:
    assert planned(LISTED, labelled=frozenset({"node-2"})).jobs == fetches("node-1")


@pytest.mark.parametrize("labelled", [NONE, frozenset(NODES)])
def test_another_source_starts_over_and_its_predecessors_jobs_and_labels_do_not_count(
    labelled: frozenset[str],
) -> None:
    old = [replace(job, spec="older") for job in (CHECKED, FETCHED, DENIED)]
    found = planned(replace(LISTED, spec="older", attempt=4), *old, labelled=labelled)
    assert (found.jobs, found.weights, found.fault) == (check(1), FRESH, None)
    assert found.nodes_ready == ()


def test_labels_of_the_old_hash_do_not_count_for_a_new_listing() -> None:
    changed = replace(CHECKED, hash=OTHER, attempt=2)
    found = planned(replace(FRESH, attempt=2), changed, labelled=frozenset(NODES))
    assert (found.weights.hash, found.jobs) == (OTHER, fetches(*NODES, attempt=2))


def test_the_fetch_of_another_listing_says_nothing_about_this_one() -> None:
    others = (replace(FETCHED, hash=OTHER), replace(on("node-2", FULL), hash=OTHER))
    found = planned(LISTED, *others)
    assert (found.jobs, found.weights, found.nodes_ready) == (fetches(*NODES), LISTED, ())
    assert (found.fault, found.hindrance) == (None, None)
    newer = planned(LISTED, *(replace(job, attempt=2) for job in others))
    assert (newer.jobs, newer.weights) == (check(2), replace(FRESH, attempt=2))


def test_what_was_wrong_stands_while_it_is_checked_again_and_no_longer() -> None:
    before = Fault("WeightsAccessDenied", "the secret key is wrong", retryable=False)
    again = replace(CHECK, attempt=2)
    recheck = planned(replace(FRESH, attempt=2), again)
    assert still_wrong(recheck, before).fault == before
    assert still_wrong(recheck, None).fault is None
    healed = planned(replace(FRESH, attempt=2), replace(CHECKED, attempt=2))
    assert still_wrong(healed, before).fault is None
    other = planned(FRESH, CHECK)
    assert still_wrong(other, before).fault is None, "another source has not been judged yet"
    failed = planned(LISTED, FULL)
    assert still_wrong(failed, before).fault == TOO_LARGE


CROWDED = replace(FULL, reason="WeightsCacheFull", message="others are used more", created_ms=NOW)


def test_a_full_cache_is_no_reason_to_refuse_requests() -> None:
    found = planned(LISTED, on("node-1", CROWDED), on("node-2", CROWDED))
    assert found.fault is None
    assert found.hindrance == Fault("WeightsCacheFull", "others are used more")
    assert found.weights == LISTED


def test_an_engine_that_waits_on_a_full_node_ends_the_pause() -> None:
    calm = plan(SPEC, LISTED, (CROWDED,), NodeNeeds(("node-1",)), NOW + 1000)
    assert [job.attempt for job in calm.jobs] == [1]
    later = NodeNeeds(("node-1",), (("node-1", NOW + 500),))
    woken = plan(SPEC, LISTED, (CROWDED,), later, NOW + 1000)
    assert [job.attempt for job in woken.jobs] == [1, 2]
    answered = replace(CROWDED, attempt=2, created_ms=NOW + 900)
    assert [j.attempt for j in plan(SPEC, LISTED, (answered,), later, NOW + 1000).jobs] == [2]


def test_a_full_cache_is_tried_more_and_more_rarely_up_to_half_an_hour() -> None:
    tenth = replace(CROWDED, attempt=12)
    found = plan(SPEC, LISTED, (tenth,), NodeNeeds(("node-1",)), NOW + 1_799_999)
    assert found.look_again_ms == NOW + 1_800_000
    assert [j.attempt for j in found.jobs] == [12]


def test_a_node_on_which_an_engine_wakes_gets_a_job_although_none_was_chosen() -> None:
    found = plan(SPEC, LISTED, (), NodeNeeds((), (("node-9", NOW),)), NOW)
    assert found.jobs == fetches("node-9")


def test_a_wake_never_waits_for_the_job_of_another_node() -> None:
    needs = NodeNeeds(("node-1",), (("node-2", NOW),))
    found = plan(SPEC, LISTED, (on("node-1", FETCH),), needs, NOW)
    assert found.jobs == fetches("node-1", "node-2")


def test_weights_that_made_room_are_told_with_the_node_they_left() -> None:
    found = planned(LISTED, replace(FETCHED, evicted=(OTHER,)))
    assert found.evicted == (("node-1", OTHER),)


def test_a_claim_is_filled_once_and_stays_known_after_its_job_is_gone() -> None:
    needs = NodeNeeds((CLAIM,))
    first = plan(SPEC, LISTED, (), needs, NOW)
    assert first.jobs == fetches(CLAIM)
    done = plan(SPEC, LISTED, (on(CLAIM, FETCHED),), needs, NOW)
    assert done.weights.claim_ready
    later = plan(SPEC, done.weights, (), needs, NOW)
    assert (later.jobs, later.nodes_ready) == ((), (CLAIM,))


def test_a_pull_of_the_image_says_nothing_of_the_weights() -> None:
    pull = JobSeen(JobKind.IMAGE, SPEC, JobState.FAILED, attempt=7, node="node-1", reason="x")
    assert planned(LISTED, pull) == planned(LISTED)


def test_a_node_that_left_takes_its_fetch_with_it() -> None:
    found = planned(LISTED, on("gone", FETCH))
    assert JobWanted(JobKind.FETCH, 1, "gone") not in found.jobs


def test_a_claim_in_which_an_engine_finds_nothing_is_filled_again() -> None:
    known = replace(LISTED, claim_ready=True)
    needs = NodeNeeds((CLAIM,), ((CLAIM, NOW),))
    found = plan(SPEC, known, (), needs, NOW)
    assert (found.jobs, found.weights.claim_ready) == (fetches(CLAIM), False)
