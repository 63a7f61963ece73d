"""What torpor and the stand-in take for granted of vLLM, asked of the installed one."""

import json
import signal
from typing import Any

import httpx
import pytest

from dev.vllm.conversation import QUESTIONS, RECORDED, Question
from dev.vllm.layout import VERSION
from dev.vllm.server import Server

pytestmark = pytest.mark.engine

RECORDING: dict[str, Any] = json.loads(RECORDED.read_text())


def test_the_recording_is_of_the_installed_version() -> None:
    assert RECORDING["vllm"] == VERSION
    assert set(RECORDING["replies"]) == {question.name for question in QUESTIONS}


@pytest.mark.parametrize("asked", QUESTIONS, ids=[question.name for question in QUESTIONS])
def test_vllm_answers_as_it_was_recorded(vllm: Server, asked: Question) -> None:
    port = int(vllm.url.rsplit(":", 1)[1])
    assert asked.send("127.0.0.1", port).form() == RECORDING["replies"][asked.name]


def test_greedy_text_of_the_tiny_model_is_always_the_same(vllm: Server) -> None:
    body = {"model": "tiny", "prompt": "Bears sleep", "max_tokens": 12, "temperature": 0}
    told = [httpx.post(f"{vllm.url}/v1/completions", json=body, timeout=60).json() for _ in "ab"]
    assert told[0]["choices"] == told[1]["choices"]
    assert told[0]["usage"]["completion_tokens"] == 12


def test_a_stream_outlives_sigterm_and_new_work_is_refused_meanwhile(vllm: Server) -> None:
    """Last in this file: it ends the server."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Good night"}],
        "stream": True,
        "ignore_eos": True,
        "max_tokens": 900,
    }
    chat = f"{vllm.url}/v1/chat/completions"
    with httpx.stream("POST", chat, json=body, timeout=120) as response:
        lines = (line for line in response.iter_lines() if line)
        next(lines)
        vllm.process.send_signal(signal.SIGTERM)
        for line in lines:
            if "shutdown triggered" in vllm.log.read_text():
                break
            assert line != "data: [DONE]", "the stream ended before the signal was heard"
        refused = httpx.post(chat, json={**body, "stream": False}, timeout=30)
        health = httpx.get(f"{vllm.url}/health", timeout=30)
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]
    assert refused.status_code == 500
    assert refused.json()["error"]["message"] == "cannot schedule new futures after shutdown"
    assert health.status_code == 200
    assert vllm.process.wait(90) == 0
