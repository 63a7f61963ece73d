"""A model with its drafts and adapters: listed together, fetched one after the other, named when one is wrong."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import FaultProxy
from tests.prewarm.s3server import Bucket, safetensors
from torpor.domain.artifacts import read_rank
from torpor.domain.fetching import Refusal, bundle_hash
from torpor.prewarm import proof
from torpor.prewarm.artifacts import Listed
from torpor.prewarm.report import MOST_RESULT_BYTES, write_result
from torpor.prewarm.results import WEAKEST_LAST, Done, describe_done


def put_adapter(
    bucket: Bucket,
    prefix: str,
    rank: int = 16,
    *,
    checksum: str | None = "crc64nvme",
    **config: Any,
) -> dict[str, bytes]:
    files = {
        "adapter_config.json": json.dumps({"peft_type": "LORA", "r": rank, **config}).encode(),
        "adapter_model.safetensors": safetensors(os.urandom(4000)),
    }
    for key, body in files.items():
        bucket.put(prefix + key, body, checksum=checksum)
    return files


def extras(bucket: Bucket, *entries: tuple[str, str, str]) -> str:
    return json.dumps(
        [
            {"name": name, "kind": kind, "source": f"s3://{bucket.name}/{place}"}
            for name, kind, place in entries
        ]
    )


def test_a_model_with_a_draft_and_adapters_is_listed_and_fetched_as_one(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    contents = [
        bucket.put_checkpoint("llama/", shard_bytes=50_000),
        bucket.put_checkpoint("small/", shard_bytes=5_000),
        put_adapter(bucket, "adapters/legal/", 16),
        put_adapter(bucket, "adapters/code/", 8, rank_pattern={"q_proj": 64}),
    ]
    both = (("legal", "adapter", "adapters/legal/"), ("code", "adapter", "adapters/code"))
    told = extras(bucket, ("guess", "draft", "small/"), *both)
    listed = prewarm.run("preflight", extras=told)
    assert listed["reason"] == "Listed"
    assert len(set(listed["parts"])) == 4
    assert listed["hash"] == bundle_hash(listed["parts"])
    places = ("llama/", "small/", "adapters/legal/", "adapters/code/")
    assert listed["sources"] == [f"s3://{bucket.name}/{place}" for place in places]
    assert listed["source"] == listed["sources"][0]
    assert listed["files"] == sum(len(files) for files in contents)
    assert listed["bytes"] == sum(len(body) for files in contents for body in files.values())
    assert listed["loraRank"] == 64
    flags = [word for name in listed["parts"] for word in ("--hash", name)]
    fetched = prewarm.run("fetch", *flags, extras=told)
    assert (fetched["reason"], fetched["verified"]) == ("Ready", "crc64nvme")
    for key in ("hash", "parts", "files", "bytes"):
        assert fetched[key] == listed[key]
    for name, files in zip(listed["parts"], contents, strict=True):
        total = sum(map(len, files.values()))
        prewarm.assert_holds({"hash": name, "files": len(files), "bytes": total}, files)
    with FaultProxy(bucket.server.port) as proxy:
        hit = prewarm.run("ensure", *flags, extras=told, endpoint=proxy.endpoint)
    assert (hit["reason"], hit["hash"], hit["parts"]) == ("Hit", listed["hash"], listed["parts"])
    assert proxy.asked == []


def test_only_what_is_missing_is_fetched(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    adapter = put_adapter(bucket, "adapters/legal/")
    told = extras(bucket, ("legal", "adapter", "adapters/legal/"))
    with FaultProxy(bucket.server.port) as proxy:
        prewarm.settings = prewarm.settings._replace(endpoint=proxy.endpoint)
        model = prewarm.run("fetch")
        parts = prewarm.run("preflight", extras=told)["parts"]
        assert parts[0] == model["hash"]
        before = len(proxy.asked)
        both = prewarm.run("ensure", "--hash", parts[0], "--hash", parts[1], extras=told)
        asked = proxy.asked[before:]
    assert both["reason"] == "Ready"
    assert f"fetched {sum(map(len, adapter.values())) / 1024:.1f} KiB in 2 files" in both["message"]
    assert asked
    assert all("/llama/" not in one.target for one in asked)


def test_together_they_are_as_well_verified_as_the_weakest(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    put_adapter(bucket, "adapters/legal/", checksum=None)
    told = extras(bucket, ("legal", "adapter", "adapters/legal/"))
    assert prewarm.run("fetch", extras=told)["verified"] == "md5-etag"
    assert WEAKEST_LAST == proof.METHODS


def test_a_changed_adapter_is_named(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    put_adapter(bucket, "adapters/legal/")
    told = extras(bucket, ("legal", "adapter", "adapters/legal/"))
    parts = prewarm.run("preflight", extras=told)["parts"]
    put_adapter(bucket, "adapters/legal/", 32)
    result = prewarm.run("fetch", "--hash", parts[0], "--hash", parts[1], extras=told)
    assert result["reason"] == "WeightsChanged"
    assert result["message"].startswith(
        f"adapter legal: s3://{bucket.name}/adapters/legal/ changed"
    )


def _nothing(_: Bucket) -> None:
    return


def _model(bucket: Bucket) -> None:
    bucket.put("adapters/legal/config.json", b"{}")


def _no_weights(bucket: Bucket) -> None:
    bucket.put("adapters/legal/adapter_config.json", b'{"r": 8}')


def _cut(bucket: Bucket) -> None:
    bucket.put("adapters/legal/adapter_config.json", b'{"r": 8}')
    bucket.put("adapters/legal/adapter_model.safetensors", safetensors(b"x" * 100)[:-1])


def _no_rank(bucket: Bucket) -> None:
    put_adapter(bucket, "adapters/legal/")
    bucket.put("adapters/legal/adapter_config.json", b'{"r": "many"}')


def _other_kind(bucket: Bucket) -> None:
    put_adapter(bucket, "adapters/legal/", peft_type="PREFIX_TUNING")


def _no_json(bucket: Bucket) -> None:
    put_adapter(bucket, "adapters/legal/")
    bucket.put("adapters/legal/adapter_config.json", b"[")


BAD: dict[str, tuple[Callable[[Bucket], None], str, str]] = {
    "nothing": (_nothing, "WeightsEmpty", "holds no object"),
    "a whole model": (_model, "WeightsNotACheckpoint", "(config.json is there: is it a whole model?)"),
    "no weights": (_no_weights, "WeightsNotACheckpoint", "neither adapter_model.safetensors nor adapter_model.bin"),
    "cut off": (_cut, "WeightsCorrupt", "adapter_model.safetensors has"),
    "no rank": (_no_rank, "WeightsCorrupt", "has no rank: r must be a whole number"),
    "not LoRA": (_other_kind, "WeightsNotACheckpoint", "of type 'PREFIX_TUNING'"),
    "no JSON": (_no_json, "WeightsCorrupt", "adapter_config.json is not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_bad_adapter_is_named_with_what_is_wrong(
    case: str, prewarm: Prewarm, bucket: Bucket
) -> None:
    prepare, reason, words = BAD[case]
    bucket.put_checkpoint("llama/")
    prepare(bucket)
    told = extras(bucket, ("legal", "adapter", "adapters/legal/"))
    result = prewarm.run("preflight", extras=told)
    assert result["message"].startswith("adapter legal: ")
    assert words in result["message"]
    assert result["reason"] == reason


def test_a_draft_must_be_a_checkpoint_and_is_named(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    put_adapter(bucket, "small/")
    result = prewarm.run("preflight", extras=extras(bucket, ("guess", "draft", "small/")))
    assert result["message"].startswith("draft guess: s3://")
    assert "include no config.json" in result["message"]


def test_together_they_must_fit_the_budget(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    bucket.put_checkpoint("small/")
    told = extras(bucket, ("guess", "draft", "small/"))
    assert prewarm.run("preflight", budget_bytes=500_000)["reason"] == "Listed"
    result = prewarm.run("preflight", extras=told, budget_bytes=500_000)
    assert result["reason"] == "WeightsTooLarge"
    assert "/llama/ with 1 more artifacts has 782.3 KiB" in result["message"]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[",
        "[1]",
        '[{"name": "x", "kind": "model", "source": "s3://b/x"}]',
        '[{"name": "", "kind": "draft"}]',
    ],
)
def test_extras_that_cannot_be_read_are_refused(text: str, prewarm: Prewarm) -> None:
    result = prewarm.run("preflight", extras=text)
    assert result["reason"] == "WeightsInternal"
    assert "TORPOR_EXTRAS is not a JSON list" in result["message"]


def test_as_many_hashes_as_artifacts_are_needed(prewarm: Prewarm, bucket: Bucket) -> None:
    told = extras(bucket, ("legal", "adapter", "adapters/legal/"))
    result = prewarm.run("fetch", "--hash", "0" * 32, extras=told)
    assert "1 hashes were given for 2 artifacts" in result["message"]


def test_the_results_of_64_adapters_fit_into_the_termination_log(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/", shard_bytes=1000)
    long = "a-rather-long-name-of-an-adapter-as-people-give-them"
    put_adapter(bucket, f"adapters/{long}/")
    told = extras(
        bucket, *((f"{long}-{number}", "adapter", f"adapters/{long}/") for number in range(64))
    )
    listed = prewarm.run("preflight", extras=told)
    assert len(listed["parts"]) == 65
    assert "sources" not in listed
    log = prewarm.folder / "termination-log"
    assert log.stat().st_size <= MOST_RESULT_BYTES
    done = [
        Done(name, 10_000, 10**12, "size-only", "2026-01-01T00:00:00Z") for name in listed["parts"]
    ]
    for parts in (done, [one._replace(hit=False, moved_bytes=10**12, seconds=1e5) for one in done]):
        write_result(str(log), describe_done(parts))
        assert log.stat().st_size <= MOST_RESULT_BYTES
        assert len(json.loads(log.read_text())["parts"]) == 65


def test_a_message_gives_way_to_the_lists(prewarm: Prewarm) -> None:
    log = prewarm.folder / "termination-log"
    message = 'a "quoted" ä sentence ' * 300
    write_result(str(log), {"reason": "Listed", "parts": ["0" * 32] * 65, "message": message})
    assert MOST_RESULT_BYTES - 10 < log.stat().st_size <= MOST_RESULT_BYTES
    assert message.startswith(json.loads(log.read_text())["message"])


def test_more_moving_branches_than_a_result_can_name_are_refused() -> None:
    from torpor.domain.artifacts import Artifact, ArtifactKind
    from torpor.prewarm.artifacts import describe_listed
    from torpor.prewarm.failure import FetchFailure
    from torpor.prewarm.preflight import Listing

    def listed(number: int, commit: str) -> list[Listed]:
        artifact = Artifact("x", ArtifactKind.ADAPTER, "hf://acme/x")
        return [
            Listed(artifact, "s3://b/" + "x" * 90, commit, Listing((), "0" * 32, 1, 8))
        ] * number

    with pytest.raises(FetchFailure, match="name commits"):
        describe_listed(listed(65, "a" * 40))
    assert len(describe_listed(listed(40, "a" * 40))["commits"]) == 40
    assert "commits" not in describe_listed(listed(65, ""))


def test_the_rank_is_the_largest_that_any_layer_has() -> None:
    assert read_rank("s3://b/x/", b'{"r": 8}') == 8
    assert read_rank("s3://b/x/", b'{"r": 8, "rank_pattern": {"a": 4, "b": 32}}') == 32
    assert isinstance(read_rank("s3://b/x/", b'{"r": true}'), Refusal)
