"""Least privilege: what torpor's own service accounts may do, and what they must never do."""

from typing import Any

import pytest

from tests.charts.rendering import Rendered

WRITES = {"create", "update", "patch", "delete", "deletecollection", "*"}


def grants(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Every (group, resource, verb) that the rules allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def roles(installed: Rendered) -> list[dict[str, Any]]:
    return [*installed.all("ClusterRole"), *installed.all("Role")]


def test_no_rule_allows_reading_secrets_or_config_maps(installed: Rendered) -> None:
    named = {resource for role in roles(installed) for _, resource, _ in grants(role["rules"])}
    assert not {r for r in named if r.split("/")[0] in {"secrets", "configmaps", "*"}}


def test_no_rule_uses_a_wildcard(installed: Rendered) -> None:
    assert roles(installed)
    for role in roles(installed):
        assert not [grant for grant in grants(role["rules"]) if "*" in grant], role["metadata"][
            "name"
        ]


def test_the_only_write_of_the_gateway_is_a_patch_of_scale(installed: Rendered) -> None:
    bindings = [
        b
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for b in installed.all(kind)
        if any(s["name"] == "torpor-gateway" for s in b["subjects"])
    ]
    allowed: set[tuple[str, str, str]] = set()
    for binding in bindings:
        reference = binding["roleRef"]
        allowed |= grants(installed.one(reference["kind"], reference["name"])["rules"])
    assert {grant for grant in allowed if grant[2] in WRITES} == {
        ("apps", "deployments/scale", "patch")
    }


def test_the_gateway_may_watch_what_it_routes_by(installed: Rendered) -> None:
    allowed = grants(installed.one("ClusterRole", "torpor-gateway")["rules"])
    for group, resource in (
        ("torpor.dev", "inferenceendpoints"),
        ("apps", "deployments"),
        ("", "pods"),
    ):
        assert {(group, resource, verb) for verb in ("get", "list", "watch")} <= allowed


def test_the_controller_may_hurry_and_mark_single_pods_and_make_none(installed: Rendered) -> None:
    """An engine that is told to end while it loads is deep asleep to SIGTERM and would hold its GPU for 90 s.

    Which replica goes first when fewer are needed is said by annotations of the pod.
    """
    allowed = grants(installed.one("ClusterRole", "torpor-controller")["rules"])
    assert {g[2] for g in allowed if g[1] == "pods"} == {"get", "list", "watch", "patch", "delete"}


def test_the_controller_keeps_the_services_of_direct_endpoints_and_the_gateway_none(
    installed: Rendered,
) -> None:
    """Order matters: the addresses behind them are written by the controller, and by nobody else."""
    allowed = grants(installed.one("ClusterRole", "torpor-controller")["rules"])
    kept = {"get", "list", "watch", "create", "patch", "delete"}
    for group, resource in (("", "services"), ("discovery.k8s.io", "endpointslices")):
        assert {verb for g, r, verb in allowed if (g, r) == (group, resource)} == kept
    gateway = grants(installed.one("ClusterRole", "torpor-gateway")["rules"])
    assert not {r for _, r, _ in gateway if r in {"services", "endpointslices"}}


@pytest.mark.parametrize("resource", ["deployments", "inferenceendpoints", "gpuclasses", "nodes"])
def test_the_controller_may_not_delete(installed: Rendered, resource: str) -> None:
    allowed = grants(installed.one("ClusterRole", "torpor-controller")["rules"])
    assert not {g for g in allowed if g[1] == resource and g[2] in {"delete", "deletecollection"}}


def test_the_controller_may_not_change_what_the_user_wrote(installed: Rendered) -> None:
    allowed = grants(installed.one("ClusterRole", "torpor-controller")["rules"])
    assert {v for _, r, v in allowed if r in {"inferenceendpoints", "gpuclasses"}} == {
        "get",
        "list",
        "watch",
    }


def test_the_lease_is_the_only_object_the_controller_may_change_in_its_namespace(
    installed: Rendered,
) -> None:
    role = installed.one("Role", "torpor-controller")
    changing = [
        rule for rule in role["rules"] if set(rule["verbs"]) & {"update", "patch", "delete"}
    ]
    environment = installed.variables("controller")
    assert [rule["resourceNames"] for rule in changing] == [
        [environment["TORPOR_CONTROLLER_LEASE_NAME"]]
    ]


def test_every_binding_names_an_account_of_the_release(installed: Rendered) -> None:
    accounts = {
        (a["metadata"]["namespace"], a["metadata"]["name"]) for a in installed.all("ServiceAccount")
    }
    for binding in [*installed.all("ClusterRoleBinding"), *installed.all("RoleBinding")]:
        assert {(s["namespace"], s["name"]) for s in binding["subjects"]} <= accounts
