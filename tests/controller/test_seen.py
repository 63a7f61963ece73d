from __future__ import annotations

from typing import Any

import pytest

from tests.controller import podstates as states
from tests.controller.podstates import at
from torpor.controller.seen import LOST_MS, REMEMBER_GONE_MS, Seen
from torpor.manifests import names

Json = dict[str, Any]
KEY = ("ml", "tiny")
NOW = at("21:30:10")


@pytest.fixture
def seen() -> Seen:
    known = Seen("torpor-system")
    known.endpoints[KEY] = {"metadata": {"namespace": "ml", "name": "tiny"}}
    return known


def test_the_first_ready_is_remembered_over_a_flap(seen: Seen) -> None:
    for state in (states.LOADING, states.READY, states.LOADING, states.READY_AGAIN):
        assert seen.take_pod(state, False, NOW) == KEY
    (pod,) = seen.engine_pods(KEY, NOW)
    assert (pod.ready, pod.first_ready_ms) == (True, at("21:00:30"))


def test_a_pod_that_is_gone_is_remembered_for_ten_minutes_and_then_forgotten(seen: Seen) -> None:
    seen.take_pod(states.READY, False, at("21:00:30"))
    seen.take_pod(states.TERMINATING, False, at("21:30:00"))
    assert seen.take_pod(states.TERMINATED, True, NOW) == KEY
    (gone,) = seen.engine_pods(KEY, NOW + REMEMBER_GONE_MS)
    assert (gone.gone_ms, gone.finished_ms) == (NOW, at("21:30:08"))
    assert (gone.first_ready_ms, gone.deleted_ms) == (at("21:00:30"), at("21:30:00"))
    assert seen.pods_of(KEY, names.COMPONENT_ENGINE) == []
    assert seen.engine_pods(KEY, NOW + REMEMBER_GONE_MS + 1) == []
    assert seen.engine_pods(KEY, NOW) == []


def test_prewarm_pods_are_no_engines(seen: Seen) -> None:
    labels = states.READY["metadata"]["labels"] | {names.COMPONENT_LABEL: "prewarm"}
    pod = states.pod({"phase": "Running"}, labels=labels)
    assert seen.take_pod(pod, False, NOW) == KEY
    assert seen.engine_pods(KEY, NOW) == []
    assert seen.pods_of(KEY, names.COMPONENT_PREWARM) == [pod]
    seen.take_pod(pod, True, NOW)
    assert not seen.pods_of(KEY, names.COMPONENT_PREWARM)
    assert not seen.engine_pods(KEY, NOW)


def test_the_pods_of_an_endpoint_that_is_gone_do_not_pass_to_its_namesake(seen: Seen) -> None:
    seen.take_pod(states.READY, False, NOW)
    seen.forget(KEY)
    seen.take_pod(states.TERMINATED, True, NOW)
    seen.endpoints[KEY] = {}
    assert seen.engine_pods(KEY, NOW) == []


def gateway(uid: str, namespace: str = "torpor-system", **status: Any) -> Json:
    labels = {"app.kubernetes.io/component": "gateway", names.PART_OF: "torpor"}
    return {
        "metadata": {"uid": uid, "name": uid, "namespace": namespace, "labels": labels},
        "status": {"podIP": "10.0.0.1", "phase": "Running"} | status,
    }


def test_gateways_are_those_of_torpors_own_namespace(seen: Seen) -> None:
    mine, foreign = gateway("a"), gateway("b", "somebody")
    for pod in (mine, foreign):
        assert seen.take_pod(pod, False, NOW) is None
    assert list(seen.gateway_pods(NOW)) == [mine]
    seen.take_pod(foreign, True, NOW)
    seen.take_pod(mine, True, NOW)
    assert list(seen.gateway_pods(NOW)) == []


@pytest.mark.parametrize("status", [{"podIP": None}, {"phase": "Failed"}, {"phase": "Pending"}])
def test_a_gateway_that_cannot_hold_requests_is_not_asked(seen: Seen, status: Json) -> None:
    seen.take_pod(gateway("a", **status), False, NOW)
    assert list(seen.gateway_pods(NOW)) == []


def test_a_gateway_that_drains_is_still_asked(seen: Seen) -> None:
    leaving = gateway("a")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T21:30:00Z"
    seen.take_pod(leaving, False, NOW)
    assert list(seen.gateway_pods(NOW)) == [leaving]


def leaving_gateway(node: str | None = "node-1") -> Json:
    leaving = gateway("a")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T21:30:00Z"
    leaving["spec"] = {"nodeName": node} if node else {}
    return leaving


DUE = at("21:30:00")
"""When the grace of that gateway has run out."""


@pytest.mark.parametrize(
    ("status", "asked_for_ever"),
    [("True", True), ("False", False), ("Unknown", False), (None, False)],
    ids=["ready", "not ready", "silent", "no node"],
)
def test_a_gateway_past_its_end_is_asked_only_where_its_node_still_works(
    seen: Seen, status: str | None, asked_for_ever: bool
) -> None:
    if status is not None:
        conditions = [{"type": "Ready", "status": status}]
        seen.nodes["node-1"] = {"status": {"conditions": conditions}}
    leaving = leaving_gateway()
    seen.take_pod(leaving, False, NOW)
    assert list(seen.gateway_pods(DUE + LOST_MS)) == [leaving]
    assert (list(seen.gateway_pods(DUE + LOST_MS + 1)) == [leaving]) is asked_for_ever


def test_a_gateway_nobody_has_told_to_end_is_asked_also_on_a_dead_node(seen: Seen) -> None:
    # Its node may come back with the requests it holds.
    alive = gateway("a") | {"spec": {"nodeName": "node-1"}}
    seen.take_pod(alive, False, NOW)
    assert list(seen.gateway_pods(DUE + 10 * LOST_MS)) == [alive]


def test_pods_of_a_namesake_are_told_by_its_uid(seen: Seen) -> None:
    seen.endpoints[KEY]["metadata"]["uid"] = "new"
    for name, owner in (("p-old", "old"), ("p-new", "new"), ("p-unlabelled", None)):
        labels = dict(states.READY["metadata"]["labels"])
        labels |= {names.ENDPOINT_UID_LABEL: owner} if owner else {}
        seen.take_pod(
            states.pod({"phase": "Running"}, uid=name, name=name, labels=labels), False, NOW
        )
    found = {pod.name for pod in seen.engine_pods(KEY, NOW)}
    assert found == {"p-new", "p-unlabelled"}  # those made before the label was are not lost


def test_what_is_known_is_told_by_uid(seen: Seen) -> None:
    seen.endpoints[KEY]["metadata"]["uid"] = "e"
    seen.nodes["n"] = {"metadata": {"name": "n", "uid": "node"}}
    seen.classes["c"] = {"metadata": {"name": "c", "uid": "class"}}
    seen.take_pod(gateway("gw"), False, NOW)
    seen.take_pod(states.READY, False, NOW)
    for kind, name in (
        ("Deployment", "tiny"), ("ServiceAccount", "tiny-engine"), ("Job", "j"),
        ("Service", "tiny-direct"), ("EndpointSlice", "tiny-direct-engines"),
    ):  # fmt: skip
        seen.take_child(kind, child(kind, name, kind), False)
    known = {plural: set(seen.known(plural)) for plural in (
        "inferenceendpoints", "gpuclasses", "nodes", "pods", "deployments", "serviceaccounts", "jobs",
        "services", "endpointslices",
    )}  # fmt: skip
    assert known == {
        "inferenceendpoints": {"e"},
        "gpuclasses": {"class"},
        "nodes": {"node"},
        "pods": {"gw", "pod-1"},
        "deployments": {"Deployment"},
        "serviceaccounts": {"ServiceAccount"},
        "jobs": {"Job"},
        "services": {"Service"},
        "endpointslices": {"EndpointSlice"},
    }


def child(kind: str, name: str, uid: str = "u") -> Json:
    labels = {names.ENDPOINT_LABEL: "tiny"}
    metadata = {"name": name, "namespace": "ml", "uid": uid, "labels": labels}
    return {"kind": kind, "metadata": metadata}


def test_children_are_known_by_their_endpoint(seen: Seen) -> None:
    deployment, account = child("Deployment", "tiny"), child("ServiceAccount", "tiny-engine")
    jobs = [child("Job", "tiny-check-1", "j1"), child("Job", "tiny-check-2", "j2")]
    for obj in (deployment, account, *jobs):
        assert seen.take_child(obj["kind"], obj, False) == KEY
    assert (seen.deployments[KEY], seen.accounts[KEY]) == (deployment, account)
    assert seen.jobs(KEY) == jobs
    seen.take_child("Job", jobs[0], True)
    seen.take_child("Deployment", deployment, True)
    assert seen.jobs(KEY) == jobs[1:]
    assert seen.deployments == {}


def test_a_copy_with_torpors_labels_is_not_taken_for_the_child(seen: Seen) -> None:
    own = child("Deployment", "tiny")
    seen.take_child("Deployment", own, False)
    for kind in ("Deployment", "ServiceAccount", "Service", "EndpointSlice"):
        assert seen.take_child(kind, child(kind, "tiny-copy", "other"), False) is None
        assert seen.take_child(kind, child(kind, "tiny-copy", "other"), True) is None
    assert seen.deployments == {KEY: own}
    assert (seen.accounts, seen.services) == ({}, {})
    assert seen.slice(KEY, names.ENGINES_SIDE) is None


def test_a_direct_endpoint_has_two_sides(seen: Seen) -> None:
    assert seen.take_child("Service", child("Service", "tiny-direct"), False) == KEY
    sides = {
        side: child("EndpointSlice", f"tiny-direct-{side}") for side in ("engines", "gateways")
    }
    for obj in sides.values():
        assert seen.take_child("EndpointSlice", obj, False) == KEY
    assert {side: seen.slice(KEY, side) for side in sides} == sides
    assert seen.direct() == [KEY]
    seen.take_child("EndpointSlice", sides["engines"], True)
    seen.take_child("Service", child("Service", "tiny-direct"), True)
    assert (seen.slice(KEY, "engines"), seen.direct()) == (None, [])


def test_what_has_no_endpoints_label_is_nobodys(seen: Seen) -> None:
    metadata = {"name": "x", "namespace": "ml", "uid": "u"}
    assert seen.take_child("Deployment", {"metadata": metadata}, False) is None
