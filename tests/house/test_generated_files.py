"""Every generated file is what generating it now gives."""

from pathlib import Path

from torpor.api import crd, reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_definitions_are_up_to_date() -> None:
    there = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert there == crd.generate(), "run `make generate`"


def test_the_reference_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == reference.generate(), "run `make generate`"
