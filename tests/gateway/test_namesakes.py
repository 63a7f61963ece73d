"""An endpoint that was deleted and made again under its name is another one, and so are its pods."""

from __future__ import annotations

import asyncio

from tests.gateway.apiserver import ENDPOINTS, PODS
from tests.gateway.world import World, until

KEY = "shop/llama"


async def make_again(world: World, uid: str = "new") -> None:
    """Replace the endpoint, and wait until the gateway knows."""
    world.api.delete(ENDPOINTS, KEY)
    world.endpoint(uid=uid)
    while (await world.demand()).get("uid") not in (None, uid):
        await asyncio.sleep(0.005)
    await world.lists("llama")


async def test_a_living_pod_of_the_deleted_one_gets_no_request(world: World) -> None:
    old = await world.engine()
    world.endpoint(uid="old")
    world.deployment()
    world.pod(old, ready=True, owner="old")
    await world.sees("pod-1")
    assert (await world.ask())[0] == 200
    await make_again(world)
    asked = world.asking()
    await world.waiting(1)
    assert (await world.demand())["podsSeen"] == {}
    world.pod(old, ready=True, owner="old", annotations={"still": "there"})
    new = await world.engine()
    world.pod(new, "pod-2", ready=True, owner="new")
    assert (await asked)[0] == 200
    assert (len(old.requests), len(new.requests)) == (1, 1)
    assert set((await world.demand())["podsSeen"]) == {"pod-2"}


async def test_a_pod_that_is_seen_before_its_endpoint_waits_for_it(world: World) -> None:
    world.endpoint(uid="old")
    world.deployment()
    await world.lists("llama")
    new = await world.engine()
    world.pod(new, "pod-2", ready=True, owner="new")
    world.pod(await world.engine(), "pod-3", ready=True, name="mark")
    await world.sees("pod-3", "shop/mark")
    assert "pod-2" not in (await world.demand()).get("podsSeen", {})
    await make_again(world)
    await world.sees("pod-2")
    assert (await world.ask())[0] == 200
    assert len(new.requests) == 1


async def test_a_pod_without_the_label_belongs_to_its_name(world: World) -> None:
    engine = await world.awake()
    await make_again(world)
    assert (await world.ask())[0] == 200
    assert len(engine.requests) == 1


async def test_a_deleted_endpoint_is_told_of_by_its_own_uid(world: World) -> None:
    world.endpoint(uid="old")
    world.deployment()
    world.pod(await world.engine(), ready=True, owner="old")
    await world.sees("pod-1")
    world.api.delete(ENDPOINTS, KEY)
    await world.lists()
    world.api.delete(PODS, "shop/pod-1")
    demand = await world.demand()
    while not demand["podsSeen"]["pod-1"]["goneAtMs"]:
        demand = await world.demand()
    assert demand["uid"] == "old"


async def test_a_waiter_of_the_deleted_one_does_not_go_to_its_namesake(world: World) -> None:
    world.endpoint(uid="old")
    world.deployment()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    await make_again(world)
    assert (await asked)[0] == 404
    await until(lambda: asked.done())
