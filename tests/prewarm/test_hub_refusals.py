"""What the hub refuses, and what is refused of it: one sentence that says who must do what."""

from typing import Any

import pytest

from dev.hub.server import Answer, Asked, HubServer
from dev.ports import free_port
from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import FaultProxy
from tests.prewarm.hubworld import REPO, in_bucket, model_files
from tests.prewarm.s3server import Bucket

pytestmark = pytest.mark.slow


def _gate(hub: HubServer) -> None:
    hub.repositories[REPO].gated = True
    hub.tokens.add("hf_other")


def _hide(hub: HubServer) -> None:
    hub.repositories[REPO].private = True
    hub.tokens.add("hf_other")


def _limit(hub: HubServer) -> None:
    hub.fault = lambda _, answer: answer.__init__(429, {"Retry-After": "3600"})  # type: ignore[misc]


def _break(hub: HubServer) -> None:
    hub.fault = lambda _, answer: answer.__init__(200, {}, b"<html>hello</html>")  # type: ignore[misc]


def _nothing(_: HubServer) -> None:
    return


REFUSALS: dict[str, tuple[Any, dict[str, Any], str, str, bool]] = {
    "no such repository": (
        _nothing, {"source": "hf://acme/nothing"}, "WeightsBucketNotFound",
        "has no model acme/nothing, or it is private and needs a token: spec.model.hub.tokenRef", False,
    ),
    "private, token of another": (
        _hide, {"hub_token": "hf_other"}, "WeightsBucketNotFound",
        f"has no model {REPO}, or it is private and the token of spec.model.hub.tokenRef may not see it", False,
    ),
    "no such revision": (
        _nothing, {"source": f"hf://{REPO}@v9"}, "WeightsEmpty", "has no revision 'v9'", False,
    ),
    "gated, no token": (
        _gate, {}, "WeightsGated",
        f"{REPO} is gated: an account, whose token spec.model.hub.tokenRef then has to name,", False,
    ),
    "gated, licence not accepted": (
        _gate, {"hub_token": "hf_other"}, "WeightsGated",
        "the account of the token in spec.model.hub.tokenRef must accept its licence at http://", False,
    ),
    "token is none": (
        _nothing, {"hub_token": "hf_expired"}, "WeightsAccessDenied",
        "the token of spec.model.hub.tokenRef is not valid for http://", False,
    ),
    "nobody listens": (
        _nothing, {"hub_endpoint": f"http://127.0.0.1:{free_port()}"}, "WeightsUnreachable",
        "cannot be reached", True,
    ),
    "too many requests": (
        _limit, {}, "WeightsUnreachable", "too many requests of clients without a token (429); it asks to wait 3600 s",
        True,
    ),
    "not a hub": (_break, {}, "WeightsUnreachable", "not the hub's API", False),
    "no mirror": (_nothing, {"hub_mirror": ""}, "WeightsInternal", "spec.model.hub.mirror does not say", False),
    "bad name": (_nothing, {"source": "hf://acme/.."}, "WeightsInternal", "not of the form hf://organisation", False),
    "larger than the budget": (_nothing, {"budget_bytes": 50_000}, "WeightsTooLarge", f"hf://{REPO}@main has", False),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_refusal_of_the_hub_is_told_in_one_sentence(
    case: str, hf: Prewarm, hub: HubServer, bucket: Bucket
) -> None:
    prepare, changed, reason, words, retryable = REFUSALS[case]
    hub.repositories[REPO].commit(model_files())
    prepare(hub)
    result = hf.run("preflight", **changed)
    assert words in result["message"]
    assert (result["reason"], result["retryable"]) == (reason, retryable)
    assert "\n" not in result["message"]
    assert "hf_" not in result["message"]
    assert in_bucket(bucket, "") == {}


def test_a_token_that_was_accepted_reads_a_gated_model(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    files = model_files()
    repository = hub.repositories[REPO]
    repository.gated, repository.accepted = True, {"hf_good"}
    commit = repository.commit(files)
    assert hf.run("preflight", hub_token="hf_good")["reason"] == "Listed"
    assert in_bucket(bucket, f"hub/{REPO}/{commit}/") == files
    assert all(not asked.token for asked in hub.asked if asked.path.startswith("/cdn/"))


def test_a_short_pause_that_the_hub_asks_for_is_made(hf: Prewarm, hub: HubServer) -> None:
    hub.repositories[REPO].commit(model_files())
    limited: list[str] = []

    def limit_once(asked: Asked, answer: Answer) -> None:
        if asked.path not in limited:
            limited.append(asked.path)
            answer.status, answer.headers, answer.body = 429, {"Retry-After": "0"}, b""

    hub.fault = limit_once
    assert hf.run("preflight")["reason"] == "Listed"
    assert len(limited) > 3


def test_what_is_no_checkpoint_is_refused_before_anything_is_copied(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    hub.repositories[REPO].commit({"README.md": b"empty", "onnx/model.onnx": b"x", "a.txt": b"x"})
    result = hf.run("preflight")
    assert result["reason"] == "WeightsNotACheckpoint"
    assert "include no config.json" in result["message"]
    assert in_bucket(bucket, "") == {}


def test_a_key_that_may_not_write_into_the_mirror_is_told_so(
    hf: Prewarm, bucket: Bucket, hub: HubServer
) -> None:
    hub.repositories[REPO].commit(model_files())
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    with FaultProxy(
        bucket.server.port,
        after=lambda asked, answer: answer.replace(403, denied) if asked.method == "PUT" else None,
    ) as proxy:
        result = hf.run("preflight", endpoint=proxy.endpoint)
    assert result["reason"] == "WeightsAccessDenied"
    assert f"may not write s3://{bucket.name}/hub/{REPO}/" in result["message"]
    assert "it needs s3:PutObject" in result["message"]
