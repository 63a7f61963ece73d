"""Endpoints, a placement and an installation, and every object that torpor makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from torpor.api.endpoint import InferenceEndpoint
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.prewarmjobs import JobKind, JobWanted, Weights
from torpor.manifests import names
from torpor.manifests.direct import Member, engines_slice, gateways_slice, service
from torpor.manifests.engine import engine_template
from torpor.manifests.prewarmjobs import Room, prewarm_job
from torpor.manifests.setting import Installation
from torpor.manifests.workload import deployment, first_deployment, owner_reference, service_account

Json = dict[str, Any]
DATA = Path(__file__).with_name("data")
HASH = "0123456789abcdef" * 2
INSTALLATION = Installation(
    image="registry.example.com/torpor:1", engine_image="vllm/vllm-openai:v0.32.0"
)
L40S = GPUClassView(
    name="l40s",
    resource="nvidia.com/gpu",
    vram=48 * 1024**3,
    gpus_per_node=8,
    node_selector=(("gpu", "l40s"),),
    region="eu-central-1",
    jurisdiction="DE",
    capacity_type="on-demand",
    micro_per_hour=1_861_000,
    currency="USD",
    tolerations=({"key": "dedicated", "operator": "Exists"},),
)
PLACED = Placement(L40S, gpus=1, nodes=("node-1",))
BYTES = 16_060_000_000
ENGINE = Member("uid-of-pod", "tiny-1", "ml", "10.0.0.1", "node-1")


def endpoint(name: str = "tiny", **spec: Any) -> InferenceEndpoint:
    model = {"source": "s3://models/tiny/"} | spec.pop("model", {})
    metadata = {"name": name, "namespace": "ml", "uid": f"uid-of-{name}"}
    return InferenceEndpoint.model_validate(
        {"metadata": metadata, "spec": {"model": model, **spec}}
    )


def template(
    of: InferenceEndpoint, placed: Placement = PLACED, weights: str = HASH, size: int = BYTES
) -> Json:
    return engine_template(of, placed, known(of, weights, size), INSTALLATION)


def known(of: InferenceEndpoint, weights: str = HASH, size: int = BYTES) -> Weights:
    """What a check of the endpoint's sources would have found."""
    model = of.spec.model
    more = len(model.adapters) + (model.draft is not None)
    parts = (weights, *(f"{number:032x}" for number in range(1, more + 1)))
    rank = 16 if model.adapters else 0
    asked = [model.source, *([model.draft.source] if model.draft else ())]
    asked += [adapter.source for adapter in model.adapters]
    copied = model.hub is not None
    found = tuple(s.replace("hf://", "s3://models/hub/") for s in asked) if copied else ()
    return Weights(hash=weights, bytes=size, files=9, parts=parts, lora_rank=rank, sources=found)


def objects(of: InferenceEndpoint, placed: Placement = PLACED) -> dict[str, Json]:
    made, owner = template(of, placed), owner_reference(of)
    check, fetch = JobWanted(JobKind.CHECK, 1), JobWanted(JobKind.FETCH, 2, "node-1")
    image, found = JobWanted(JobKind.IMAGE, 1, "node-1"), known(of)
    room = Room(("f" * 32,), 1_800_000_000, 1_700_000_000)
    return {
        "service-account": service_account(of),
        "first-deployment": first_deployment(of, made),
        "deployment": deployment(of, made),
        "check-job": prewarm_job(of, INSTALLATION, check, found, owner),
        "fetch-job": prewarm_job(of, INSTALLATION, fetch, found, owner, room),
        "image-job": prewarm_job(of, INSTALLATION, image, found, owner),
        "direct-service": service(of),
        "direct-engines": engines_slice(of, [ENGINE], 1_800_000_000_000),
        "direct-gateways": gateways_slice(of, [], names.DIRECT_PORTS[0]),
    }


def read(path: Path) -> Json:
    found: Json = yaml.safe_load(path.read_text())
    return found
