from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.manifests.blueprints import HASH, INSTALLATION, PLACED, endpoint
from torpor.controller.picture import Picture
from torpor.controller.wanting import children_wanted, held_back
from torpor.domain.observation import Demand, GatewayReport, PodSeen, Workload
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import JobKind, JobWanted, Weights, WeightsPlan
from torpor.domain.scalingview import LULL_MS
from torpor.errors import Stalled
from torpor.manifests import names

Json = dict[str, Any]
NOW = 10_000_000
PLAN = WeightsPlan(Weights("digest", HASH, 16, 3))
POD = PodSeen("p", "tiny-1", 1, "l40s", ready=True, first_ready_ms=NOW - 600_000)


def report(**words: Any) -> GatewayReport:
    return GatewayReport("gw", NOW, 1, **words)


def picture(
    *reports: GatewayReport,
    pods: tuple[PodSeen, ...] = (POD,),
    replicas: int = 1,
    served: str = "tiny @ml/tiny",
    behind: bool = True,
) -> Picture:
    wanted = children_wanted(endpoint(), PLAN, PLACED, INSTALLATION).deployment
    assert wanted is not None
    now = wanted["spec"]["template"]["metadata"]["labels"][names.TEMPLATE_HASH]
    return Picture(
        placement=PLACED,
        plan=PLAN,
        pods=pods,
        failure=None,
        engine_fault=None,
        demand=Demand(reports or (report(in_flight=1),)),
        workload=Workload(True, replicas, "7", "of-yesterday" if behind else now, served),
        classes=(),
        nodes=(),
        now_ms=NOW,
        last_activity_ms=None,
    )


def held(seen: Picture, rollout: str = "whenIdle", **scaling: Any) -> bool:
    of = endpoint(scaling={"rollout": rollout, **scaling})
    return held_back(of, seen, children_wanted(of, PLAN, PLACED, INSTALLATION))


def test_a_change_waits_while_a_replica_answers() -> None:
    assert held(picture())


def test_what_is_as_it_should_be_is_not_held_back() -> None:
    assert not held(picture(behind=False))


def test_a_rollout_at_once_is_never_held_back() -> None:
    assert not held(picture(), rollout="immediate")


@pytest.mark.parametrize(
    "seen",
    [
        picture(replicas=0, pods=()),
        picture(replicas=0),
        picture(pods=(replace(POD, ready=False),)),
        picture(pods=()),
    ],
    ids=["asleep", "told to end", "loading", "no pod yet"],
)
def test_where_nothing_works_there_is_nobody_to_disturb(seen: Picture) -> None:
    assert not held(seen)


def test_an_engine_that_answers_to_other_names_is_replaced_at_once() -> None:
    assert not held(picture(served="old-name"))
    assert not held(picture(served="tiny"))  # gateways ask by the endpoint's own name


@pytest.mark.parametrize(
    ("reports", "least", "waits"),
    [
        pytest.param([report(last_byte_ms=NOW - LULL_MS)], 1, False, id="idle at the floor"),
        pytest.param([report(last_byte_ms=NOW - LULL_MS + 1)], 1, True, id="only just idle"),
        pytest.param([report(in_flight=1)], 1, True, id="busy"),
        pytest.param([report(waiting=1)], 1, True, id="somebody waits"),
        pytest.param([report(last_byte_ms=NOW - LULL_MS)], 0, True, id="it will sleep by itself"),
    ],
)
def test_what_never_sleeps_is_replaced_in_a_lull(
    reports: list[GatewayReport], least: int, waits: bool
) -> None:
    assert held(picture(*reports), minReplicas=least) is waits


def test_above_the_floor_it_comes_down_first() -> None:
    quiet = report(last_byte_ms=NOW - 60_000)
    assert held(picture(quiet, replicas=2), minReplicas=1, maxReplicas=2)


def test_silence_of_a_gateway_is_no_lull() -> None:
    seen = picture(report(last_byte_ms=NOW - 60_000))
    silent = replace(seen.demand, unreachable=("gw-2",))
    assert held(replace(seen, demand=silent), minReplicas=1)


def test_an_endpoint_without_a_place_or_weights_has_no_deployment() -> None:
    check = JobWanted(JobKind.CHECK, 1)
    unchecked = WeightsPlan(Weights("digest"), (check,))
    for plan, placed in ((unchecked, PLACED), (PLAN, Placement(None))):
        wanted = children_wanted(endpoint(), plan, placed, INSTALLATION)
        assert (wanted.first_deployment, wanted.deployment) == (None, None)
        assert not held_back(endpoint(), picture(), wanted)
    assert len(children_wanted(endpoint(), unchecked, PLACED, INSTALLATION).jobs) == 1


def test_a_check_lists_and_a_fetch_brings_what_was_listed() -> None:
    jobs = (JobWanted(JobKind.CHECK, 1), JobWanted(JobKind.FETCH, 1, "node-1"))
    check, fetch = children_wanted(endpoint(), replace(PLAN, jobs=jobs), PLACED, INSTALLATION).jobs
    said = [job["spec"]["template"]["spec"]["containers"][0]["args"] for job in (check, fetch)]
    assert said == [["prewarm", "preflight"], ["prewarm", "fetch", "--hash", HASH]]


@pytest.mark.parametrize(
    "template",
    [
        {"metadata": {"labels": ["a", "list"]}},
        {"metadata": {"labels": "text"}},
        {"spec": {"containers": [{"name": ["engine"]}]}},
    ],
    ids=["labels: list", "labels: text", "name: list"],
)
def test_a_template_of_an_impossible_form_is_the_users_to_correct(template: Json) -> None:
    jobs = (JobWanted(JobKind.CHECK, 1),)
    with pytest.raises(Stalled, match=r"spec\.template is no pod template .* correct it") as told:
        children_wanted(endpoint(template=template), replace(PLAN, jobs=jobs), PLACED, INSTALLATION)
    assert told.value.reason == "InvalidSpec"
