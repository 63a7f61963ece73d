"""Every way in which a request gets no engine: the right status, an OpenAI error object, and no wake."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateway.apiserver import ENDPOINTS
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import CHAT, READY, World, until

BROKEN = READY | {"status": "False", "reason": "ImagePullFailed", "message": "no image x:1"}


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def locked(*keys: str) -> dict[str, Any]:
    return {"keys": [{"name": f"k{n}", "sha256": sha(key)} for n, key in enumerate(keys)]}


async def post(world: World, body: bytes, path: str = CHAT, **headers: str) -> tuple[int, Any]:
    async with world.http.post(world.url(path), data=body, headers=headers) as response:
        return response.status, await response.json()


async def test_a_name_of_many_bytes_is_not_told_back_and_costs_no_time(world: World) -> None:
    world.sleeping("llama-8b")
    await world.lists("llama-8b")
    for name in ("x" * 1_000_000, "\ud800" * 100_000, "llama\n-8b"):
        status, answer, _ = await world.ask(name)
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
        assert len(answer["error"]["message"]) < 500
        assert "\n" not in answer["error"]["message"]


async def test_an_unknown_model_is_404_with_close_names(world: World) -> None:
    world.sleeping("llama-8b")
    await world.lists("llama-8b")
    status, answer, _ = await world.ask("llama-8")
    assert status == 404
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "llama-8b" in error["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"{}", "model_missing"),
        (b'{"model": 5}', "model_missing"),
        (b'{"model": ""}', "model_missing"),
    ],
)
async def test_a_body_that_cannot_be_read_is_400(world: World, body: bytes, code: str) -> None:
    status, answer = await post(world, body)
    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["type"] == "invalid_request_error"


async def test_a_body_that_is_too_large_is_413(make_world: MakeWorld) -> None:
    world = await make_world(max_body_bytes=2000)
    status, answer = await post(world, b'{"model": "' + b"x" * 2000 + b'"}')
    assert (status, answer["error"]["code"]) == (413, "body_too_large")

    async def parts() -> Any:
        for _ in range(30):
            yield b"x" * 100

    async with world.http.post(world.url(), data=parts()) as response:
        assert response.status == 413


async def test_a_body_that_never_ends_is_408(make_world: MakeWorld) -> None:
    world = await make_world(body_timeout=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n".encode())
    writer.write(b'{"model"')
    assert b"408" in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", CHAT, 405, "only POST"),
        ("GET", "/v1/nothing", 404, "/v1/models lists"),
        ("GET", "/" + "x" * 5000, 404, "/v1/models lists"),
        ("POST", "/v1/batches", 404, "send each request of a batch by itself"),
        ("GET", "/v1/batches/batch_1", 404, "send each request of a batch by itself"),
        ("POST", "/v1/files", 404, "send their content in the request itself"),
        ("GET", "/v1/responses/resp_1", 404, "send the whole conversation"),
        ("POST", "/v1/fine_tuning/jobs", 404, "spec.model.adapters"),
        ("GET", "/v1/realtime?model=llama", 404, "no WebSockets"),
        ("POST", "/v1/vector_stores", 404, "/v1/embeddings"),
    ],
)
async def test_other_paths_are_refused_in_openai_form(
    world: World, method: str, path: str, status: int, words: str
) -> None:
    async with world.http.request(method, world.url(path)) as response:
        assert response.status == status
        assert response.headers["x-should-retry"] == "false"
        error = (await response.json())["error"]
    assert words in error["message"]
    assert len(error["message"]) < 400


async def test_health_checks_lists_and_scrapes_wake_nothing(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    for method in ("GET", "HEAD"):
        for path in ("/health", "/v1/models", "/v1/models/llama", "/v1/models/shop/llama"):
            async with world.http.request(method, world.url(path)) as response:
                assert response.status == 200, (method, path)
    for path in ("/healthz", "/readyz", "/metrics", "/internal/v1/demand"):
        assert (await world.internal(path))[0] == 200
    asked = world.asking()  # whatever they had woken would be written before this one is
    await until(lambda: world.api.patches)
    world.pod(await world.engine())
    assert (await asked)[0] == 200
    assert len(world.api.patches) == 1
    assert (await world.demand())["requests"]["total"] == 1


async def test_a_key_is_needed_where_the_endpoint_has_keys(world: World) -> None:
    engine = await world.awake(access=locked("old", "new"))
    for key, status in [(None, 401), ("wrong", 401), ("old", 200), ("new", 200)]:
        got, answer, headers = await world.ask(key=key)
        assert got == status, key
        if status == 401:
            assert answer["error"]["code"] == "invalid_api_key"
            assert headers["WWW-Authenticate"] == "Bearer"
    assert all("Authorization" not in headers for _, headers, _ in engine.requests)


async def test_an_open_endpoint_passes_the_authorization_on(world: World) -> None:
    engine = await world.awake()
    await world.ask(key="for-the-engine")
    assert engine.requests[0][1]["Authorization"] == "Bearer for-the-engine"


async def test_a_wrong_key_wakes_nothing(world: World) -> None:
    world.sleeping(access=locked("right"))
    await until(lambda: world.api.objects[ENDPOINTS])
    await world.lists()
    assert (await world.ask(key="wrong"))[0] in (401, 404)
    await until(lambda: True)
    assert world.api.patches == []


async def test_the_list_has_only_what_the_key_may_use_and_wakes_nothing(world: World) -> None:
    world.sleeping("open-one")
    world.sleeping(
        "shop-one", access=locked("shop"), model={"source": "s3://models/x/", "name": "big"}
    )
    world.sleeping("twin", "a", access=locked("shop"))
    world.sleeping("twin", "b", access=locked("other"))
    world.sleeping("twin", "c", access=locked("shop"))
    await world.lists("open-one")
    _, answer = await world.get("/v1/models", key="shop")
    assert [m["id"] for m in answer["data"]] == ["twin", "c/twin", "open-one", "big"]
    assert answer["data"][0]["owned_by"] == "a"
    assert answer["data"][0]["created"] == 1767323045
    _, answer = await world.get("/v1/models", key="other")
    assert [m["id"] for m in answer["data"]] == ["twin", "open-one"]
    assert (await world.get("/v1/models/big", key="shop"))[1]["id"] == "big"
    assert (await world.get("/v1/models/a/twin", key="shop"))[1]["owned_by"] == "a"
    assert (await world.get("/v1/models/big"))[0] == 401
    assert (await world.get("/v1/models/none"))[0] == 404
    assert world.api.patches == []


async def test_an_endpoint_that_cannot_wake_answers_at_once_with_its_reason(world: World) -> None:
    retry_at = datetime.now(UTC) + timedelta(seconds=90)
    world.endpoint(ready=BROKEN)
    world.deployment()
    endpoint = world.api.objects[ENDPOINTS]["shop/llama"]
    endpoint["status"]["failure"] = {"retryAt": retry_at.isoformat()}
    world.api.put(ENDPOINTS, endpoint)
    await world.lists("llama")

    async def told() -> tuple[int, Any, dict[str, str]]:
        return await world.ask()

    status, answer, headers = await told()
    assert status == 503
    assert answer["error"]["code"] == "ImagePullFailed"
    assert "shop/llama" in answer["error"]["message"]
    assert "no image x:1" in answer["error"]["message"]
    assert 80 <= int(headers["Retry-After"]) <= 90
    assert world.api.patches == []


async def test_a_spent_budget_is_openai_s_insufficient_quota_until_the_month_is_over(
    world: World,
) -> None:
    resets = datetime.now(UTC) + timedelta(days=9)
    over = READY | {"status": "False", "reason": "OverBudget", "message": "500 of 500 USD spent"}
    world.endpoint(ready=over)
    world.deployment()
    endpoint = world.api.objects[ENDPOINTS]["shop/llama"]
    endpoint["status"]["cost"] = {"budget": {"resets": resets.isoformat()}}
    world.api.put(ENDPOINTS, endpoint)
    await world.lists("llama")
    status, answer, headers = await world.ask()
    assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
    assert answer["error"]["type"] == "insufficient_quota"
    assert "500 of 500 USD spent" in answer["error"]["message"]
    assert abs(int(headers["Retry-After"]) - 9 * 24 * 3600) < 60
    assert headers["x-should-retry"] == "false"  # or OpenAI's client asks twice more
    assert world.api.patches == []


async def test_a_reason_that_comes_while_requests_wait_is_told_to_them_at_once(
    world: World,
) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = [world.asking() for _ in range(5)]
    await world.waiting(5)
    world.endpoint(ready=BROKEN)
    answers = await asyncio.gather(*asked)
    assert {(status, a["error"]["code"]) for status, a, _ in answers} == {(503, "ImagePullFailed")}
    assert (await world.demand())["requests"] == {"total": 5, "succeeded": 0, "failed": 5}


async def test_a_verdict_on_an_older_generation_is_no_verdict(world: World) -> None:
    world.endpoint(ready=BROKEN | {"observedGeneration": 1})
    world.deployment()
    await world.lists("llama")
    assert (await world.ask())[0] == 503
    world.endpoint(
        ready=BROKEN | {"observedGeneration": 1}, model={"source": "s3://models/corrected/"}
    )
    asked = world.asking()
    await world.waiting(1)
    world.endpoint(
        ready=READY | {"observedGeneration": 2}, model={"source": "s3://models/corrected/"}
    )
    await until(lambda: world.api.patches)
    world.pod(await world.engine())
    assert (await asked)[0] == 200


async def test_a_healthy_pod_answers_although_ready_is_false(world: World) -> None:
    await world.awake(ready=BROKEN)
    assert (await world.ask())[0] == 200


async def test_a_full_waiting_room_is_429_with_retry_after(world: World) -> None:
    world.sleeping(queue={"maxRequests": 3})
    await world.lists("llama")
    asked = [world.asking() for _ in range(3)]
    await world.waiting(3)
    status, answer, headers = await world.ask()
    assert (status, answer["error"]["code"]) == (429, "queue_full")
    assert int(headers["Retry-After"]) >= 1
    world.pod(await world.engine())
    assert [s for s, _, _ in await asyncio.gather(*asked)] == [200] * 3


async def test_bytes_bound_the_waiting_room_too(world: World) -> None:
    world.sleeping(queue={"maxBytes": "1Ki"})
    await world.lists("llama")
    first = world.asking(prompt="x" * 700)
    await world.waiting(1)
    status, answer, _ = await world.ask(prompt="x" * 700)
    assert status == 429
    assert "queue.maxBytes" in answer["error"]["message"]
    world.pod(await world.engine())
    assert (await first)[0] == 200


async def test_the_whole_gateway_holds_only_so_many_bytes(make_world: MakeWorld) -> None:
    world = await make_world(max_held_bytes=1500)
    world.sleeping("one")
    world.sleeping("two")
    await world.lists("one", "two")
    first = world.asking("one", prompt="x" * 900)
    await world.waiting(1, "shop/one")
    status, answer, _ = await world.ask("two", prompt="x" * 900)
    assert (status, answer["error"]["code"]) == (429, "gateway_full")
    world.pod(await world.engine("one"), name="one")
    assert (await first)[0] == 200


async def test_who_waits_too_long_is_told_504_and_leaves_nothing_behind(world: World) -> None:
    world.sleeping(queue={"maxWait": "1s"})
    await world.lists("llama")
    status, answer, _ = await world.ask()
    assert (status, answer["error"]["code"]) == (504, "wait_timeout")
    assert "1 s (queue.maxWait)" in answer["error"]["message"]
    assert (await world.demand())["waiting"] == 0


async def test_the_wait_does_not_eat_the_time_of_the_answer(world: World) -> None:
    world.sleeping(queue={"firstByteTimeout": "1s", "totalTimeout": "1s"})
    await world.lists("llama")
    asked = world.asking()
    await until(lambda: world.api.patches)
    await asyncio.sleep(1.1)
    world.pod(await world.engine())
    assert (await asked)[0] == 200


async def test_an_engine_that_is_silent_for_too_long_is_504(world: World) -> None:
    engine = await world.awake(queue={"firstByteTimeout": "1s"})
    engine.gate = asyncio.Event()
    status, answer, _ = await world.ask()
    assert (status, answer["error"]["code"]) == (504, "engine_timeout")
    await until(lambda: engine.left == 1)


async def test_deleting_the_endpoint_answers_those_who_wait(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    world.api.delete(ENDPOINTS, "shop/llama")
    status, answer, _ = await asked
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert (await world.ask())[0] == 404


async def test_a_spec_that_cannot_be_read_stays_locked(world: World) -> None:
    world.endpoint("odd", scaling={"maxReplicas": "many"})
    world.sleeping()
    await world.lists("llama")
    assert (await world.ask("odd"))[0] == 401


async def test_nobody_is_refused_for_a_state_that_is_over(world: World) -> None:
    """Who saw Ready=True with kubectl asks a gateway whose watch has not told it yet."""
    world.endpoint(ready=BROKEN)
    world.deployment()
    await world.lists("llama")
    world.api.late.add(ENDPOINTS)
    world.endpoint(ready=READY)
    asked = world.asking()
    await until(lambda: world.api.patches)
    world.pod(await world.engine())
    assert (await asked)[0] == 200


async def test_a_herd_of_refused_requests_reads_the_endpoint_once_or_twice(world: World) -> None:
    world.endpoint(ready=BROKEN)
    world.deployment()
    await world.lists("llama")
    answers = await asyncio.gather(*(world.ask() for _ in range(100)))
    assert {status for status, _, _ in answers} == {503}
    assert 1 <= world.api.reads <= 5


async def test_without_the_api_server_the_last_word_counts(world: World) -> None:
    world.endpoint(ready=BROKEN)
    world.deployment()
    await world.lists("llama")
    await world.api.stop()
    status, answer, _ = await world.ask()
    assert (status, answer["error"]["code"]) == (503, "ImagePullFailed")


async def test_a_stale_read_does_not_undo_what_a_watch_told(world: World) -> None:
    world.endpoint(ready=BROKEN)
    world.deployment()
    await world.lists("llama")
    now = world.api.objects[ENDPOINTS]["shop/llama"]
    old = now | {"metadata": now["metadata"] | {"resourceVersion": "50"}}
    world.api.objects[ENDPOINTS]["shop/llama"] = old | {"status": {"conditions": [READY]}}
    assert (await world.ask())[0] == 503
    assert world.api.patches == []
