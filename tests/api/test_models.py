"""The models: what is read from Kubernetes, with which defaults, and how it is written back."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from torpor.api.conditions import Condition, Reason
from torpor.api.endpoint import InferenceEndpoint, InferenceEndpointSpec, parse_s3
from torpor.api.gpuclass import CapacityType, GPUClass, GPUClassSpec
from torpor.api.jurisdictions import lies_within
from torpor.api.status import CostStatus, EndpointStatus, GpuMs, LedgerRow

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.yaml"))
KINDS: dict[str, type[InferenceEndpoint | GPUClass]] = {
    "InferenceEndpoint": InferenceEndpoint,
    "GPUClass": GPUClass,
}


def _endpoint(spec: dict[str, Any] | None = None, **more: Any) -> InferenceEndpoint:
    body = {
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": {"name": "llama", "namespace": "prod", "managedFields": []},
        "spec": {"model": {"source": "s3://models/llama"}} | (spec or {}),
    }
    return InferenceEndpoint.model_validate(body | more)


def test_only_the_source_is_required() -> None:
    spec = _endpoint().spec
    assert spec.scaling.min_replicas == 0
    assert spec.scaling.max_replicas == 1
    assert spec.scaling.keep_alive.fixed_seconds is None
    assert spec.placement.gpus == "auto"
    assert spec.prewarm.nodes == "all"
    assert spec.queue.max_bytes == 256 * 2**20
    assert spec.queue.max_wait == timedelta(minutes=10)
    assert spec.model.s3.region == "us-east-1"
    with pytest.raises(ValidationError, match="source"):
        InferenceEndpointSpec.model_validate({"model": {}})


@pytest.mark.parametrize(
    ("keep_alive", "fixed"),
    [
        ({}, None),
        ({"policy": "adaptive"}, None),
        ({"profile": "economy"}, None),
        ({"after": "90s"}, 90),
        ({"policy": "fixed"}, 120),
        ({"policy": "fixed", "after": "1h"}, 3600),
    ],
)
def test_who_names_a_time_gets_it_and_everybody_else_the_policy_that_learns(
    keep_alive: dict[str, Any], fixed: int | None
) -> None:
    spec = _endpoint({"scaling": {"keepAlive": keep_alive}}).spec
    assert spec.scaling.keep_alive.fixed_seconds == fixed


def test_the_name_and_its_aliases_are_served_name_first() -> None:
    assert _endpoint().served_names == ("llama",)
    model = {"source": "s3://models/llama", "name": "org/llama", "aliases": ["default"]}
    endpoint = _endpoint({"model": model})
    assert endpoint.served_names == ("org/llama", "default")
    assert endpoint.model_name == "org/llama"
    assert endpoint.key == "prod/llama"
    assert endpoint.engine_names == ("org/llama", "default", "@prod/llama")


def test_no_client_s_name_can_be_an_endpoint_s_own() -> None:
    own = _endpoint().engine_names[-1]
    for model in ({"name": own}, {"aliases": [own]}):
        with pytest.raises(ValidationError):
            _endpoint({"model": {"source": "s3://models/llama", **model}})


@pytest.mark.parametrize(
    ("s3", "expected"),
    [
        ({}, False),
        ({"endpoint": "https://s3.example.com"}, True),
        ({"endpoint": "https://s3.example.com", "pathStyle": False}, False),
        ({"pathStyle": True}, True),
    ],
    ids=["AWS", "own server", "own server, said otherwise", "AWS, said otherwise"],
)
def test_buckets_are_addressed_by_path_on_own_servers(s3: dict[str, Any], expected: bool) -> None:
    endpoint = _endpoint({"model": {"source": "s3://models/llama", "s3": s3}})
    assert endpoint.spec.model.s3.effective_path_style is expected


@pytest.mark.parametrize("text", ["s3://models/a/b", "s3://models/a/b/"], ids=["without", "with"])
def test_a_prefix_ends_in_one_slash_however_it_is_written(text: str) -> None:
    source = parse_s3(text)
    assert (source.bucket, source.prefix, str(source)) == ("models", "a/b/", "s3://models/a/b/")


@pytest.mark.parametrize(
    "text",
    ["s3://models", "s3://models/", "s3:///a", "s3://models/a//b", "s3://models/../b", "a/b"],
)
def test_a_source_without_bucket_or_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="needs a bucket and a prefix"):
        parse_s3(text)


def test_unknown_fields_are_refused_in_a_spec_and_ignored_in_a_status() -> None:
    with pytest.raises(ValidationError, match="modle"):
        _endpoint({"modle": 1})
    assert _endpoint(status={"replicas": 2, "phase": "Happy"}).status.replicas == 2


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _endpoint().spec.scaling.suspend = True  # type: ignore[misc]


def test_an_object_is_written_as_a_user_would() -> None:
    spec = _endpoint(
        {
            "placement": {"maxPricePerHour": "4.00", "residency": {"jurisdictions": ["EU"]}},
            "scaling": {"keepAlive": {"after": "90m"}},
            "prewarm": {"cache": {"budget": "1.5Ti"}},
        }
    ).spec
    written = spec.to_dict()
    assert written["placement"]["maxPricePerHour"] == "4.00"
    assert written["scaling"]["keepAlive"]["after"] == "1h30m"
    assert written["prewarm"]["cache"]["budget"] == "1536Gi"
    assert "cost" not in written
    assert InferenceEndpointSpec.model_validate(written) == spec


def test_a_price_is_exact() -> None:
    gpu_class = GPUClass.model_validate(
        {
            "metadata": {"name": "l40s"},
            "spec": {
                "memory": "45Gi",
                "gpusPerNode": 8,
                "capacityType": "spot",
                "price": {"perGPUHour": "1.861", "egressPerGiB": "0.09"},
            },
        }
    )
    assert gpu_class.spec.price is not None
    assert gpu_class.spec.price.per_gpu_hour == Decimal("1.861")
    assert gpu_class.spec.price.egress_per_gi_b == Decimal("0.09")
    assert gpu_class.spec.capacity_type is CapacityType.SPOT
    assert gpu_class.spec.to_dict()["price"]["perGPUHour"] == "1.861"
    with pytest.raises(ValidationError, match="is not an amount of money"):
        GPUClass.model_validate(
            {
                "metadata": {"name": "l40s"},
                "spec": {"memory": "45Gi", "gpusPerNode": 8, "price": {"perGPUHour": 1.861}},
            }
        )


@pytest.mark.parametrize(
    ("share", "why"),
    [("8/7", "8/7 is more than a whole"), ("1/65", "not a share"), ("0.5", "not a share")],
)
def test_a_unit_is_at_most_a_whole_gpu(share: str, why: str) -> None:
    spec = {"memory": "10Gi", "gpusPerNode": 7}
    assert GPUClassSpec.model_validate(spec | {"fraction": "7/7"}).fraction == 1
    with pytest.raises(ValidationError, match=why):
        GPUClassSpec.model_validate(spec | {"fraction": share})


def test_a_ledger_survives_being_written_and_read() -> None:
    row = LedgerRow(
        price_id="l40s/1.861/USD",
        per_gpu_hour=Decimal("1.861"),
        gpu_ms=GpuMs(starting=1, busy=2, idle=3, terminating=2**53),
    )
    status = EndpointStatus(cost=CostStatus(rows=(row,)))
    written = status.to_dict()
    assert written["cost"]["rows"][0]["perGPUHour"] == "1.861"
    assert EndpointStatus.model_validate(written) == status
    assert row.gpu_ms.total == 6 + 2**53


def test_a_condition_of_a_newer_torpor_is_still_read() -> None:
    condition = Condition.model_validate(
        {
            "type": "Ready",
            "status": "False",
            "reason": "MoonInTheWrongPhase",
            "lastTransitionTime": "2026-11-23T21:10:30Z",
        }
    )
    assert condition.known_reason is Reason.UNKNOWN
    assert not condition.is_true
    assert condition.to_dict()["lastTransitionTime"] == "2026-11-23T21:10:30Z"
    assert EndpointStatus(conditions=(condition,)).condition("Ready") is condition
    assert EndpointStatus().condition("Ready") is None


@pytest.mark.parametrize(
    ("place", "wanted", "expected"),
    [
        ("DE", "DE", True),
        ("DE", "EU", True),
        ("NO", "EEA", True),
        ("EU", "EEA", True),
        ("NO", "EU", False),
        ("EEA", "EU", False),
        ("EU", "DE", False),
        ("CH", "EEA", False),
        ("GB", "EU", False),
    ],
)
def test_a_place_lies_within_another(place: str, wanted: str, expected: bool) -> None:
    assert lies_within(place, wanted) is expected


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_read(path: Path) -> None:
    bodies = [body for body in yaml.safe_load_all(path.read_text()) if body["kind"] in KINDS]
    assert bodies
    for body in bodies:
        KINDS[body["kind"]].model_validate(body)


def test_every_example_is_a_folder_with_a_readme_and_one_yaml_and_is_listed() -> None:
    root = Path(__file__).parents[2] / "examples"
    listed = (root / "README.md").read_text()
    for folder in (one for one in root.iterdir() if one.is_dir()):
        assert f"[{folder.name}]({folder.name}/)" in listed
        assert sorted(one.suffix for one in folder.iterdir()) == [".md", ".yaml"], folder
    assert len(EXAMPLES) >= 6
