"""What is generated from the models lies in the repository as it would be generated now."""

import re
from pathlib import Path

import yaml

from torpor.api.conditions import Reason
from torpor.api.crd import generate
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass
from torpor.api.reference import generate as generate_reference

ROOT = Path(__file__).parents[2]
KINDS: dict[str, type[InferenceEndpoint | GPUClass]] = {
    "InferenceEndpoint": InferenceEndpoint,
    "GPUClass": GPUClass,
}


def test_generating_the_crds_again_changes_nothing() -> None:
    found = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert found == generate(), "run `make generate`"


def test_generating_the_reference_again_changes_nothing() -> None:
    assert (ROOT / "docs/spec.md").read_text() == generate_reference(), "run `make generate`"


def test_the_reference_has_every_reason_and_its_snippets_are_read() -> None:
    page = generate_reference()
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in page
    snippets = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        body = yaml.safe_load(snippet)
        KINDS[body["kind"]].model_validate(body)
