"""The port for the world outside: endpoints without keys are not there, whatever is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.test_refusing import locked
from tests.gateway.world import CHAT, World


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """`llama` is open, `shop/secret` has a key; one pod answers for each."""
    world = await make_world(external_port=0)
    await world.awake()
    world.endpoint("secret", access=locked("k"))
    world.deployment("secret", replicas=1)
    world.pod(await world.engine("secret"), uid="pod-2", name="secret", ready=True)
    await world.sees("pod-2", "shop/secret")
    return world


async def outside(world: World, model: str, key: str | None = None) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{world.gateway.external_port}{CHAT}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with world.http.post(url, json={"model": model}, headers=headers) as response:
        return response.status, await response.json()


async def listed(world: World, key: str | None) -> list[str] | int:
    url = f"http://127.0.0.1:{world.gateway.external_port}/v1/models"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with world.http.get(url, headers=headers) as response:
        answer = await response.json()
        return [one["id"] for one in answer["data"]]


async def test_with_its_key_an_endpoint_answers_outside_too(world: World) -> None:
    assert (await outside(world, "secret", "k"))[0] == 200
    assert await listed(world, "k") == ["secret"]


@pytest.mark.parametrize(
    ("model", "key", "status"),
    [
        ("llama", None, 401),
        ("llama", "wrong", 401),
        ("llama", "k", 404),
        ("shop/llama", "k", 404),
        ("secret", None, 401),
        ("secret", "wrong", 401),
    ],
)
async def test_nothing_is_open_outside(
    world: World, model: str, key: str | None, status: int
) -> None:
    got, answer = await outside(world, model, key)
    assert got == status
    assert "llama" not in answer["error"]["message"].replace(repr(model), "")
    assert await listed(world, None) == []


async def test_inside_both_answer_as_ever(world: World) -> None:
    assert (await world.ask("llama"))[0] == 200
    assert (await world.ask("secret", key="k"))[0] == 200
    assert (await world.get("/v1/models", "k"))[1]["data"][0]["id"] == "llama"


async def test_without_the_setting_there_is_no_such_port(make_world: MakeWorld) -> None:
    assert (await make_world()).gateway.external_port is None
