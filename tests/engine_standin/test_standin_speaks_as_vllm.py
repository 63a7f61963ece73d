"""The stand-in's answers have the form of real vLLM's, which `dev/vllm/recorded.json` keeps."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from dev.engine.standin.checksum import checksum_folder
from dev.vllm.conversation import QUESTIONS, RECORDED, Question

RECORDING: dict[str, Any] = json.loads(RECORDED.read_text())["replies"]

ORDINARY = [question for question in QUESTIONS if question.name != "metrics"]


@pytest.mark.parametrize("asked", ORDINARY, ids=[question.name for question in ORDINARY])
def test_an_answer_has_the_form_of_vllms(standin: Any, asked: Question) -> None:
    assert asked.send("127.0.0.1", standin.port).form() == RECORDING[asked.name]


def test_metrics_are_a_part_of_vllms_with_the_same_kind_help_and_labels(standin: Any) -> None:
    asked = next(question for question in QUESTIONS if question.name == "metrics")
    form = asked.send("127.0.0.1", standin.port).form()
    known = RECORDING["metrics"]
    assert form["content_type"] == known["content_type"]
    assert form["body"] == {name: known["body"].get(name) for name in form["body"]}
    assert {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds",
        "vllm:e2e_request_latency_seconds",
    } <= set(form["body"])


def test_the_official_client_streams_a_chat_that_carries_the_weights_checksum(
    standin: Any,
) -> None:
    with openai.OpenAI(base_url=f"{standin.url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    spoken = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert spoken == "You said: hello"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(chunks) - 2
    assert chunks[-1].system_fingerprint == checksum_folder(standin.log.parent / "model")


def test_the_official_client_gets_vllms_error_for_an_unknown_model(standin: Any) -> None:
    with (
        openai.OpenAI(base_url=f"{standin.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.NotFoundError, match="The model `nope` does not exist"),
    ):
        client.completions.create(model="nope", prompt="hello")


def test_tokens_of_a_text_spell_the_text_again(standin: Any) -> None:
    told = "Grüße aus dem Schlaf 🐻, said the bear\n"
    tokens = httpx.post(f"{standin.url}/tokenize", json={"prompt": told}).json()
    assert tokens["count"] == len(tokens["tokens"])
    spelled = httpx.post(f"{standin.url}/detokenize", json={"tokens": tokens["tokens"]})
    assert spelled.json() == {"prompt": told}


def test_embeddings_depend_on_the_text_alone(standin: Any) -> None:
    asked = {"model": "tiny", "input": ["bear", "bear", "hare"], "dimensions": 8}
    told = httpx.post(f"{standin.url}/v1/embeddings", json=asked).json()
    one, same, other = (entry["embedding"] for entry in told["data"])
    assert one == same != other
    assert len(one) == 8
    assert sum(value * value for value in one) == pytest.approx(1.0)


def test_usage_lists_cached_tokens_when_the_flag_asks_for_it(start: Callable[..., Any]) -> None:
    standin = start("--enable-prompt-tokens-details").wait_healthy()
    details = standin.chat().json()["usage"]["prompt_tokens_details"]
    assert details == {"cached_tokens": 0, "created_cache_tokens": 0, "multimodal_tokens": None}


def test_a_client_that_sends_chunks_and_waits_for_100_is_understood(standin: Any) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"model": "tiny", '
        yield b'"prompt": "a", "max_tokens": 1}'

    headers = {"content-type": "application/json", "expect": "100-continue"}
    told = httpx.post(f"{standin.url}/v1/completions", content=pieces(), headers=headers)
    assert told.json()["usage"]["completion_tokens"] == 1
