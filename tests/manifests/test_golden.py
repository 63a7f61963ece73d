from __future__ import annotations

from dataclasses import replace

import pytest

from tests.manifests.blueprints import DATA, PLACED, objects, read
from torpor.api.endpoint import InferenceEndpoint

CASES = {"minimal": PLACED, "everything": replace(PLACED, gpus=4)}
KINDS = (
    "service-account", "first-deployment", "deployment", "check-job", "fetch-job", "image-job",
    "direct-service", "direct-engines", "direct-gateways",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_an_endpoint_becomes_exactly_these_objects(case: str, kind: str) -> None:
    endpoint = InferenceEndpoint.model_validate(read(DATA / case / "endpoint.yaml"))
    assert objects(endpoint, CASES[case])[kind] == read(DATA / case / f"{kind}.yaml")


def test_every_golden_file_is_compared() -> None:
    there = {path.relative_to(DATA).with_suffix("").as_posix() for path in DATA.rglob("*.yaml")}
    assert there == {f"{case}/{kind}" for case in CASES for kind in ("endpoint", *KINDS)}
