from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.manifests.blueprints import HASH, INSTALLATION, endpoint
from torpor.domain.prewarmjobs import CLAIM, JobKind, JobWanted, Weights
from torpor.manifests.prewarmjobs import Room, collect_job, prewarm_job
from torpor.manifests.weights import weights_digest
from torpor.manifests.workload import owner_reference

FETCH = JobWanted(JobKind.FETCH, 1, "node-1")
LISTED = Weights(hash=HASH, parts=(HASH,))


def job_name(wanted: JobWanted = FETCH, weights: str = HASH, image: str = "", **spec: Any) -> str:
    of = endpoint(**spec)
    install = replace(INSTALLATION, image=image or INSTALLATION.image)
    made = prewarm_job(of, install, wanted, Weights(hash=weights), owner_reference(of))
    return str(made["metadata"]["name"])


def test_every_job_that_does_something_else_has_another_name() -> None:
    # A Job is never changed, so that whatever it does must be in its name.
    all_names = [
        job_name(),
        job_name(replace(FETCH, attempt=2)),
        job_name(replace(FETCH, node="node-2")),
        job_name(weights="f" * 32),
        job_name(image="registry.example.com/torpor:2"),
        job_name(model={"source": "s3://models/other/"}),
        job_name(JobWanted(JobKind.CHECK, 1)),
        job_name(JobWanted(JobKind.RECHECK, 1)),
        job_name(JobWanted(JobKind.IMAGE, 1, "node-1")),
        job_name(JobWanted(JobKind.IMAGE, 1, "node-1"), engine={"image": "other:1"}),
    ]
    assert len(set(all_names)) == len(all_names)
    assert job_name() == all_names[0]


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"source": "s3://models/other/"}},
        {"model": {"s3": {"endpoint": "http://s3.example.com"}}},
        {"model": {"s3": {"secretRef": {"name": "other"}}}},
        {"prewarm": {"cache": {"budget": "1Gi"}}},
        {"model": {"adapters": [{"name": "legal", "source": "s3://models/legal/"}]}},
        {"model": {"draft": {"source": "s3://models/draft/"}}},
        {"model": {"source": "hf://a/b", "hub": {"mirror": "s3://models/hub/"}}},
    ],
    ids=["source", "endpoint", "secret", "budget", "adapters", "draft", "hub"],
)
def test_whatever_the_weights_depend_on_starts_the_listing_over(spec: dict[str, Any]) -> None:
    assert weights_digest(endpoint(**spec)) != weights_digest(endpoint())


def test_what_the_weights_do_not_depend_on_leaves_the_listing_alone() -> None:
    other = endpoint("other", model={"aliases": ["x"], "maxLength": 8})
    assert weights_digest(other) == weights_digest(endpoint())


def test_a_fetch_runs_on_its_node_and_a_check_anywhere() -> None:
    of = endpoint()
    fetch = prewarm_job(of, INSTALLATION, FETCH, LISTED, owner_reference(of))
    check = prewarm_job(of, INSTALLATION, JobWanted(JobKind.CHECK, 1), LISTED, owner_reference(of))
    assert "node-1" in str(fetch["spec"]["template"]["spec"]["affinity"])
    assert "affinity" not in check["spec"]["template"]["spec"]


def test_the_ca_may_be_a_secret() -> None:
    of = endpoint(model={"s3": {"caRef": {"name": "ca", "kind": "Secret", "key": "root.pem"}}})
    pod = prewarm_job(of, INSTALLATION, FETCH, LISTED, owner_reference(of))["spec"]["template"]
    items = [{"key": "root.pem", "path": "ca.crt"}]
    volume = {"secretName": "ca", "items": items, "optional": True}
    assert pod["spec"]["volumes"][1] == {"name": "torpor-s3-ca", "secret": volume}


def test_a_check_never_goes_to_a_node_that_is_not_ready() -> None:
    of = endpoint()
    check = prewarm_job(of, INSTALLATION, JobWanted(JobKind.CHECK, 1), LISTED, owner_reference(of))
    tolerated = check["spec"]["template"]["spec"]["tolerations"]
    assert all(toleration.get("key", "").endswith("/gpu") for toleration in tolerated)


def test_of_the_secret_only_the_three_keys_reach_the_pod() -> None:
    of = endpoint(model={"s3": {"secretRef": {"name": "s3"}}})
    for wanted in (FETCH, JobWanted(JobKind.CHECK, 1)):
        made = prewarm_job(of, INSTALLATION, wanted, LISTED, owner_reference(of))
        (container,) = made["spec"]["template"]["spec"]["containers"]
        refs = {
            e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"] if "valueFrom" in e
        }
        assert {ref["name"] for ref in refs.values()} == {"s3"}
        assert {name: ref.get("optional", False) for name, ref in refs.items()} == {
            "AWS_ACCESS_KEY_ID": False,
            "AWS_SECRET_ACCESS_KEY": False,
            "AWS_SESSION_TOKEN": True,
        }
        assert all(name == ref["key"] for name, ref in refs.items())
        assert "envFrom" not in container


def test_without_a_secret_nothing_is_read_from_one() -> None:
    of = endpoint()
    assert "secretKeyRef" not in str(
        prewarm_job(of, INSTALLATION, FETCH, LISTED, owner_reference(of))
    )


def test_what_the_engine_needs_to_be_let_in_the_prewarm_pods_get_too() -> None:
    theirs = {
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "high",
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "nodeSelector": {"zone": "a"},
        "containers": [{"name": "sidecar", "image": "x"}],
    }
    bare, of = endpoint(), endpoint(template={"spec": theirs})
    for wanted in (FETCH, JobWanted(JobKind.CHECK, 1)):
        before = prewarm_job(bare, INSTALLATION, wanted, LISTED, owner_reference(bare))
        after = prewarm_job(of, INSTALLATION, wanted, LISTED, owner_reference(of))
        old, new = (job["spec"]["template"]["spec"] for job in (before, after))
        assert new["imagePullSecrets"] == theirs["imagePullSecrets"]
        assert new["priorityClassName"] == "high"
        assert new["tolerations"] == [*old["tolerations"], *theirs["tolerations"]]
        added = {"imagePullSecrets", "priorityClassName", "tolerations"}
        assert {k: v for k, v in new.items() if k not in added} == {
            k: v for k, v in old.items() if k not in added
        }


def test_into_a_claim_a_healthy_node_of_the_right_kind_fetches() -> None:
    of = endpoint(prewarm={"cache": {"kind": "pvc", "claim": "weights"}})
    room = Room(near=(("gpu", "l40s"),))
    wanted = JobWanted(JobKind.FETCH, 1, CLAIM)
    made = prewarm_job(of, INSTALLATION, wanted, LISTED, owner_reference(of), room)
    pod = made["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu": "l40s"}
    assert "affinity" not in pod
    assert pod["tolerations"] == [{"operator": "Exists", "effect": "NoSchedule"}]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "weights"}


def test_a_check_attaches_no_claim_that_is_only_a_cache() -> None:
    of = endpoint(prewarm={"cache": {"kind": "pvc", "claim": "weights"}})
    check = prewarm_job(of, INSTALLATION, JobWanted(JobKind.CHECK, 1), LISTED, owner_reference(of))
    assert "weights" not in str(check["spec"]["template"]["spec"]["volumes"])


def test_who_clears_a_node_needs_no_secret_and_leaves_with_torpor() -> None:
    owner = {"kind": "Lease", "uid": "x"}
    made = collect_job(INSTALLATION, "torpor-system", "node-1", Room((HASH,), 7), owner)
    assert made["metadata"]["ownerReferences"] == [owner]
    assert "secretKeyRef" not in str(made)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["prewarm", "collect", "--keep", HASH]
    assert {"name": "TORPOR_CACHE_KEEP_AS_OF", "value": "7"} in container["env"]
