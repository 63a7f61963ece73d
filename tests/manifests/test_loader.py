"""Flags for adapters and drafts, and where engines keep what they compile."""

import json
from typing import Any

import pytest

from torpor.api.endpoint import DraftMethod
from torpor.manifests.compilecache import compile_env, compile_key, compile_settings
from torpor.manifests.loader import LORA_RANKS, draft_args, lora_args


def after(args: list[str], flag: str) -> str:
    return args[args.index(flag) + 1]


def test_no_adapters_need_no_flags() -> None:
    assert lora_args([], 16) == []


def test_adapters_are_named_with_their_folders_in_order() -> None:
    args = lora_args([("legal", "/w/a"), ("org/med:1", "/w/b")], 16)
    assert args[args.index("--lora-modules") + 1 :] == ["legal=/w/a", "org/med:1=/w/b"]
    assert "--enable-lora" in args


@pytest.mark.parametrize(
    ("rank", "flag"), [(1, "8"), (8, "8"), (9, "16"), (17, "32"), (300, "320"), (512, "512")]
)
def test_a_rank_is_rounded_up_to_one_that_vllm_takes(rank: int, flag: str) -> None:
    assert after(lora_args([("a", "/a")], rank), "--max-lora-rank") == flag


def test_a_rank_beyond_all_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="rank 513; vLLM takes at most 512"):
        lora_args([("a", "/a")], LORA_RANKS[-1] + 1)


@pytest.mark.parametrize(("count", "in_batch"), [(1, "1"), (4, "4"), (64, "4")])
def test_a_batch_mixes_a_few_adapters_and_memory_holds_all(count: int, in_batch: str) -> None:
    args = lora_args([(f"a{i}", f"/a{i}") for i in range(count)], 8)
    assert after(args, "--max-loras") == in_batch
    assert after(args, "--max-cpu-loras") == str(count)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (DraftMethod.DRAFT_MODEL, "draft_model"),
        (DraftMethod.EAGLE, "eagle"),
        (DraftMethod.EAGLE3, "eagle3"),
        (DraftMethod.MTP, "mtp"),
    ],
)
def test_every_way_to_draft_has_vllms_own_name(method: DraftMethod, name: str) -> None:
    flag, config = draft_args("/w/draft", method, 3)
    assert flag == "--speculative-config"
    assert json.loads(config) == {
        "method": name,
        "model": "/w/draft",
        "num_speculative_tokens": 3,
    }


def test_every_method_of_the_api_is_known() -> None:
    assert all(draft_args("/d", method, 1) for method in DraftMethod)


def test_every_compile_cache_has_a_folder_of_its_own_below_one() -> None:
    values = [variable["value"] for variable in compile_env("/c")]
    assert len(set(values)) == len(values)
    assert all(value.startswith("/c/") for value in values)


def test_no_variable_differs_between_pods() -> None:
    assert all(set(variable) == {"name", "value"} for variable in compile_env())


KEY: dict[str, Any] = {
    "namespace": "team",
    "image": "vllm@sha256:1",
    "gpu_class": "h100",
    "gpus": 1,
    "args": ["/w", "--seed", "1"],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "weights_hash": "0" * 32,
}


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "other"},
        {"image": "vllm@sha256:2"},
        {"gpu_class": "l4"},
        {"gpus": 2},
        {"args": ["/w", "--seed", "2"]},
        {"env": [{"name": "A", "value": "2"}]},
        {"weights_hash": "1" * 32},
        {"compile_dir": "/elsewhere"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_could_change_the_machine_code_changes_the_key(change: dict[str, Any]) -> None:
    assert compile_key(**KEY) != compile_key(**{**KEY, **change})


@pytest.mark.parametrize(
    "args",
    [
        ["/w", "--served-model-name", "a", "b", "--host", "::", "--port", "1", "--seed", "1"],
        ["/w", "--seed", "1", "--safetensors-load-strategy", "prefetch"],
        ["/w", "--safetensors_load_strategy=prefetch", "--seed", "1", "--shutdown-timeout", "60"],
    ],
)
def test_names_addresses_and_the_way_of_loading_do_not_change_the_key(args: list[str]) -> None:
    assert compile_key(**KEY) == compile_key(**{**KEY, "args": args})


@pytest.mark.parametrize(
    "args",
    [
        ["/w", "--served-model-name", "a"],
        ["/w", "--port", "1", "--seed", "1", "--enforce-eager"],
        ["/w", "--port-like", "--seed", "1"],
        ["/w", "--seed", "1", "--served-model-name", "a", "-tp", "2"],
        ["/w", "--load-format", "bitsandbytes", "--seed", "1"],
    ],
)
def test_what_stands_beside_them_still_changes_the_key(args: list[str]) -> None:
    assert compile_key(**KEY) != compile_key(**{**KEY, "args": args})


def test_the_order_of_variables_does_not_change_the_key() -> None:
    assert compile_key(**KEY) == compile_key(**{**KEY, "env": list(reversed(KEY["env"]))})


def test_a_prewarm_container_is_told_only_what_is_set() -> None:
    assert compile_settings("k", compile_dir="/c") == [
        {"name": "TORPOR_COMPILE_KEY", "value": "k"},
        {"name": "TORPOR_COMPILE_DIR", "value": "/c"},
    ]
    assert compile_settings("k", "s3", "/c")[-1] == {"name": "TORPOR_COMPILE_STORE", "value": "s3"}
