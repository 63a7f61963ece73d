"""The port of a direct endpoint: whoever comes in there means that endpoint and no other."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from typing import Any

from tests.gateway.apiserver import ENDPOINTS
from tests.gateway.world import CHAT, World, until
from torpor.manifests.names import DIRECT_PORTS

OLDER = "2020-01-02T03:04:05Z"


def free_port() -> int:
    """A port that nobody has: any of them, since other tests look for one at the same time."""
    return next(number for number in random.sample(DIRECT_PORTS, 100) if _is_free(number))


async def doors(world: World, gateway: int = 0) -> dict[str, int]:
    _, body = await world.internal("/internal/v1/demand", gateway)
    found: dict[str, int] = json.loads(body)["doors"]
    return found


async def opens(world: World, expected: dict[str, int]) -> None:
    while await doors(world) != expected:
        await world.internal("/healthz")


async def ask(
    world: World, port: int, model: str = "llama", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    url = f"http://127.0.0.1:{port}{CHAT}"
    async with world.http.post(url, json={"model": model}, headers=headers) as response:
        return response.status, await response.json(), dict(response.headers)


async def test_a_namesake_that_is_older_is_not_meant(world: World) -> None:
    port = free_port()
    world.endpoint(namespace="bank")
    elder = world.api.objects[ENDPOINTS]["bank/llama"]
    elder["metadata"]["creationTimestamp"] = OLDER
    world.api.put(ENDPOINTS, elder)
    other = await world.engine()
    world.deployment(namespace="bank", replicas=1)
    world.pod(other, "pod-2", namespace="bank", ready=True)
    own = await world.awake(port=port)
    await opens(world, {"shop/llama": port})
    assert (await world.ask())[0] == 200
    assert (len(other.requests), len(own.requests)) == (1, 0)
    for headers in ({}, {"Host": "llama-direct.bank.svc"}):
        assert (await ask(world, port, **headers))[0] == 200
    assert (len(other.requests), len(own.requests)) == (1, 2)


async def test_only_what_the_engine_answers_to_is_answered(world: World) -> None:
    """Asleep and awake must not differ: an engine knows no namespaces, and no other endpoint."""
    port = free_port()
    await world.awake(port=port, model={"source": "s3://models/x/", "aliases": ["best"]})
    world.sleeping("mark")
    await opens(world, {"shop/llama": port})
    assert (await ask(world, port, "best"))[0] == 200
    for name in ("shop/llama", "mark"):
        status, body, _ = await ask(world, port, name)
        assert (status, body["error"]["code"]) == (404, "model_not_found")
    async with world.http.get(f"http://127.0.0.1:{port}/v1/models") as response:
        assert [one["id"] for one in (await response.json())["data"]] == ["llama", "best"]


async def test_it_wakes_what_sleeps_and_the_next_connection_may_lead_elsewhere(
    world: World,
) -> None:
    port = free_port()
    world.sleeping(port=port)
    await opens(world, {"shop/llama": port})
    asked = asyncio.create_task(ask(world, port))
    await world.waiting(1)
    world.pod(await world.engine(), ready=True)
    status, _, headers = await asked
    assert (status, headers["Connection"]) == (200, "close")
    assert (await ask(world, port, "none"))[2]["Connection"] == "close"
    assert "Connection" not in (await world.ask())[2]


async def test_ports_follow_the_status(world: World) -> None:
    first = free_port()
    await world.awake(port=first)
    await opens(world, {"shop/llama": first})
    second = free_port()
    world.endpoint(port=second)
    await opens(world, {"shop/llama": second})
    assert (await ask(world, second))[0] == 200
    assert _is_free(first)
    world.endpoint()  # not direct any more
    await opens(world, {})
    world.endpoint(port=first, access={"direct": False})
    assert await doors(world) == {}
    world.endpoint(port=first)
    await opens(world, {"shop/llama": first})
    world.api.delete(ENDPOINTS, "shop/llama")
    await opens(world, {})
    assert _is_free(first)


def _is_free(number: int) -> bool:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True


async def test_a_port_that_is_taken_is_not_told_as_open(world: World) -> None:
    port = free_port()
    with socket.socket() as held:
        held.bind(("127.0.0.1", port))
        held.listen()
        await world.awake(port=port)
        await world.lists("llama")
        assert (await world.ask())[0] == 200
        assert await doors(world) == {}


async def test_only_ports_of_the_range_are_opened(world: World) -> None:
    await world.awake(port=80)
    await world.lists("llama")
    assert (await world.ask())[0] == 200
    assert await doors(world) == {}


async def test_a_gateway_that_drains_closes_the_ports_after_the_delay(world: World) -> None:
    port = free_port()
    await world.awake(port=port)
    await opens(world, {"shop/llama": port})
    draining = asyncio.create_task(world.gateway.drain(asyncio.Event()))
    await until(lambda: _is_free(port))
    await draining
