"""How the stand-in starts, stops and breaks: as vLLM does, where a switch asks for it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

FINISHED = "vllm:request_success_total"


def chunks(response: httpx.Response) -> Iterator[str]:
    return (line for line in response.iter_lines() if line)


@pytest.fixture
def streaming(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Opens a stream that would last for minutes, or as many tokens as given."""

    def begin(standin: Any, tokens: int = 3000) -> Any:
        body = ask(stream=True, ignore_eos=True, max_tokens=tokens)
        return httpx.stream("POST", f"{standin.url}/v1/chat/completions", json=body, timeout=20)

    return begin


def test_the_port_is_closed_then_health_is_503_then_200(start: Callable[..., Any]) -> None:
    standin = start(IMPORT_SECONDS=0.6, LOAD_SECONDS=0.6)
    seen: list[int | None] = []

    def healthy() -> bool:
        status = standin.health()
        if status not in seen:
            seen.append(status)
        return bool(status == 200)

    standin.wait_until(healthy)
    assert seen == [None, 503, 200]


def test_nothing_is_answered_before_the_model_is_loaded(start: Callable[..., Any]) -> None:
    standin = start(LOAD_SECONDS=60)
    standin.wait_until(lambda: standin.health() == 503)
    assert standin.chat().status_code == 503
    standin.process.terminate()
    assert standin.wait_exit() == 0


def test_a_deaf_start_loses_the_signal_and_serves_on(start: Callable[..., Any]) -> None:
    standin = start(LOAD_SECONDS=1, DEAF_START=1)
    standin.wait_until(lambda: standin.health() == 503)
    standin.process.terminate()
    standin.wait_healthy()
    assert "a signal is lost" in standin.said()
    assert standin.chat().status_code == 200
    standin.process.terminate()
    assert standin.wait_exit() == 0


def test_weights_too_large_for_the_gpu_end_in_vllms_out_of_memory_error(
    start: Callable[..., Any],
) -> None:
    standin = start(VRAM_BYTES=1_000_000)
    assert standin.wait_exit() == 1
    assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate" in standin.said()
    assert standin.last_line().startswith("RuntimeError: Engine core initialization failed.")


def test_two_gpus_hold_what_one_cannot(start: Callable[..., Any]) -> None:
    start("--tensor-parallel-size", "2", VRAM_BYTES=1_000_000).wait_healthy()


def test_a_context_longer_than_the_checkpoints_is_refused(start: Callable[..., Any]) -> None:
    standin = start("--max-model-len", "8k")
    assert standin.wait_exit() == 1
    assert "User-specified max_model_len (8000) is greater than" in standin.last_line()
    assert "max_position_embeddings=4096" in standin.last_line()


def test_a_folder_without_a_checkpoint_is_refused(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    standin = start(model=tmp_path / "nothing")
    assert standin.wait_exit() == 1
    assert "Invalid repository ID or local directory specified" in standin.last_line()


@pytest.mark.parametrize("when", ["at-start", "after-load"])
def test_a_crash_before_it_is_healthy_ends_with_the_last_words(
    start: Callable[..., Any], when: str
) -> None:
    standin = start(CRASH=when, LAST_WORDS="ValueError: the bear is awake")
    assert standin.wait_exit() == 1
    assert standin.last_line() == "ValueError: the bear is awake"


def test_a_crash_on_request_breaks_the_stream_after_its_first_token(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start(CRASH="on-request", TOKENS_PER_SECOND=10).wait_healthy()
    seen: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError), streaming(standin) as response:
        seen.extend(chunks(response))
    assert len(seen) == 2
    assert standin.wait_exit() == 137


def test_an_engine_that_dies_says_so_turns_unhealthy_and_exits(start: Callable[..., Any]) -> None:
    standin = start(CRASH="engine-dies", TOKENS_PER_SECOND=100).wait_healthy()
    told = standin.chat()
    assert told.status_code == 500
    assert told.json()["error"]["message"].startswith("EngineCore encountered an issue.")
    assert standin.health() in (503, None)
    assert standin.wait_exit() == 1


def test_a_stream_outlives_sigterm_and_new_work_is_refused_meanwhile(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start("--shutdown-timeout", "60", TOKENS_PER_SECOND=100).wait_healthy()
    with streaming(standin, tokens=150) as response:
        lines = chunks(response)
        next(lines)
        standin.process.send_signal(signal.SIGTERM)
        standin.wait_until(lambda: "mode=drain" in standin.said())
        refused = standin.chat()
        assert refused.status_code == 500
        assert refused.json()["error"]["message"] == "cannot schedule new futures after shutdown"
        assert standin.health() == 200
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]
    assert len(rest) == 151
    assert standin.wait_exit() == 0


def test_a_second_sigterm_changes_nothing(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start("--shutdown-timeout", "60", TOKENS_PER_SECOND=100).wait_healthy()
    with streaming(standin, tokens=100) as response:
        lines = chunks(response)
        next(lines)
        standin.process.terminate()
        standin.wait_until(lambda: "mode=drain" in standin.said())
        standin.process.terminate()
        assert list(lines)[-1] == "data: [DONE]"
    assert standin.wait_exit() == 0


def test_without_a_shutdown_timeout_a_stream_is_aborted(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start(TOKENS_PER_SECOND=5).wait_healthy()
    with streaming(standin) as response:
        lines = chunks(response)
        next(lines)
        standin.process.terminate()
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"abort"' in rest[-2]
    assert standin.wait_exit() == 0


def test_after_the_shutdown_timeout_a_stream_is_silent_until_its_client_leaves(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start("--shutdown-timeout", "1", TOKENS_PER_SECOND=50).wait_healthy()
    with streaming(standin) as response:
        lines = chunks(response)
        next(lines)
        standin.process.terminate()
        standin.wait_until(lambda: "force killing" in standin.said())
        assert standin.health() is None
        assert standin.process.poll() is None
    assert standin.wait_exit() == 0


def test_a_client_who_leaves_frees_its_place(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start(TOKENS_PER_SECOND=20).wait_healthy()
    with streaming(standin) as response:
        lines = chunks(response)
        next(lines)
        assert standin.metric("vllm:num_requests_running") == 1
    standin.wait_until(lambda: standin.metric("vllm:num_requests_running") == 0)
    assert standin.metric(FINISHED + '{finished_reason="abort"') == 1
    assert standin.metric("vllm:kv_cache_usage_perc") == 0


def test_requests_beyond_the_slots_wait(
    start: Callable[..., Any], streaming: Callable[..., Any]
) -> None:
    standin = start("--max-num-seqs", "1", TOKENS_PER_SECOND=20).wait_healthy()
    with streaming(standin) as first:
        lines = chunks(first)
        next(lines)
        with streaming(standin) as second:
            standin.wait_until(lambda: standin.metric("vllm:num_requests_waiting") == 1)
            assert standin.metric("vllm:num_requests_running") == 1
            first.close()
            next(chunks(second))


def test_tokens_are_counted_as_usage_says(start: Callable[..., Any]) -> None:
    standin = start(REPLY_TOKENS=25, TOKENS_PER_SECOND=0).wait_healthy()
    usage = [standin.chat().json()["usage"] for _ in range(3)]
    assert [entry["completion_tokens"] for entry in usage] == [25, 25, 25]
    assert standin.metric("vllm:generation_tokens_total") == 75
    assert standin.metric("vllm:prompt_tokens_total") == sum(u["prompt_tokens"] for u in usage)
    assert standin.metric(FINISHED + '{finished_reason="stop"') == 3


def test_flags_it_does_not_know_are_named_and_ignored(start: Callable[..., Any]) -> None:
    standin = start("--gpu-memory-utilization", "0.9", "--enforce-eager").wait_healthy()
    assert "ignores: --gpu-memory-utilization 0.9 --enforce-eager" in standin.said()


def test_a_switch_that_does_not_exist_is_refused(start: Callable[..., Any]) -> None:
    standin = start(LAOD_SECONDS=3)
    assert standin.wait_exit() == 2
    assert "STANDIN_LAOD_SECONDS" in standin.last_line()


def test_a_switch_that_cannot_be_read_is_refused(start: Callable[..., Any]) -> None:
    standin = start(CRASH="tomorrow")
    assert standin.wait_exit() == 2
    assert "at-start, after-load, on-request, engine-dies" in standin.last_line()
