"""Which nodes should hold the weights, and what may be believed of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.manifests.blueprints import HASH, PLACED, endpoint
from torpor.controller.provisioning import DOUBT_MS, node_needs
from torpor.controller.seen import Seen
from torpor.domain.observation import PodSeen
from torpor.domain.prewarmjobs import CLAIM, JobKind, JobSeen, JobState, NodeNeeds

NOW = 1_800_000_000_000
NODES = ("a", "b", "c")
POD = PodSeen("p", "tiny-1", 1, "l40s", node="b", created_ms=NOW - 5000, scheduled_ms=NOW - 5000)


def needs(
    *pods: PodSeen, ready: str = "", jobs: tuple[JobSeen, ...] = (), **prewarm: Any
) -> NodeNeeds:
    seen = Seen("torpor-system")
    for name in NODES:
        labels = {f"weights.torpor.dev/{HASH}": "ready" if name in ready else "arriving"}
        seen.nodes[name] = {"metadata": {"name": name, "labels": labels}}
    of, placed = endpoint(prewarm=prewarm), replace(PLACED, nodes=NODES)
    return node_needs(seen, of, placed, pods, HASH, jobs, NOW)


def test_a_node_on_which_an_engine_runs_without_a_label_gets_its_proof() -> None:
    done = replace(POD, weights_done_ms=NOW - 4000, ready=True)
    for pod in (POD, done):
        assert needs(pod, nodes="none").waking == (("b", NOW - 5000),)
    assert needs(done, ready="b", nodes="none").waking == ()
    assert needs(replace(done, deleted_ms=NOW), nodes="none").waking == ()


def test_an_engine_that_waits_in_vain_takes_the_label_back() -> None:
    stuck = replace(POD, scheduled_ms=NOW - DOUBT_MS - 1)
    assert needs(POD, ready="ab").labelled == {"a", "b"}
    found = needs(stuck, ready="ab")
    assert found.labelled == {"a"}
    assert found.waking == (("b", NOW - 5000),)


def test_of_a_number_of_nodes_those_keep_their_place_that_have_or_get_the_weights() -> None:
    running = JobSeen(JobKind.FETCH, "d", JobState.RUNNING, node="c")
    failed = JobSeen(JobKind.FETCH, "d", JobState.FAILED, node="a")
    assert needs(nodes=2).prewarmed == ("a", "b")
    assert needs(nodes=2, ready="c").prewarmed == ("c", "a")
    assert needs(nodes=1, jobs=(running,)).prewarmed == ("c",)
    assert needs(nodes=2, jobs=(failed, running)).prewarmed == ("c", "b")


@pytest.mark.parametrize(
    ("cache", "prewarmed"),
    [({"kind": "pvc", "claim": "w"}, (CLAIM,)), ({"kind": "ephemeral"}, ())],
    ids=["claim", "ephemeral"],
)
def test_other_caches_belong_to_no_node(cache: Any, prewarmed: tuple[str, ...]) -> None:
    assert needs(POD, cache=cache) == NodeNeeds(prewarmed)
