"""Every field that is not refused is read by code: nothing a user writes is silently ignored."""

import ast

import pytest

from tests.api.reading import Reads, supported_leaves
from torpor.api.endpoint import InferenceEndpointSpec
from torpor.api.gpuclass import GPUClassSpec

FOR_PEOPLE = {
    "spec.access.keys.name",
    "gpu_class.provider",
    "gpu_class.zone",
    "gpu_class.price.source",
    "gpu_class.price.changes.source",
}
"""They tell things apart or say where they come from, as their descriptions say; no code needs them."""

LEAVES = {
    leaf.path: leaf
    for leaf in [
        *supported_leaves(InferenceEndpointSpec, "spec"),
        *supported_leaves(GPUClassSpec, "gpu_class"),
    ]
}


@pytest.fixture(scope="module")
def reads() -> Reads:
    return Reads.of_the_product()


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in FOR_PEOPLE])
def test_a_field_is_read(reads: Reads, path: str) -> None:
    assert reads.has(LEAVES[path]), (
        f"{path} is read nowhere in operator/torpor outside api/: read it, or mark it not_yet()"
    )


def test_the_fields_for_people_exist() -> None:
    assert set(LEAVES) >= FOR_PEOPLE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("spec.queue.max_wait", True),
        ("queue.max_wait", True),
        ("q = endpoint.spec.queue\nq.max_wait", True),
        ("a, q = spec.access, spec.queue\nq.max_wait", True),
        ("def f(q: Queue): q.max_wait", True),
        ("[q.max_wait for q in queues]", False),
        ("settings.max_wait", False),
        ("queue.max_wait = 1", False),
        ("max_wait", False),
        ("'spec.queue.max_wait'", False),
        ("spec.queue.to_dict()", True),
        ("settings.to_dict()", False),
    ],
)
def test_reading_is_told_from_mere_mention(code: str, expected: bool) -> None:
    reads = Reads()
    reads.scan(ast.parse(code))
    assert reads.has(LEAVES["spec.queue.max_wait"]) is expected
