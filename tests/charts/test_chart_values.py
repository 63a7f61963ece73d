"""The values: every one explained, wrong ones refused, and a catalogue of classes that torpor accepts."""

import re
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from tests.charts.rendering import CHART, Helm, Refused, Rendered
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass


def test_the_linter_has_nothing_to_say(helm: Helm) -> None:
    done = helm.run("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_value_has_a_sentence_above_it() -> None:
    bare = []
    above = ""
    catalogue = False
    for number, line in enumerate((CHART / "values.yaml").read_text().splitlines(), 1):
        catalogue = catalogue or line.startswith("  catalogue:")
        leaf = re.match(r"^ {0,4}([A-Za-z]+): *(\S.*)$", line)
        if leaf and not catalogue and not above.startswith("#"):
            bare.append(f"{number}: {leaf[1]}")
        above = line.strip()
    assert not bare


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("gatway.replicas=3", "gatway"),
        ("gateway.replicas=-1", "replicas"),
        ("gateway.replicas=two", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("cache.dir=weights", "dir"),
        ("gateway.url=ai.example.com", "url"),
        ("gateway.graceSeconds=0", "graceSeconds"),
        ("controller.logLevel=LOUD", "logLevel"),
        ("controller.page.expose=maybe", "expose"),
        ("controller.page.port=0", "port"),
        ("controller.page.host=0.0.0.0", "host"),
        ("gpuClasses.catalogue.l4.price.perGPUHour=cheap", "perGPUHour"),
        ("gpuClasses.catalogue.mine.memory=24Gi", "gpusPerNode"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        helm.render(value)


def test_torpor_accepts_every_class_of_the_catalogue(installed: Rendered) -> None:
    classes = [GPUClass.model_validate(o) for o in installed.all("GPUClass")]
    assert {"l4", "a10g", "l40s", "a100-40", "a100-80", "h100", "h200", "b200", "mi300x"} <= {
        c.name for c in classes
    }
    for found in classes:
        assert found.spec.node_selector, f"{found.name} would match every node with a GPU"
        assert found.spec.price is not None, found.name
        assert found.spec.price.per_gpu_hour > 0, found.name


def test_every_price_says_where_and_when_it_was_read(installed: Rendered) -> None:
    for o in installed.all("GPUClass"):
        price = o["spec"]["price"]
        assert price["currency"] == "USD"
        assert price["source"], o["metadata"]["name"]
        assert date(2026, 1, 1) <= date.fromisoformat(price["asOf"]) <= date(2026, 12, 31)


def test_no_two_classes_of_the_catalogue_match_the_same_node(installed: Rendered) -> None:
    selectors = [
        tuple(sorted(o["spec"]["nodeSelector"].items())) for o in installed.all("GPUClass")
    ]
    assert len(selectors) == len(set(selectors))


def test_an_l40s_costs_what_the_documents_say(installed: Rendered) -> None:
    price = installed.one("GPUClass", "l40s")["spec"]["price"]["perGPUHour"]
    assert price == "1.861"
    assert round(Decimal(price) / 3600, 6) == Decimal("0.000517")


def test_the_catalogue_can_be_changed_thinned_out_and_switched_off(helm: Helm) -> None:
    changed = helm.render(
        "gpuClasses.catalogue.l40s.price.perGPUHour=1.10",
        "gpuClasses.catalogue.b200=null",
    )
    names = {o["metadata"]["name"] for o in changed.all("GPUClass")}
    assert "b200" not in names
    l40s = changed.one("GPUClass", "l40s")["spec"]
    assert l40s["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    assert not helm.render("gpuClasses.enabled=false").all("GPUClass")


def test_the_notes_name_a_valid_endpoint_and_the_real_service(helm: Helm, tmp_path: Path) -> None:
    copy = shutil.copytree(CHART, tmp_path / "torpor")
    # `helm template` prints no notes, so they are rendered as somebody's data.
    (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
    (copy / "templates" / "notes.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {notes: {{ tpl (.Files.Get "notes.txt") . | quote }}}\n'
    )
    notes = helm.render(chart=copy, namespace="models").one("ConfigMap", "notes")["data"]["notes"]
    assert "http://torpor-gateway.models.svc/v1" in notes
    assert "port-forward pod/$(kubectl -n models get lease torpor-controller" in notes
    block = re.search(r"<<'EOF'\n(.*?)\n +EOF", notes, re.DOTALL)
    assert block
    endpoint = InferenceEndpoint.model_validate(yaml.safe_load(block[1]))
    assert endpoint.model_name == "llama-8b"
