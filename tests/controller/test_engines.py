from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from torpor.controller.engines import Engines, count_of, load_of
from torpor.domain.counting import Count
from torpor.domain.engineload import EngineLoad
from torpor.domain.observation import PodSeen, Tokens
from torpor.manifests import names

RECORDED = Path(__file__).with_name("vllm-metrics.txt").read_text()
HERE = "127.83.12.7"
"""An address of this machine that nobody else uses: the engine's port is the same everywhere."""


def with_requests(running: float, waiting: float) -> str:
    page = RECORDED.replace("num_requests_running{engine=\"0\",model_name=\"tiny\"} 0.0",
                            f"num_requests_running{{engine=\"0\",model_name=\"tiny\"}} {running}")  # fmt: skip
    return page.replace("num_requests_waiting{engine=\"0\",model_name=\"tiny\"} 0.0",
                        f"num_requests_waiting{{engine=\"0\",model_name=\"tiny\"}} {waiting}")  # fmt: skip


@pytest.mark.parametrize(("running", "waiting"), [(0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_what_an_engine_runs_queues_and_holds(running: float, waiting: float) -> None:
    assert load_of(with_requests(running, waiting)) == EngineLoad(int(running), int(waiting), 0.25)


def test_an_engine_without_these_counters_is_idle() -> None:
    assert load_of("# TYPE up gauge\nup 1\n") == EngineLoad()
    assert load_of("") == EngineLoad()


def test_the_parts_of_an_engine_add_up_and_their_caches_are_averaged() -> None:
    page = "".join(
        f'vllm:num_requests_running{{engine="{k}"}} {k + 1}\n'
        f'vllm:num_requests_waiting{{engine="{k}"}} 2\n'
        f'vllm:gpu_cache_usage_perc{{engine="{k}"}} 0.{4 + k}\n'
        for k in range(2)
    )
    load = load_of(page)
    assert (load.running, load.waiting) == (3, 4)
    assert load.kv_use == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("said", "share"), [("NaN", 0.0), ("+Inf", 0.0), ("1.7", 1.0), ("-1", 0.0)]
)
def test_a_cache_is_between_empty_and_full(said: str, share: float) -> None:
    assert load_of(f"vllm:kv_cache_usage_perc {said}\n").kv_use == share


def test_what_an_engine_has_counted() -> None:
    assert count_of(with_requests(2.0, 3.0)) == Count(5, 9, Tokens(1234, 567))
    parts = "".join(
        f'vllm:num_requests_running{{engine="{k}"}} 1\nvllm:prompt_tokens_total{{engine="{k}"}} 4\n'
        f'vllm:prefix_cache_hits_total{{engine="{k}"}} 2\n'
        for k in range(2)
    )
    assert count_of(parts) == Count(2, 0, Tokens(8, 0, 4))
    assert count_of(parts + "vllm:prompt_tokens_cached_total 3\n").tokens.cached == 3


@pytest.mark.parametrize("page", ["", "up 1\n", "vllm:num_requests_running NaN\n"])
def test_an_engine_that_does_not_tell_what_it_runs_has_counted_nothing_that_is_known(
    page: str,
) -> None:
    with pytest.raises((ValueError, OverflowError)):
        count_of(page)


class Answering:
    def __init__(self, page: str, status: int = 200) -> None:
        self._page, self._status = page, status

    async def __aenter__(self) -> None:
        async def answer(_: web.BaseRequest) -> web.Response:
            return web.Response(text=self._page, status=self._status)

        self._runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, HERE, names.ENGINE_PORT).start()

    async def __aexit__(self, *_: Any) -> None:
        await self._runner.cleanup()


POD = PodSeen("a", "a", 1, "l40s", ip=HERE, ready=True)


@pytest.mark.parametrize(
    ("page", "status", "busy"),
    [
        (with_requests(2, 3), 200, 5),
        (with_requests(2, 3), 503, 0),
        ("no metrics { at all", 200, 0),
        ("vllm:num_requests_running NaN\n", 200, 0),
        ("vllm:num_requests_running +Inf\n", 200, 0),
    ],
    ids=["busy", "broken", "garbage", "not a number", "infinite"],
)
async def test_only_a_clear_word_keeps_an_endpoint_awake(page: str, status: int, busy: int) -> None:
    engines = Engines()
    async with Answering(page, status):
        assert await engines.busy([POD]) == busy
    await engines.close()


async def test_who_does_not_answer_or_is_not_ready_adds_nothing() -> None:
    engines = Engines()
    assert await engines.busy([POD]) == 0
    async with Answering(with_requests(1, 0)):
        loading = PodSeen("b", "b", 1, "l40s", ip=HERE)
        assert await engines.busy([loading, PodSeen("c", "c", 1, "l40s", ready=True)]) == 0
    await engines.close()
