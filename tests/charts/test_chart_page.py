"""The page: nobody but `kubectl port-forward` reaches it until somebody says so, and then whom the policy names."""

from __future__ import annotations

from tests.charts.rendering import Helm, Rendered
from torpor.controller.page.serving import is_loopback


def test_the_page_is_reached_from_inside_the_pod_only(installed: Rendered, helm: Helm) -> None:
    environment = installed.variables("controller")
    assert is_loopback(environment["TORPOR_CONTROLLER_PAGE_HOST"])
    ports = [port["name"] for port in installed.pod("controller")["containers"][0]["ports"]]
    assert ports == ["http"]
    assert [service["metadata"]["name"] for service in installed.all("Service")] == [
        "torpor-gateway"
    ]
    closed = helm.render(
        "networkPolicy.enabled=true", json='networkPolicy.pageFrom=[{"podSelector":{}}]'
    )
    assert "ingress" not in closed.one("NetworkPolicy", "torpor-controller")["spec"]


def test_an_exposed_page_has_a_service_that_leads_to_its_port(helm: Helm) -> None:
    rendered = helm.render("controller.page.expose=true", "controller.page.port=8000")
    environment = rendered.variables("controller")
    assert not is_loopback(environment["TORPOR_CONTROLLER_PAGE_HOST"])
    ports = {
        p["name"]: p["containerPort"] for p in rendered.pod("controller")["containers"][0]["ports"]
    }
    assert str(ports["page"]) == environment["TORPOR_CONTROLLER_PAGE_PORT"]
    service = rendered.one("Service", "torpor-page")["spec"]
    assert "type" not in service  # inside the cluster only
    assert [(p["port"], p["targetPort"]) for p in service["ports"]] == [(8000, "page")]
    labels = rendered.one("Deployment", "torpor-controller")["spec"]["template"]["metadata"][
        "labels"
    ]
    assert service["selector"].items() <= labels.items()


def test_values_of_a_release_that_had_no_page_are_reused_as_they_are(helm: Helm) -> None:
    """`helm upgrade --reuse-values` brings the old chart's defaults, in which these keys are missing."""
    values = ("controller.page=null", "networkPolicy.pageFrom=null", "networkPolicy.enabled=true")
    environment = helm.render(*values).variables("controller")
    assert environment["TORPOR_CONTROLLER_PAGE_HOST"] == "127.0.0.1"


def test_a_policy_lets_only_those_look_who_are_named(helm: Helm) -> None:
    on = ("controller.page.expose=true", "networkPolicy.enabled=true")
    nobody = helm.render(*on).one("NetworkPolicy", "torpor-controller")["spec"]
    assert "ingress" not in nobody
    peers = '[{"namespaceSelector":{"matchLabels":{"team":"ops"}}}]'
    some = helm.render(*on, json=f"networkPolicy.pageFrom={peers}")
    (rule,) = some.one("NetworkPolicy", "torpor-controller")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "page", "protocol": "TCP"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}]
    both = helm.render(
        *on, json=f"networkPolicy.pageFrom={peers},networkPolicy.metricsFrom={peers}"
    )
    rules = both.one("NetworkPolicy", "torpor-controller")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules] == ["http", "page"]
