"""The engine's image is pulled where the engine may start, once, and never in anybody's way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.domain.prewarmjobs import JobKind, JobSeen, JobState, JobWanted
from torpor.domain.pulling import Pulls, names_image, plan_pulls

NOW = 1_800_000_000_000
NODES = ("n1", "n2")
PULL = JobSeen(JobKind.IMAGE, "mark", JobState.RUNNING, node="n1")
FAILED = replace(PULL, state=JobState.FAILED, finished_ms=NOW, message="no such image")


def planned(*jobs: JobSeen, have: frozenset[str] = frozenset(), now: int = NOW) -> Pulls:
    return plan_pulls(NODES, have, jobs, "mark", now)


def test_every_node_without_the_image_pulls_it() -> None:
    assert planned(have=frozenset({"n2", "elsewhere"})) == Pulls(
        (JobWanted(JobKind.IMAGE, 1, "n1"),), frozenset({"n2"})
    )


def test_a_pull_that_ended_well_is_not_wanted_any_more() -> None:
    found = planned(replace(PULL, state=JobState.SUCCEEDED), have=frozenset({"n2"}))
    assert (found.jobs, found.pulled) == ((), frozenset(NODES))


def test_a_pull_of_another_image_does_not_count() -> None:
    other = replace(PULL, state=JobState.SUCCEEDED, spec="other")
    assert planned(other, have=frozenset({"n2"})).pulled == {"n2"}


@pytest.mark.parametrize(
    ("attempt", "pause"), [(1, 30_000), (2, 120_000), (3, 600_000), (9, 600_000)]
)
def test_a_failed_pull_is_tried_again_after_a_pause(attempt: int, pause: int) -> None:
    failed = replace(FAILED, attempt=attempt)
    early = planned(failed, have=frozenset({"n2"}), now=NOW + pause - 1)
    assert [job.attempt for job in early.jobs] == [attempt]
    assert (early.failed, early.look_again_ms) == ((("n1", "no such image"),), NOW + pause)
    late = planned(failed, have=frozenset({"n2"}), now=NOW + pause)
    assert [job.attempt for job in late.jobs] == [attempt, attempt + 1]


@pytest.mark.parametrize(
    ("listed", "image", "same"),
    [
        ("docker.io/vllm/vllm-openai:v1", "vllm/vllm-openai:v1", True),
        ("docker.io/library/busybox:1", "busybox:1", True),
        ("registry.example.com/vllm:1", "registry.example.com/vllm:1", True),
        ("localhost/engine:1", "localhost/engine:1", True),
        ("localhost:5000/engine:1", "localhost:5000/engine:1", True),
        ("docker.io/vllm/vllm-openai:v2", "vllm/vllm-openai:v1", False),
        ("registry.example.com/vllm:1", "vllm:1", False),
    ],
)
def test_a_node_writes_names_of_images_out(listed: str, image: str, same: bool) -> None:
    assert names_image(listed, image) is same
