"""The dashboard is one that Grafana can load, and asks only for what the programs expose."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.filled import shown
from tests.metrics.promql import labels_of

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: Json = json.loads((ROOT / "charts/torpor/dashboards/torpor.json").read_text())
PANELS: list[Json] = DASHBOARD["panels"]
VARIABLES: dict[str, Json] = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
WIDTH = 24
BUILT_IN = {"__range", "__rate_interval", "__interval", "__all"}


def targets() -> list[Any]:
    return [
        pytest.param(target, id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ]


def test_grafana_knows_what_it_is() -> None:
    assert DASHBOARD["schemaVersion"] >= 36, "older ones name their data source by a string"
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["title"]
    assert "id" not in DASHBOARD, "the id is the database's, and one given makes the import fail"


def test_every_panel_has_its_own_id_and_says_what_it_shows() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and panel["type"] for panel in PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


def test_panels_lie_within_the_grid_and_on_no_other() -> None:
    places = [(p["title"], p["gridPos"]) for p in PANELS]
    for title, at in places:
        assert at["w"] > 0, title
        assert at["h"] > 0, title
        assert 0 <= at["x"] <= WIDTH - at["w"], title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one} lies on {other}"


def test_everything_is_asked_of_the_data_source_that_is_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    asking = [*PANELS, *(t for p in PANELS for t in p["targets"])]
    asking += [v for v in VARIABLES.values() if v["type"] == "query"]
    assert all(thing["datasource"] == chosen for thing in asking)


def test_only_variables_that_exist_are_used() -> None:
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used - BUILT_IN == set(VARIABLES)


@pytest.mark.parametrize("name", ["namespace", "model"])
def test_a_variable_offers_the_values_of_a_label_that_is_there(name: str) -> None:
    asked = VARIABLES[name]["query"]["query"]
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", asked)
    assert found, asked
    assert found[2] in (labels_of(found[1], shown()) or set())


@pytest.mark.parametrize("target", targets())
def test_every_query_asks_for_what_is_exposed(target: Json) -> None:
    labels = labels_of(target["expr"], shown())
    assert labels is not None
    named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert named <= labels, f"the legend names {named - labels}, which the result does not have"
    if target.get("format") != "table":
        assert named >= labels, f"series are told apart by {labels - named}, which no legend names"


@pytest.mark.parametrize("target", targets())
def test_every_query_is_narrowed_by_the_variables(target: Json) -> None:
    selectors = re.findall(r"torpor_\w+(\{[^}]*\})?", target["expr"])
    assert selectors
    assert set(selectors) == {'{namespace=~"$namespace", model_name=~"$model"}'}


def test_what_people_look_for_first_is_there() -> None:
    asked = " ".join(t["expr"] for p in PANELS for t in p["targets"])
    for name in (
        "cost_per_hour", "phase_cost_total", "cost_per_million_tokens", "saved", "cold_starts_total",
        "cold_start_seconds", "replicas_ready", "state", "weights_nodes",
    ):  # fmt: skip
        assert f"torpor_endpoint_{name}{{" in asked, name
    assert "key" in re.findall(r"sum by \(([^)]*)\) \(rate\(torpor_gateway_tokens", asked)[0]
