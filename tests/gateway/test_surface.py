"""Every path that names a model is passed through: bytes, form and query as they came, in both directions."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.gateway.world import World
from torpor.gateway.door import MODEL_PATHS

BODIES: dict[str, dict[str, Any]] = {
    "/rerank": {"query": "bear", "documents": ["hare", "bear"], "top_n": 1},
    "/v1/score": {"text_1": "bear", "text_2": ["hare"]},
    "/tokenize": {"prompt": "hello", "return_token_strs": True},
    "/detokenize": {"tokens": [1, 2]},
    "/pooling": {"input": "bear"},
    "/classify": {"input": ["bear"]},
    "/v1/audio/speech": {"input": "bear", "voice": "alloy"},
    "/v1/images/generations": {"prompt": "a bear", "size": "64x64"},
    "/v1/messages": {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hello", "max_output_tokens": 3},
}
FORMS = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits")


@pytest.mark.parametrize("path", sorted(MODEL_PATHS - set(FORMS)))
async def test_json_comes_through_with_the_engines_name_of_the_model_and_its_answer_too(
    world: World, path: str
) -> None:
    engine = await world.awake()
    members = {"model": "llama", "unknown": {"a": [1.50, None]}} | BODIES.get(path, {})
    body = json.dumps(members, indent=1).encode()
    headers = {"Content-Type": "application/json", "x-request-id": "abc"}
    async with world.http.post(world.url(f"{path}?a=1"), data=body, headers=headers) as response:
        assert response.status == 200
        assert "usage" in await response.json()
    ((asked, sent, got),) = engine.requests
    assert (asked, got) == (f"{path}?a=1", body.replace(b"llama", b"@shop/llama"))
    assert {name.lower(): value for name, value in sent.items()}["x-request-id"] == "abc"


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_comes_through_as_it_is(world: World, path: str) -> None:
    engine = await world.awake()
    form = aiohttp.FormData()
    form.add_field("image", bytes(range(256)), filename="b.png", content_type="image/png")
    form.add_field("model", "llama")
    form.add_field("prompt", "a bear")
    async with world.http.post(world.url(path), data=form) as response:
        assert response.status == 200
    ((asked, sent, got),) = engine.requests
    assert asked == path
    assert sent["Content-Type"].startswith("multipart/form-data; boundary=")
    assert bytes(range(256)) in got
    assert got.count(b"Content-Disposition") == 3


@pytest.mark.parametrize("path", sorted(MODEL_PATHS))
async def test_an_answer_that_is_no_json_comes_back_byte_for_byte(world: World, path: str) -> None:
    engine = await world.awake()
    engine.error = (
        bytes(range(256)) * 300
    )  # audio or a picture; longer than an answer that is read whole
    engine.status = 299
    async with world.http.post(world.url(path), json={"model": "llama"}) as response:
        assert response.status == 299
        assert await response.read() == engine.error


async def test_headers_of_the_client_s_own_connection_go_no_further(world: World) -> None:
    engine = await world.awake()
    headers = {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "TE": "trailers", "X-Other": "2"}
    async with world.http.post(world.url(), json={"model": "llama"}, headers=headers) as response:
        assert response.status == 200
    ((_, sent, _),) = engine.requests
    names = {name.lower() for name in sent}
    assert "x-other" in names
    assert not {"connection", "x-mine", "te"} & names
