"""The documents hold together: links lead somewhere, numbers add up, nothing is promised that is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.reading import ROOT, anchors, blocks, documents, links
from torpor.api.crd import endpoint_definition, gpu_class_definition

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "torpor" / "values.yaml").read_text())


@pytest.mark.parametrize("path", documents(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_inside_the_repository_resolves(path: Path) -> None:
    for target in links(path):
        if re.match(r"^[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        assert there.exists(), f"{path.name}: {target} leads nowhere"
        assert there.is_relative_to(ROOT), f"{path.name}: {target} leaves the repository"
        if anchor:
            assert anchor in anchors(there), f"{path.name}: {target} has no such heading"


def test_the_first_endpoint_of_the_readme_has_eight_lines_at_most() -> None:
    first = next(block for block in blocks("yaml") if block.path == "README.md")
    assert len(first.text.splitlines()) <= 8
    assert yaml.safe_load(first.text)["kind"] == "InferenceEndpoint"


def refused_fields(schema: dict[str, Any], path: str = "") -> set[str]:
    """Paths of the fields whose description says that they are not supported yet, without their children."""
    found: set[str] = set()
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        items = child.get("items", child)
        if str(child.get("description", "")).endswith("Not supported yet."):
            found.add(here)
        else:
            found |= refused_fields(items, here)
    return found


def not_yet_section() -> str:
    text = (ROOT / "docs" / "limits.md").read_text()
    return text.split("## Not yet")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    "definition", [endpoint_definition(), gpu_class_definition()], ids=["endpoint", "class"]
)
def test_the_limits_name_every_field_that_is_refused(definition: dict[str, Any]) -> None:
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    refused = refused_fields(spec)
    words = set(re.findall(r"[A-Za-z]+", " ".join(re.findall(r"`([^`]*)`", not_yet_section()))))
    missing = {path for path in refused if path.rsplit(".", 1)[-1] not in words}
    assert not missing


def test_the_limits_name_no_field_that_works() -> None:
    fields: dict[str, Any] = {}
    for definition in (endpoint_definition(), gpu_class_definition()):
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        fields |= dict.fromkeys(refused_fields(spec), spec)
    listed = re.findall(
        r"`([a-z][A-Za-z]*(?:\.[a-zA-Z]+)+)`", not_yet_section().split("And without")[0]
    )
    partly = {"model.source", "engine.kind", "prewarm.cache.kind"}
    assert not {path for path in listed if path not in fields and path not in partly}


def test_the_changelog_has_an_unreleased_part_and_known_headings_only() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "\n## [Unreleased]\n" in text
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= allowed


def test_every_decision_has_its_four_parts_and_stands_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        headings = re.findall(r"^## (.+)$", page.read_text(), re.M)
        assert headings == ["Context", "Choice", "Rejected", "Consequence"], page.name
        assert f"]({page.name})" in (folder / "README.md").read_text(), page.name


def test_no_document_promises_a_field_of_the_chart_that_is_not_there() -> None:
    for path in documents():
        for dotted in re.findall(r"--set ([a-zA-Z.]+)=", path.read_text()):
            found: Any = VALUES
            for part in dotted.split("."):
                assert part in found, f"{path.name}: the chart has no value {dotted}"
                found = found[part]
