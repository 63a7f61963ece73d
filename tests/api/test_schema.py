"""The CRDs as data: complete, bounded, and honest about what is not supported yet."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from torpor.api.crd import endpoint_definition, generate, gpu_class_definition
from torpor.api.endpoint import InferenceEndpointSpec
from torpor.api.gpuclass import GPUClassSpec

Json = dict[str, Any]


def _root(definition: Json) -> Json:
    found: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _walk(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from _walk(schema["items"], f"{path}[]")


ENDPOINT = _root(endpoint_definition())["properties"]
SPECS = dict(_walk(ENDPOINT["spec"], "spec"))
CLASS = dict(_walk(_root(gpu_class_definition())["properties"]["spec"], "class"))
STATUS = dict(_walk(ENDPOINT["status"], "status"))
ALL = SPECS | CLASS | STATUS


@pytest.mark.parametrize("path", [path for path in ALL if not path.endswith("[]")])
def test_every_field_is_described_in_sentences(path: str) -> None:
    description = ALL[path]["description"]
    assert description[-1] in ".)", description
    assert "  " not in description


@pytest.mark.parametrize("path", [*SPECS, *CLASS])
def test_everything_a_user_writes_is_bounded(path: str) -> None:
    schema = (SPECS | CLASS)[path]
    if schema.get("type") == "string" and "enum" not in schema:
        assert schema["maxLength"] <= 32768
    if schema.get("type") == "array":
        assert schema["maxItems"] <= 256
        assert schema["x-kubernetes-list-type"] in {"atomic", "set", "map"}
    if schema.get("type") == "integer":
        assert schema["minimum"] <= schema["maximum"]
    if "additionalProperties" in schema:
        assert schema["maxProperties"] <= 32


def test_what_is_not_supported_has_no_default_and_a_rule_that_says_so() -> None:
    refused = [path for path, schema in ALL.items() if _is_refused(schema)]
    assert "spec.placement.capacityTimeout" in refused
    for path in refused:
        parent, _, name = path.rpartition(".")
        assert "default" not in ALL[path]
        rules = {rule["rule"]: rule for rule in ALL[parent]["x-kubernetes-validations"]}
        rule = rules[f"!has(self.{name})"]
        assert rule["message"] == f"{path.replace('class.', 'spec.')} is not supported yet"
        assert rule["fieldPath"] == f".{name}"


def _is_refused(schema: Json) -> bool:
    return str(schema.get("description", "")).endswith(". Not supported yet.")


def test_a_default_is_reached_from_the_spec() -> None:
    """The API server fills in a field only when every object above it is there."""
    for path, schema in SPECS.items():
        parent = path.rpartition(".")[0]
        inside = "default" in schema and "[]" not in path and parent != "spec"
        if inside and not path.startswith(("spec.cost", "spec.model.s3.caRef", "spec.model.draft")):
            assert SPECS[parent].get("default") == {}, path


def _filled(schema: Json, value: Any) -> Any:
    """Do what the API server does before it stores an object: fill in defaults, the outer before the inner."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = copy.deepcopy(child["default"])
        if name in value:
            value[name] = _filled(child, value[name])
    return value


def test_what_the_api_server_fills_in_is_what_the_models_would_have() -> None:
    written = {"model": {"source": "s3://models/llama/", "s3": {"caRef": {"name": "ca"}}}}
    stored = _filled(ENDPOINT["spec"], written)
    assert stored != written
    assert InferenceEndpointSpec.model_validate(stored) == InferenceEndpointSpec.model_validate(
        written
    )
    price = {"memory": "45Gi", "gpusPerNode": 1, "price": {"perGPUHour": "1"}}
    filled = _filled(_root(gpu_class_definition())["properties"]["spec"], price)
    assert filled["price"]["currency"] == "USD"
    assert GPUClassSpec.model_validate(filled) == GPUClassSpec.model_validate(price)


def test_a_status_has_no_defaults() -> None:
    assert [path for path, schema in STATUS.items() if "default" in schema] == []


def test_no_mark_of_ours_reaches_the_cluster() -> None:
    for text in generate().values():
        assert "x-torpor" not in text
        assert "$ref" not in text
        assert "anyOf" not in text


def test_the_same_models_give_the_same_bytes_and_valid_yaml() -> None:
    first, second = generate(), generate()
    assert first == second
    assert set(first) == {"torpor.dev_inferenceendpoints.yaml", "torpor.dev_gpuclasses.yaml"}
    for text in first.values():
        assert text.startswith("# Made by `torpor crd`")
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"


def test_scale_and_status_are_subresources() -> None:
    version = endpoint_definition()["spec"]["versions"][0]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.scaling.minReplicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    for path in version["subresources"]["scale"].values():
        assert path[1:] in ALL
