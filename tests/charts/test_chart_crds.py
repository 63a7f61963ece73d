"""The chart carries the same definitions as crds/, byte for byte, where Helm installs them first."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOP = ROOT / "crds"
CARRIED = ROOT / "charts" / "torpor" / "crds"


def test_the_chart_carries_the_same_bytes() -> None:
    top = {path.name: path.read_bytes() for path in TOP.glob("*.yaml")}
    carried = {path.name: path.read_bytes() for path in CARRIED.glob("*.yaml")}
    assert top, "crds/ is empty; run `make generate`"
    assert carried == top, "run `make generate`"


def test_both_kinds_are_defined() -> None:
    kinds = {
        yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in CARRIED.glob("*.yaml")
    }
    assert kinds == {"InferenceEndpoint", "GPUClass"}


def test_no_template_carries_a_definition_a_second_time() -> None:
    templates = (ROOT / "charts" / "torpor" / "templates").rglob("*.*")
    assert not [path for path in templates if "CustomResourceDefinition" in path.read_text()]
