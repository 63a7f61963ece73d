"""Weights from elsewhere than a prefix of a bucket: the Hub, a claim; and what travels beside the model."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.places import HOST_IP
from dev.engine.standin.checksum import checksum_folder, combine
from dev.hub.repositories import Repository
from dev.hub.server import HubServer
from dev.install.checkpoint import pack_tensors, write_checkpoint
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
REPO = "mountain/marmot"
CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({REPO: Repository(REPO)}, HOST_IP) as server:
        yield server


def write_adapter(folder: Path, seed: str, rank: int = 24) -> Path:
    """Write a LoRA adapter; its rank is one that vLLM does not take as it is."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": "x"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    shapes = {"base_model.model.q_proj.lora_A.weight": [rank, 512]}
    (folder / "adapter_model.safetensors").write_bytes(pack_tensors(shapes, seed))
    return folder


def make_claim(space: Space, folder: Path, name: str = "weights") -> None:
    """Make a claim that is this folder of the machine."""
    volume = f"{space.name}-{name}"
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": space.name, "name": name},
    }
    metadata = {"name": volume}
    space.api.create(
        VOLUMES,
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec},
    )
    wanted = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": volume,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
    space.api.create(space.path(CLAIMS), {**claim, "spec": wanted})


@pytest.fixture
def folder(space: Space, cluster: Any) -> Iterator[Path]:
    """A folder that pods can be given as a volume."""
    made = Path("/var/lib/torpor") / space.name
    made.mkdir(parents=True)
    yield made
    space.api.delete(f"{VOLUMES}/{space.name}-weights")
    shutil.rmtree(made)


def test_a_repository_of_the_hub_wakes_from_its_copy_in_the_bucket(
    space: Space, hub: HubServer, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "model", megabytes=2, seed=space.name)
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    commit = hub.repositories[REPO].commit({**files, "README.md": b"not needed"})
    mirror = f"s3://t-tests/{space.name}/hub/"
    model = {
        "source": f"hf://{REPO}@main",
        "hub": {"mirror": mirror, "endpoint": hub.url},
        "s3": space.torpor.s3_of(),
    }
    space.apply(space.compose("marmot", spec={"model": model}))
    ready = space.wait_weights("marmot")
    assert ready.status.weights.sources == (f"{mirror}{REPO}/{commit}/",)
    asked = len(hub.asked)
    answer = space.chat("marmot")
    assert answer.body["system_fingerprint"] == checksum_folder(tmp_path / "model")
    assert len(hub.asked) == asked


def test_a_gated_repository_says_what_is_to_be_done(space: Space, hub: HubServer) -> None:
    hub.repositories[REPO].gated = True
    hub.repositories[REPO].commit({"config.json": b"{}", "model.safetensors": b"x"})
    model = {
        "source": f"hf://{REPO}",
        "hub": {"mirror": f"s3://t-tests/{space.name}/hub/", "endpoint": hub.url},
        "s3": space.torpor.s3_of(),
    }
    space.apply(space.compose("gated", spec={"model": model}))
    told = space.wait_condition("gated", "Ready", "False", "WeightsGated")
    condition = told.status.condition("Ready")
    assert condition is not None
    assert REPO in condition.message
    assert space.chat("gated").status == 503
    assert space.pods("gated") == []


def test_adapters_and_a_draft_travel_with_the_model_and_answer_by_their_names(
    space: Space, tmp_path: Path
) -> None:
    root = f"s3://t-tests/{space.name}"
    write_checkpoint(tmp_path / "model", megabytes=2, seed="model")
    write_checkpoint(tmp_path / "draft", megabytes=1, seed="draft")
    legal = write_adapter(tmp_path / "legal", "legal")
    for name in ("model", "draft", "legal"):
        space.torpor.bucket.put(tmp_path / name, f"{root}/{name}/")
    model = {
        "source": f"{root}/model/",
        "s3": space.torpor.s3_of(),
        "draft": {"source": f"{root}/draft/", "method": "eagle3"},
        "adapters": [{"name": "legal", "source": f"{root}/legal/"}],
    }
    space.apply(space.compose("many", spec={"model": model}))
    ready = space.wait_weights("many")
    assert len(ready.status.weights.parts) == 3
    assert ready.status.weights.lora_rank == 24
    answer = space.chat("many")
    prints = [checksum_folder(tmp_path / name) for name in ("model", "draft")]
    assert answer.body["system_fingerprint"] == combine([*prints, checksum_folder(legal)])
    assert space.chat("many", model="legal").status == 200
    (pod,) = [p for p in space.pods("many") if not p["metadata"].get("deletionTimestamp")]
    args = next(c["args"] for c in pod["spec"]["containers"] if c["name"] == "engine")
    assert args[args.index("--max-lora-rank") + 1] == "32"


def test_weights_in_a_claim_are_checked_and_served_where_they_are(
    space: Space, folder: Path
) -> None:
    write_checkpoint(folder / "models" / "tiny", megabytes=2, seed=space.name)
    make_claim(space, folder)
    endpoint = space.compose("stored", source="pvc://weights/models/tiny")
    del endpoint["spec"]["model"]["s3"]
    space.apply(endpoint)
    space.wait_condition("stored", "WeightsReady", reason="WeightsInClaim")
    answer = space.chat("stored")
    assert answer.body["system_fingerprint"] == checksum_folder(folder / "models" / "tiny")


def test_a_claim_is_filled_once_and_wakes_from_there(space: Space, folder: Path) -> None:
    make_claim(space, folder)
    cache = {"prewarm": {"cache": {"kind": "pvc", "claim": "weights"}}}
    space.apply(space.compose("cached", spec=cache))
    found = space.wait_condition("cached", "WeightsReady", reason="WeightsInClaim")
    assert [node.name for node in found.status.weights.nodes] == ["claim weights"]
    assert (folder / "models" / str(found.status.weights.hash) / ".torpor" / "READY").exists()
    assert space.chat("cached").status == 200


def test_an_engine_without_a_cache_fetches_into_its_own_pod(space: Space) -> None:
    space.apply(space.compose("lone", spec={"prewarm": {"cache": {"kind": "ephemeral"}}}))
    space.wait_condition("lone", "WeightsReady", reason="WeightsListed")
    assert space.chat("lone").status == 200
