"""The children: created at zero, applied without replicas, repaired on drift; what is not ours is left alone."""

from collections.abc import Callable

import pytest

from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, PODS, Json, until
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

OURS = "torpor"
QUICK = {
    "spec": {
        "containers": [{"name": "engine", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]
    }
}
"""A template that lets a pod end sooner: nobody asks while these endpoints fall asleep."""


def container_of(deployment: Json) -> Json:
    """Return the engine's container of a Deployment."""
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def env_of(deployment: Json) -> dict[str, str]:
    """Return the engine's environment."""
    return {one["name"]: one.get("value", "") for one in container_of(deployment).get("env", ())}


def wait_deployment(
    space: Space, name: str, what: str, holds: Callable[[Json], bool], timeout: float = 30
) -> Json:
    """Wait until an endpoint's Deployment is as it should be."""

    def look() -> Json | None:
        found = space.api.get(space.path(DEPLOYMENTS, name))
        return found if found is not None and holds(found) else None

    return until(f"Deployment {name}: {what}", look, timeout)


def test_a_changed_spec_never_starts_a_pod_and_torpor_never_owns_replicas(space: Space) -> None:
    def quick(switches: dict[str, str] | None = None) -> Json:
        return space.compose("trap", "1s", switches, {"template": QUICK})

    with space.api.watching(space.path(PODS)) as pods:
        space.start("trap", keep_alive="1s", spec={"template": QUICK})
        for step in range(3):
            space.apply(quick({"STANDIN_REPLY_TOKENS": str(step + 1)}))
            wait_deployment(
                space,
                "trap",
                f"step {step}",
                lambda d, n=str(step + 1): env_of(d).get("STANDIN_REPLY_TOKENS") == n,  # type: ignore[misc]
            )
        deployment = space.deployment("trap")
        managers = {e["manager"]: e["fieldsV1"] for e in deployment["metadata"]["managedFields"]}
        assert "f:template" in managers[OURS]["f:spec"]
        assert "f:replicas" not in managers[OURS]["f:spec"]
        assert "f:replicas" in managers["torpor-create"]["f:spec"]
        assert deployment["spec"]["replicas"] == 0
        assert space.chat("trap").status == 200
        space.wait_asleep("trap")
        space.apply(quick())
        deployment = wait_deployment(
            space, "trap", "applied", lambda d: "STANDIN_REPLY_TOKENS" not in env_of(d)
        )
        managers = {e["manager"]: e["fieldsV1"] for e in deployment["metadata"]["managedFields"]}
        assert "f:replicas" not in managers[OURS]["f:spec"]
        assert deployment["spec"]["replicas"] == 0
    engines = {
        pod["metadata"]["uid"]
        for _, _, pod in pods.events
        if pod["metadata"]["labels"]["torpor.dev/component"] == "engine"
    }
    assert len(engines) == 1, "only the request may start a pod"


def test_drift_is_repaired_and_what_others_added_is_left_alone(space: Space) -> None:
    space.start("drift")
    before = space.deployment("drift")
    args = container_of(before)["args"]
    by_hand: list[Json] = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ["--wrong"]},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "wrong:1"},
        {"op": "replace", "path": "/metadata/labels/torpor.dev~1component", "value": "wrong"},
        {"op": "add", "path": "/metadata/labels/team", "value": "blue"},
        {"op": "add", "path": "/metadata/annotations/example.com~1note", "value": "mine"},
    ]
    space.api.patch(space.path(DEPLOYMENTS, "drift"), by_hand, manager="somebody")
    repaired = wait_deployment(
        space,
        "drift",
        "repaired",
        lambda d: (
            container_of(d)["args"] == args
            and d["metadata"]["labels"]["torpor.dev/component"] == "engine"
        ),
    )
    assert container_of(repaired)["image"] == container_of(before)["image"]
    assert repaired["metadata"]["labels"]["team"] == "blue"
    assert repaired["metadata"]["annotations"]["example.com/note"] == "mine"
    assert repaired["spec"]["replicas"] == 0
    space.api.delete(space.path(DEPLOYMENTS, "drift"))
    again = wait_deployment(
        space, "drift", "made again", lambda d: d["metadata"]["uid"] != before["metadata"]["uid"]
    )
    assert again["spec"]["replicas"] == 0


def test_what_leaves_the_spec_leaves_the_deployment(space: Space) -> None:
    space.apply(space.compose("removal", switches={"STANDIN_REPLY_TOKENS": "3"}))
    wait_deployment(space, "removal", "made", lambda d: "STANDIN_REPLY_TOKENS" in env_of(d), 60)
    space.apply(space.compose("removal"))
    wait_deployment(space, "removal", "removed", lambda d: "STANDIN_REPLY_TOKENS" not in env_of(d))


def test_a_foreign_deployment_of_the_same_name_is_reported_and_never_touched(space: Space) -> None:
    labels = {"app": "theirs"}
    foreign: Json = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "taken"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "theirs", "image": "theirs:1"}]},
            },
        },
    }
    space.api.create(space.path(DEPLOYMENTS), foreign)
    before = until(
        "the foreign Deployment is observed",
        lambda: d if (d := space.deployment("taken"))["status"].get("observedGeneration") else None,
        30,
    )
    space.apply(space.compose("taken"))
    refused = space.wait_condition("taken", "Ready", "False", "NameConflict")
    ready = refused.status.condition("Ready")
    assert ready is not None
    assert f"Deployment taken exists in {space.name}" in ready.message
    reply = space.chat("taken")
    assert (reply.status, reply.error["code"]) == (503, "NameConflict")
    assert space.deployment("taken") == before
    space.api.delete(space.path(ENDPOINTS, "taken"))
    until(
        "the endpoint is gone",
        lambda: True if space.api.get(space.path(ENDPOINTS, "taken")) is None else None,
        30,
    )
    assert space.deployment("taken") == before


def test_the_endpoint_carries_no_finalizer_and_no_annotation_of_torpor(space: Space) -> None:
    space.start("clean", keep_alive="1s", spec={"template": QUICK})
    assert space.chat("clean").status == 200
    space.wait_asleep("clean")
    metadata = (space.api.get(space.path(ENDPOINTS, "clean")) or {})["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    owners = [obj["metadata"]["ownerReferences"][0] for obj in (space.deployment("clean"),)]
    assert owners[0]["uid"] == metadata["uid"]


def test_kubectl_scale_keeps_one_warm_and_lets_it_go(space: Space) -> None:
    space.start("warm", keep_alive="1s", spec={"template": QUICK})
    where = ("-n", space.name, "scale", "ie/warm")
    space.torpor.kube.run(*where, "--replicas=1")
    kept = space.wait_condition("warm", "Awake", reason="KeepingWarm")
    awake = kept.status.condition("Awake")
    assert awake is not None
    assert "minReplicas keeps 1 warm" in awake.message
    assert (kept.status.replicas, kept.status.ready_replicas) == (1, 1)
    assert space.chat("warm").status == 200
    space.wait_condition("warm", "Awake", reason="Serving")
    space.wait_condition("warm", "Awake", reason="KeepingWarm")
    assert space.replicas("warm") == 1
    space.torpor.kube.run(*where, "--replicas=0")
    space.wait_asleep("warm")


def test_suspend_puts_to_sleep_refuses_and_is_lifted(space: Space) -> None:
    space.start("halt", keep_alive="1h", spec={"template": QUICK})
    assert space.chat("halt").status == 200
    path = space.path(ENDPOINTS, "halt")
    space.api.patch(path, {"spec": {"scaling": {"suspend": True}}})
    space.wait_condition("halt", "Ready", "False", "Suspended")
    # The gateways hear of it from the same watch as the test, and not necessarily before it.
    assert space.chat_until("halt", 503).error["code"] == "Suspended"
    assert space.wait_asleep("halt").status.cost.per_second == "0"
    space.api.patch(path, {"spec": {"scaling": {"suspend": False}}})
    space.wait_condition("halt", "Ready")
    space.chat_until("halt", 200)


def test_the_template_is_merged_last(space: Space) -> None:
    template = {
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "terminationGracePeriodSeconds": 77,
            "tolerations": [{"key": "mine", "operator": "Exists"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": [
                {
                    "name": "engine",
                    "env": [{"name": "STANDIN_REPLY_TOKENS", "value": "5"}],
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                }
            ],
        },
    }
    space.start("merged", spec={"template": template}, keep_alive="1s")
    deployment = space.deployment("merged")
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["labels"]["torpor.dev/endpoint"] == "merged"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 77
    assert {"mine", "nvidia.com/gpu"} <= {one["key"] for one in pod["spec"]["tolerations"]}
    assert {"scratch", "shm", "torpor-weights"} <= {one["name"] for one in pod["spec"]["volumes"]}
    assert container_of(deployment)["ports"][0]["containerPort"] == 8000
    reply = space.chat("merged", max_tokens=20)
    assert reply.status == 200
    assert reply.body["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("rollout", ["whenIdle", "immediate"])
def test_a_running_endpoint_is_rolled_when_it_should_be(space: Space, rollout: str) -> None:
    def composed(tokens: int, keep_alive: str) -> Json:
        scaling = {"rollout": rollout, "keepAlive": {"policy": "fixed", "after": keep_alive}}
        return space.compose(
            "roll",
            switches={"STANDIN_REPLY_TOKENS": str(tokens)},
            spec={"scaling": scaling, "template": QUICK},
        )

    def answered() -> int:
        reply = space.chat("roll", max_tokens=20)
        assert reply.status == 200, reply.body
        return int(reply.body["usage"]["completion_tokens"])

    space.apply(composed(3, "1h"))
    space.wait_weights("roll")
    assert answered() == 3
    space.wait_condition("roll", "Awake")
    space.apply(composed(7, "1h"))
    if rollout == "whenIdle":
        space.wait_condition("roll", "Reconciling", reason="Progressing")
        assert answered() == 3
        assert env_of(space.deployment("roll"))["STANDIN_REPLY_TOKENS"] == "3"
        space.apply(composed(7, "1s"))
        wait_deployment(space, "roll", "rolled", lambda d: env_of(d)["STANDIN_REPLY_TOKENS"] == "7")
        assert space.replicas("roll") == 0
        assert answered() == 7
    else:
        until("the new engine answers", lambda: True if answered() == 7 else None, 60, every=0.3)
        assert space.replicas("roll") == 1
