from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.manifests.blueprints import (
    BYTES,
    HASH,
    INSTALLATION,
    PLACED,
    endpoint,
    objects,
    template,
)
from torpor.domain.placement import Placement
from torpor.domain.prewarmjobs import Weights
from torpor.manifests import names
from torpor.manifests.engine import (
    LOAD_BYTES_PER_SECOND,
    START_SECONDS,
    engine_template,
    template_hash,
)

Json = dict[str, Any]


def engine(pod: Json) -> Json:
    found: Json = pod["spec"]["containers"][0]
    return found


def test_replicas_are_written_once_and_never_applied() -> None:
    made = objects(endpoint())
    assert made["first-deployment"]["spec"]["replicas"] == 0
    assert "replicas" not in made["deployment"]["spec"]


def test_what_a_gateway_wakes_too_early_starts_nothing() -> None:
    made = objects(endpoint())
    assert made["first-deployment"]["spec"]["paused"] is True
    assert made["deployment"]["spec"]["paused"] is False


def test_first_and_applied_deployment_select_the_same_pods() -> None:
    made = objects(endpoint())
    first, applied = made["first-deployment"]["spec"], made["deployment"]["spec"]
    assert first["selector"] == applied["selector"]
    selected = applied["selector"]["matchLabels"].items()
    assert selected <= applied["template"]["metadata"]["labels"].items()
    assert selected <= first["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_gpus_are_asked_for_and_split_over(gpus: int) -> None:
    pod = template(endpoint(), replace(PLACED, gpus=gpus))
    resources, args = engine(pod)["resources"], engine(pod)["args"]
    assert resources["limits"] == resources["requests"] == {"nvidia.com/gpu": str(gpus)}
    assert pod["metadata"]["labels"][names.GPU_COUNT_LABEL] == str(gpus)
    assert ("--tensor-parallel-size" in args) == (gpus > 1)


def test_only_the_engine_asks_for_a_gpu() -> None:
    pod = template(endpoint())
    jobs = objects(endpoint())
    others = [
        *pod["spec"]["initContainers"],
        *jobs["check-job"]["spec"]["template"]["spec"]["containers"],
        *jobs["fetch-job"]["spec"]["template"]["spec"]["containers"],
    ]
    assert len(others) == 3
    assert not any("nvidia.com/gpu" in str(other["resources"]) for other in others)


def test_the_grace_period_covers_pre_stop_and_the_engines_own_drain() -> None:
    pod = template(endpoint())
    pause = engine(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    args = engine(pod)["args"]
    drain = int(args[args.index("--shutdown-timeout") + 1])
    assert pod["spec"]["terminationGracePeriodSeconds"] >= max(75, pause + drain + 8)


def test_larger_weights_have_longer_to_load() -> None:
    small, large = template(endpoint(), size=0), template(endpoint(), size=140 * 10**9)
    assert engine(small)["startupProbe"]["failureThreshold"] == START_SECONDS
    assert (
        engine(large)["startupProbe"]["failureThreshold"]
        == START_SECONDS + 140 * 10**9 // LOAD_BYTES_PER_SECOND
    )
    assert engine(large)["startupProbe"]["periodSeconds"] == 1


def test_every_probe_asks_the_port_by_its_name() -> None:
    container = engine(template(endpoint()))
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/health"
        assert container[probe]["httpGet"]["port"] in ports


def test_nothing_of_the_cluster_leaks_into_a_pod() -> None:
    made = objects(endpoint())
    pods = [made[k]["spec"]["template"]["spec"] for k in ("deployment", "check-job", "fetch-job")]
    for pod in pods:
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert made["service-account"]["automountServiceAccountToken"] is False


def test_the_engine_is_not_process_one_so_that_it_hears_sigterm() -> None:
    assert template(endpoint())["spec"]["shareProcessNamespace"] is True


def test_the_weights_are_read_only_for_the_engine() -> None:
    pod = template(endpoint())
    mounts = {mount["name"]: mount for mount in engine(pod)["volumeMounts"]}
    assert mounts["torpor-weights"]["readOnly"] is True
    assert engine(pod)["args"][0] == mounts["torpor-weights"]["mountPath"]


def test_the_engine_sees_its_own_weights_and_no_others() -> None:
    pod = template(endpoint())
    (mount,) = [m for m in engine(pod)["volumeMounts"] if m["name"] == "torpor-weights"]
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "torpor-weights"]
    cache = volume["hostPath"]["path"]
    assert f"{cache}/{mount['subPath']}" == mount["mountPath"] == f"{cache}/models/{HASH}"


def test_a_pod_says_whose_it_is_and_which_names_it_answers_to() -> None:
    pod = template(endpoint(model={"name": "llama", "aliases": ["big"]}))
    assert pod["metadata"]["labels"][names.ENDPOINT_UID_LABEL] == "uid-of-tiny"
    assert pod["metadata"]["annotations"][names.SERVED_NAMES] == "llama big @ml/tiny"
    args = engine(pod)["args"]
    served = args[args.index("--served-model-name") + 1 : args.index("--host")]
    assert served == ["llama", "big", "@ml/tiny"]


def test_an_unplaced_endpoint_has_no_pod() -> None:
    with pytest.raises(ValueError, match="ml/tiny is not placed"):
        template(endpoint(), Placement(None))


def hashed(pod: Json) -> str:
    found: str = pod["metadata"]["labels"][names.TEMPLATE_HASH]
    return found


@pytest.mark.parametrize(
    ("changed", "placed", "weights", "size"),
    [
        pytest.param({"model": {"maxLength": 4096}}, PLACED, HASH, BYTES, id="an argument"),
        pytest.param({"engine": {"image": "other"}}, PLACED, HASH, BYTES, id="the image"),
        pytest.param({"template": {"metadata": {"labels": {"a": "b"}}}}, PLACED, HASH, BYTES,
                     id="the user's template"),
        pytest.param({}, replace(PLACED, gpus=2), HASH, BYTES, id="the number of GPUs"),
        pytest.param({}, PLACED, "f" * 32, BYTES, id="the weights"),
    ],
)  # fmt: skip
def test_another_template_has_another_hash(
    changed: Json, placed: Placement, weights: str, size: int
) -> None:
    assert hashed(template(endpoint(**changed), placed, weights, size)) != hashed(
        template(endpoint())
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"scaling": {"maxReplicas": 7, "keepAlive": {"policy": "fixed", "after": "9m"}}},
        {"queue": {"maxRequests": 7}},
        {"prewarm": {"nodes": "none"}},
        {"access": {"keys": [{"name": "a", "sha256": "0" * 64}]}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_is_no_part_of_the_pod_leaves_the_hash_alone(changed: Json) -> None:
    assert hashed(template(endpoint(**changed))) == hashed(template(endpoint()))
    moved = replace(PLACED, nodes=("node-7", "node-8"))
    assert hashed(template(endpoint(), moved)) == hashed(template(endpoint()))


def test_the_hash_is_of_the_template_without_it() -> None:
    pod = template(endpoint())
    mark = pod["metadata"]["labels"].pop(names.TEMPLATE_HASH)
    assert mark == template_hash(pod)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"labels": None},
        {"labels": {names.ENDPOINT_LABEL: "other", names.GPU_COUNT_LABEL: "0"}},
        {"labels": {names.COMPONENT_LABEL: None}},
    ],
    ids=["no metadata", "no labels", "other labels", "a label less"],
)
def test_no_user_template_takes_torpors_own_labels_away(metadata: Any) -> None:
    # The selector would be refused, gateways would not find the pod, and the meter would count other GPUs.
    own = template(endpoint())["metadata"]["labels"]
    made = template(endpoint().model_copy(update={"spec": _with_template(metadata)}))
    assert own.keys() == made["metadata"]["labels"].keys()
    for key in own.keys() - {names.TEMPLATE_HASH}:
        assert made["metadata"]["labels"][key] == own[key]


def _with_template(metadata: Any) -> Any:
    return endpoint().spec.model_copy(update={"template": {"metadata": metadata}})


def test_two_adapters_with_one_content_are_mounted_once() -> None:
    adapters = [{"name": name, "source": f"s3://models/{name}/"} for name in ("one", "two")]
    of = endpoint(model={"adapters": adapters})
    same = Weights(hash="h", bytes=1, parts=(HASH, "b" * 32, "b" * 32), lora_rank=8)
    pod = engine_template(of, PLACED, same, INSTALLATION)["spec"]
    for container in pod["containers"]:
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))


def test_the_companion_sees_no_more_than_the_engine_and_has_no_credentials() -> None:
    model = {"s3": {"secretRef": {"name": "s3"}}}
    for kept, secrets in (("node", False), ("none", False), ("s3", True)):
        pod = template(endpoint(model=model, prewarm={"compileCache": kept}))["spec"]
        companion = next(c for c in pod["containers"] if c["name"] == "companion")
        assert ("secretKeyRef" in str(companion["env"])) is secrets
        (weights,) = [m for m in companion["volumeMounts"] if m["name"] == "torpor-weights"]
        assert weights["subPath"] == f"models/{HASH}"
        assert weights["readOnly"] is True


def folder_of(pod: Json, mount: Json) -> tuple[str, str]:
    """Return what holds a mounted folder, and where in it that folder is."""
    (volume,) = [v for v in pod["volumes"] if v["name"] == mount["name"]]
    kind = next(key for key in volume if key != "name")
    path = str(volume[kind].get("path", ""))
    return kind, f"{path}/{mount.get('subPath', '')}".strip("/")


@pytest.mark.parametrize(
    ("cache", "folder"),
    [
        ({"kind": "hostPath"}, ("hostPath", "var/lib/torpor/weights/compile/ml")),
        ({"kind": "pvc", "claim": "store"}, ("persistentVolumeClaim", "compile/ml")),
        ({"kind": "ephemeral"}, ("emptyDir", "compile/ml")),
    ],
    ids=["a node's folder", "a claim", "its own disk"],
)
def test_compiled_code_is_shared_within_a_namespace_alone(
    cache: Json, folder: tuple[str, str]
) -> None:
    pod = template(endpoint(prewarm={"cache": cache}))["spec"]
    seen = {}
    for container in (*pod["initContainers"], *pod["containers"]):
        at = f"{INSTALLATION.cache_dir}/compile"
        mounts = [m for m in container["volumeMounts"] if m["mountPath"] == at]
        seen[container["name"]] = [folder_of(pod, mount) for mount in mounts]
    assert seen == {"weights": [folder], "engine": [], "companion": [folder]}


def test_a_folder_of_the_nodes_that_pods_share_is_never_a_sub_path() -> None:
    """Kubelets fail one of two pods that make the same `subPath` at once; what is below models/ is there by then."""
    pod = template(endpoint())["spec"]
    containers = [*pod["initContainers"], *pod["containers"]]
    below = {m["subPath"] for c in containers for m in c["volumeMounts"] if "subPath" in m}
    assert below == {f"models/{HASH}"}
    assert all("subPath" not in m for m in pod["initContainers"][0]["volumeMounts"])


def test_nothing_is_mounted_for_compiled_code_that_is_not_kept() -> None:
    assert "torpor-compile-cache" not in str(template(endpoint(prewarm={"compileCache": "none"})))


def test_an_engine_on_a_claim_reads_it_where_it_lies() -> None:
    pod = template(endpoint(model={"source": "pvc://store/models/tiny"}))["spec"]
    engine_container = next(c for c in pod["containers"] if c["name"] == "engine")
    assert engine_container["args"][0] == "/var/lib/torpor/claim/models/tiny"
    assert {"name": "torpor-claim", "mountPath": "/var/lib/torpor/claim", "readOnly": True} in (
        engine_container["volumeMounts"]
    )
