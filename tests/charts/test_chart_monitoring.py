"""What the chart gives to those who watch: monitors that keep our labels, and the dashboard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.rendering import CHART, Helm, Refused, Rendered
from torpor.manifests import names


def test_monitors_keep_the_labels_that_torpor_itself_gives(helm: Helm) -> None:
    """Prometheus' own `namespace` and `endpoint` are those of the pod it reads, ours those of the model."""
    for monitor in helm.render("podMonitor.enabled=true").all("PodMonitor"):
        (place,) = monitor["spec"]["podMetricsEndpoints"]
        assert place["honorLabels"] is True
        assert (place["path"], place["interval"]) == ("/metrics", "30s")


def test_clients_may_reach_the_ports_at_which_gateways_stand_in_for_direct_endpoints(
    helm: Helm,
) -> None:
    closed = helm.render("networkPolicy.enabled=true").one("NetworkPolicy", "torpor-gateway")
    first, last = names.DIRECT_PORTS[0], names.DIRECT_PORTS[-1]
    ports = closed["spec"]["ingress"][0]["ports"]
    assert {"port": first, "endPort": last, "protocol": "TCP"} in ports


def test_no_dashboard_is_made_until_it_is_asked_for(installed: Rendered) -> None:
    assert not installed.all("ConfigMap")


def test_the_dashboard_comes_as_it_lies_in_the_chart_where_the_sidecar_looks(helm: Helm) -> None:
    made = helm.render("dashboard.enabled=true", namespace="models").one(
        "ConfigMap", "torpor-dashboard"
    )
    assert made["metadata"]["namespace"] == "models"
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert "annotations" not in made["metadata"]
    (name,) = made["data"]
    assert name.endswith(".json")
    written = json.loads((CHART / "dashboards" / "torpor.json").read_text())
    assert json.loads(made["data"][name]) == written


def test_the_sidecar_may_look_for_other_labels_and_put_it_into_a_folder(helm: Helm) -> None:
    more: dict[str, Any] = {"enabled": True, "annotations": {"grafana_folder": "models"}}
    made = helm.render(json=f"dashboard={json.dumps(more)}").one("ConfigMap", "torpor-dashboard")
    assert made["metadata"]["annotations"] == {"grafana_folder": "models"}
    labelled = helm.render("dashboard.enabled=true", "dashboard.labels.team=ml")
    assert labelled.one("ConfigMap", "torpor-dashboard")["metadata"]["labels"]["team"] == "ml"


@pytest.mark.parametrize("value", ["dashboard.enabled=perhaps", "dashboard.folder=x"])
def test_a_wrong_value_is_refused(helm: Helm, value: str) -> None:
    with pytest.raises(Refused, match="dashboard"):
        helm.render(value)


@pytest.mark.parametrize("values", [(), ("dashboard.enabled=true",)], ids=["off", "on"])
def test_values_of_a_release_that_had_no_dashboard_are_reused_as_they_are(
    helm: Helm, tmp_path: Path, values: tuple[str, ...]
) -> None:
    """`helm upgrade --reuse-values` brings the old chart's defaults, in which these keys are missing."""
    copy = shutil.copytree(CHART, tmp_path / "torpor")
    known = yaml.safe_load((copy / "values.yaml").read_text())
    del known["dashboard"]
    (copy / "values.yaml").write_text(yaml.safe_dump(known))
    made = helm.render(*values, chart=copy).all("ConfigMap")
    assert [o["metadata"]["labels"]["grafana_dashboard"] for o in made] == ["1"] * len(values)
