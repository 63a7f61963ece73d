"""Ten ways to get an endpoint wrong, what torpor must say of each, and what puts it right."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster import Cluster
from dev.install import Bucket
from tests.cluster.apiserver import Json
from tests.cluster.space import Space

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens on the discard port of a pod."""


@dataclass(frozen=True)
class Fault:
    """One mistake: the endpoint that has it, the words that must be said, and its correction."""

    reason: str
    says: str
    """Words that the message must contain."""
    compose: Callable[[str], Json]
    correct: Callable[[str], Any]
    needs_gpu: bool = False
    """Only the engine itself can tell, so a request must wake it first."""
    extra: dict[str, str] = field(default_factory=dict)


def faults_of(space: Space, cluster: Cluster, bucket: Bucket, checkpoint: Path) -> dict[str, Fault]:
    """Return every fault by the name of its endpoint."""
    return _keys_and_buckets(space, bucket, checkpoint) | _roads(space, cluster) | _gpus(space)


def _keys_and_buckets(space: Space, bucket: Bucket, checkpoint: Path) -> dict[str, Fault]:
    mark = secrets.token_hex(3)
    missing, empty, cut = (
        f"t-missing-{mark}",
        f"s3://t-tests/empty-{mark}/",
        f"s3://t-tests/cut-{mark}/",
    )

    def wrong_key(name: str) -> Json:
        space.torpor.make_s3_secret(space.name, "theirs", secret_key="wrong" * 8)
        return space.compose(name, spec={"model": _model(space, secretRef={"name": "theirs"})})

    def truncated(name: str) -> Json:
        folder = checkpoint.with_name("cut")
        folder.mkdir()
        (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
        whole = (checkpoint / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        bucket.put(folder, cut)
        return space.compose(name, source=cut)

    return {
        "wrong-key": Fault(
            "WeightsAccessDenied",
            "key",
            wrong_key,
            lambda _: space.torpor.make_s3_secret(space.name, "theirs"),
        ),
        "no-bucket": Fault(
            "WeightsBucketNotFound",
            missing,
            lambda name: space.compose(name, source=f"s3://{missing}/tiny/"),
            lambda _: bucket.put(checkpoint, f"s3://{missing}/tiny/"),
        ),
        "empty-prefix": Fault(
            "WeightsEmpty",
            empty,
            lambda name: space.compose(name, source=empty),
            lambda _: bucket.put(checkpoint, empty),
        ),
        "truncated": Fault(
            "WeightsCorrupt",
            "model.safetensors",
            truncated,
            lambda _: bucket.put(checkpoint, cut),
        ),
    }


def _roads(space: Space, cluster: Cluster) -> dict[str, Fault]:
    tls = cluster.s3.tls_endpoint
    right = cluster.s3.ca.read_text()
    wrong = (cluster.kubeconfig.parent.parent / "pki" / "ca.crt").read_text()

    def put_ca(text: str) -> None:
        path = space.path(CONFIG_MAPS, "ca")
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}}
        space.api.apply(path, {**kind, "data": {"ca.crt": text}})

    def wrong_ca(name: str) -> Json:
        put_ca(wrong)
        model = _model(space, endpoint=tls, caRef={"name": "ca", "kind": "ConfigMap"})
        return space.compose(name, spec={"model": model})

    def own_ca(name: str) -> None:
        path = space.path(CONFIG_MAPS, "right-ca")
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "right-ca"}}
        space.api.apply(path, {**kind, "data": {"ca.crt": right}})
        ref = {"name": "right-ca", "kind": "ConfigMap"}
        space.apply(space.compose(name, spec={"model": _model(space, endpoint=tls, caRef=ref)}))

    return {
        "no-ca": Fault(
            "WeightsTLSUntrusted",
            "certificate",
            lambda name: space.compose(name, spec={"model": _model(space, endpoint=tls)}),
            own_ca,
        ),
        "wrong-ca": Fault(
            "WeightsTLSUntrusted",
            "certificate",
            wrong_ca,
            lambda _: put_ca(right),
        ),
        "unreachable": Fault(
            "WeightsUnreachable",
            NOWHERE.removeprefix("http://"),
            lambda name: space.compose(name, spec={"model": _model(space, endpoint=NOWHERE)}),
            lambda name: space.apply(space.compose(name)),
        ),
    }


def _gpus(space: Space) -> dict[str, Fault]:
    def right(name: str) -> Json:
        return space.apply(space.compose(name))

    return {
        "gpu-class": Fault(
            "GPUClassNotFound",
            "h9000",
            lambda name: space.compose(name, spec={"placement": {"classes": ["h9000"]}}),
            right,
        ),
        "image": Fault(
            "ImagePullFailed",
            "localhost/nothing:1",
            lambda name: space.compose(name, spec={"engine": {"image": "localhost/nothing:1"}}),
            right,
            needs_gpu=True,
        ),
        "crash": Fault(
            "EngineCrashed",
            "the moon is full",
            lambda name: space.compose(
                name,
                switches={"STANDIN_CRASH": "at-start", "STANDIN_LAST_WORDS": "the moon is full"},
            ),
            right,
            needs_gpu=True,
        ),
        "vram": Fault(
            "EngineOutOfMemory",
            "CUDA out of memory. Tried to allocate",
            lambda name: space.compose(name, switches={"STANDIN_VRAM_BYTES": "1000000"}),
            right,
            needs_gpu=True,
        ),
    }


def _model(space: Space, **s3: Any) -> Json:
    return {"source": space.weights, "s3": {**space.torpor.s3_of(), **s3}}
